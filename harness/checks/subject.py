"""One implementation on one case: prepared once, called once, for all checks that look at that call."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from attention_harness.cases import inputs
from attention_harness.cases.parts import has_parts
from attention_harness.checks.expected import Bounds, bound_of
from attention_harness.checks.form import to_array
from attention_harness.checks.in_parts import InParts
from attention_harness.checks.interface import Declaration, Prepare, Prepared
from attention_harness.model.case import Case
from attention_harness.model.returned import Returned

_LENGTHS = ("B", "Lq", "Lk", "L", "P")  # what may differ from call to call of one prepared implementation


class Refused(Exception):
    """A check needs the answer to a further case, which the implementation does not take."""


class Subject:
    """What a check judges: the declaration of an implementation, its code behind `prepare`, and a case."""

    def __init__(self, implementation: Declaration, prepare: Prepare, case: Case) -> None:
        self.implementation = implementation
        self.case = case
        self._prepare = prepare
        self._prepared: dict[Any, Prepared] = {}

    @property
    def prepared(self) -> Prepared:
        """The implementation prepared for the subject's case."""
        return self.prepared_for(self.case)

    def prepared_for(self, case: Case) -> Prepared:
        """Return what must answer a case by the contract: it is prepared anew for other widths, options, mechanisms.

        Raises Refused where the implementation does not take the case; its own it has not refused.
        """
        self._need(case)
        widths = tuple((axis, length) for axis, length in case.sizes.items() if axis not in _LENGTHS)
        structure = case.mechanism, case.dtype, case.device, tuple(sorted(case.options.items())), widths
        if structure not in self._prepared:
            prepared = self._prepare(case)
            self._prepared[structure] = InParts(prepared, case) if has_parts(case) else prepared
        return self._prepared[structure]

    @functools.cached_property
    def first(self) -> Returned:
        """What the watched call on the case's tensors returned."""
        return self.prepared.call(inputs.tensors(self.case), watched=True)

    def call(self, case: Case, *, training: bool = False, seed: int | None = None) -> Returned:
        """Return what a call on the tensors of this case, or of one of another size, returns."""
        self._need(case)
        return self.prepared.call(inputs.tensors(case), training=training, seed=seed)

    def _need(self, case: Case) -> None:
        """Raise Refused where the implementation does not take a case; the subject's own it has not refused."""
        if case != self.case and (reason := self.implementation.refuses(case)):
            raise Refused(f"it does not take {case.id}, which this check needs: {reason}")

    @property
    def changed_later(self) -> bool:
        """Whether what the first call returned holds other numbers now than when it came back."""
        if "first" not in vars(self):  # nothing was called
            return False
        now = self.prepared.reread(self.first)
        parts = ((one.output, one.weights, one.lse) for one in (self.first, now))
        return not all(map(_alike, *parts))

    def error_bound(self, case: Case | None = None) -> Bounds:
        """Return the error bounds of the output and of the weights."""
        capabilities = self.implementation.capabilities
        return bound_of(case or self.case, capabilities.arithmetic, capabilities.policy)


def _alike(before: Any, now: Any) -> bool:
    import torch

    if type(before) is not torch.Tensor:
        return True
    return type(now) is torch.Tensor and np.array_equal(to_array(before), to_array(now), equal_nan=True)
