"""The arrays on which the formulas run have all that is asked of them, and the core takes each one's own operations."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import pytest

from attention_harness.bounds import Tracked
from attention_harness.bounds.differentiable import Differentiable, Softmax
from attention_harness.bounds.perturbed import Perturbed
from attention_harness.bounds.softmax import Weights
from attention_harness.bounds.tape import Taped
from attention_harness.reference import core
from attention_harness.reference.arrays import Composite, Plain, operations


class Nothing(Protocol):
    """A protocol that asks for nothing."""


def members(protocol: type) -> set[str]:
    """Return what a protocol asks for."""
    asked = {
        name for kind in protocol.__mro__ for name in vars(kind) if kind.__module__.startswith("attention_harness")
    }
    return {name for name in asked | set(protocol.__annotations__) if name not in dir(Nothing) and name != "__slots__"}


@pytest.mark.parametrize(
    ("kind", "protocol"),
    [(Tracked, Differentiable), (Taped, Differentiable), (Perturbed, Composite), (Weights, Softmax), (Taped, Softmax)],
)
def test_an_array_has_what_is_asked_of_it(kind, protocol):
    """Every method and operator of the protocol."""
    assert {"shape", "__matmul__"} <= members(protocol)
    assert {name for name in members(protocol) if not hasattr(kind, name)} == set()


class Doubling(Plain, np.ndarray):
    """An array whose vectors of length one are twice as long."""

    def normalise(self):
        return 2 * Plain.normalise(np.asarray(self))


def test_the_core_takes_the_array_s_own_operation():
    """NumPy's arrays have the plain ones; another array's own form goes first."""
    x = np.array([[3.0, 4.0]])
    assert operations(x) is operations(x[0, 0]) is Plain
    assert core.normalise(x).tolist() == [[0.6, 0.8]]
    assert core.normalise(x.view(Doubling)).tolist() == [[1.2, 1.6]]
