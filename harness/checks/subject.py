"""One implementation on one case: prepared once, called once, for all checks that look at that call."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attention_harness.bounds import ErrorBound, blocked, error_bounds, rows_of
from attention_harness.cases import inputs
from attention_harness.checks.size import is_large
from attention_harness.execution.process_state import settings
from attention_harness.model import time_account
from attention_harness.model.capabilities import Arithmetic
from attention_harness.model.case import Case
from attention_harness.reference.core import visible_keys
from attention_harness.registry import Implementation, mechanisms

Array = NDArray[np.float64]


def bound_of(case: Case, arithmetic: Arithmetic, fully_masked_rows: str) -> tuple[ErrorBound, ErrorBound | None]:
    """Return the error bounds of a case's output and weights: once for all implementations that declare the same.

    A large problem is computed over blocks of its queries, and has no error bound of its weights: `checks.size`.
    """
    return (_large if is_large(case) else _small)(case, arithmetic, fully_masked_rows)


def _bound_of(case: Case, arithmetic: Arithmetic, fully_masked_rows: str) -> tuple[ErrorBound, ErrorBound | None]:
    known = mechanisms()[case.mechanism]
    given = inputs.exact(inputs.tensors(case.on("cpu")))
    tensors = {declared.name: given[declared.name] for declared in known.inputs}
    options = {name: array for name, array in given.items() if name not in tensors} | inputs.arguments(case)
    if known.scores:
        options["fully_masked_rows"] = fully_masked_rows
    if is_large(case):
        rows = rows_of(known, case.sizes)
        with time_account.spent(time_account.REFERENCE):
            return blocked(known, tensors, options, case.dtype, arithmetic, rows, weights=False)
    with time_account.spent(time_account.REFERENCE):
        return error_bounds(known.evaluate, tensors, options, case.dtype, arithmetic)


_small = functools.lru_cache(maxsize=1024)(_bound_of)  # the default tier, and the second calls in it
_large = functools.lru_cache(maxsize=4)(_bound_of)  # each as large as some outputs


def fully_masked_rows(case: Case) -> NDArray[np.bool_]:
    """Return which rows of the output rest on a row of scores that sees no key, in any head."""
    known = mechanisms()[case.mechanism]
    shape = inputs.shape_of(known.output, case.sizes)[:-1]
    if not known.scores:
        return np.zeros(shape, bool)
    given = inputs.exact(inputs.tensors(case.on("cpu")))
    conditions = {name: given[name] for name in ("mask", "bias", "valid_lens") if name in given}
    causal = case.options.get("causal")
    visible = visible_keys(inputs.shape_of(known.scores, case.sizes), **conditions, causal=causal)
    empty = np.asarray(~visible.any(-1))
    return np.asarray(empty.any(1)) if empty.ndim > len(shape) else empty


def prepared(implementation: Implementation, case: Case) -> Any:
    """Return what `prepare` returned: to prepare and to call it is the implementation's time, and not the harness's."""
    with time_account.spent(time_account.IMPLEMENTATION):
        made = implementation.prepare(case)
    if not callable(made):
        raise TypeError(f"prepare(case) returned {type(made).__name__}, expected a callable")

    def call(**tensors: Any) -> Any:
        with time_account.spent(time_account.IMPLEMENTATION):
            return made(**tensors)

    return call


class Subject:
    """An implementation, a case, and the one call that the checks share."""

    def __init__(self, implementation: Implementation, case: Case) -> None:
        self.implementation = implementation
        self.case = case
        self._returned: list[tuple[Any, Array | None]] = []

    @functools.cached_property
    def callable(self) -> Any:
        """What `prepare` returned."""
        return prepared(self.implementation, self.case)

    @functools.cached_property
    def first(self) -> Call:
        """The call on the case's own inputs."""
        call = Call(self.callable, self.case, watched=True)
        self._returned = [(part, _copy(part)) for part in (call.output, call.weights)]
        return call

    @property
    def changed_later(self) -> bool:
        """Whether what the first call returned holds other numbers now than when it came back."""
        return any(copy is not None and not _alike(copy, _copy(part)) for part, copy in self._returned)

    def call(self, case: Case, **keywords: Any) -> Call:
        """Return a call on the inputs of this case or of another one, with further keywords such as `training`."""
        return Call(self.callable, case, keywords)

    def error_bound(self, case: Case | None = None) -> tuple[ErrorBound, ErrorBound | None]:
        """Return the error bounds of the output and of the weights."""
        capabilities = self.implementation.capabilities
        return bound_of(case or self.case, capabilities.arithmetic, capabilities.fully_masked_rows)


class Call:
    """One call: what went in, and what came out; where it is watched, what the world was before and after it."""

    def __init__(
        self, function: Any, case: Case, keywords: Mapping[str, Any] | None = None, *, watched: bool = False
    ) -> None:
        import torch

        self.case = case
        self.tensors = inputs.tensors(case)
        self.before = inputs.exact(self.tensors)
        self.state_before = _state() if watched else {}  # a fifth of a run, were every call watched
        with torch.no_grad():
            self.result = function(**self.tensors, **(keywords or {}))
        self.state_after = _state() if watched else {}

    @property
    def output(self) -> Any:
        """The output, whether or not weights came with it."""
        return self.result[0] if isinstance(self.result, tuple) and self.result else self.result

    @property
    def weights(self) -> Any:
        """The weights, or None."""
        return self.result[1] if isinstance(self.result, tuple) and len(self.result) == 2 else None


def _copy(part: Any) -> Array | None:
    """Return the numbers of a tensor, or None of anything else."""
    import torch

    return part.detach().double().cpu().numpy().copy() if type(part) is torch.Tensor else None


def _alike(one: Array, other: Array | None) -> bool:
    return other is not None and np.array_equal(one, other, equal_nan=True)


def _state() -> dict[str, Any]:
    """Return the global state that a call must leave alone."""
    import random

    import torch

    return {
        "torch's random state": torch.random.get_rng_state().numpy().tobytes(),
        "NumPy's random state": [x.tobytes() if isinstance(x, np.ndarray) else x for x in np.random.get_state()],
        "Python's random state": random.getstate(),
        **settings(),
    }
