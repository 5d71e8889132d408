"""The process in which mutants run, one after the other: what one does to it must not meet the next."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator

import numpy as np


@contextlib.contextmanager
def state_restored(*, seeds: bool = True) -> Iterator[None]:
    """Undo what a mutant does to the process, so that the next one is seen by its own deeds alone.

    seeds: the random states are put back too; otherwise they have moved on, since a seed that was set before would hide
    that it is set again.
    """
    import torch

    if not seeds:
        torch.rand(1), np.random.rand(), random.random()
    dtype, precision, threads = torch.get_default_dtype(), torch.get_float32_matmul_precision(), torch.get_num_threads()
    states = torch.get_rng_state(), np.random.get_state(), random.getstate()
    try:
        yield
    finally:
        torch.set_default_dtype(dtype)
        torch.set_float32_matmul_precision(precision)
        torch.set_num_threads(threads)
        if torch.are_deterministic_algorithms_enabled():
            torch.use_deterministic_algorithms(False)
        if seeds:
            torch.set_rng_state(states[0])
            np.random.set_state(states[1])
            random.setstate(states[2])
