"""An implementation that takes some tensors in parts, behind the interface of one that takes them whole.

So every check asks one and the same problem of both: it hands over whole tensors and gets derivatives by whole tensors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from attention_harness.cases.parts import joined, parts_of, split
from attention_harness.checks.interface import Prepared
from attention_harness.model.case import Case
from attention_harness.model.returned import Derivatives, Returned
from attention_harness.options import Part

if TYPE_CHECKING:
    from torch import Tensor

Parts = Mapping[str, tuple[Part, ...]]


class InParts:
    """A `Prepared` around that of an implementation, for a case some of whose options hand over tensors in parts."""

    def __init__(self, prepared: Prepared, case: Case) -> None:
        self._prepared, self._case = prepared, case
        self._kept: dict[str, tuple[Tensor, Tensor]] = {}  # a part's name -> its whole and itself, of the last call

    @property
    def set_up(self) -> Mapping[str, tuple[Any, Any]]:
        """See `Prepared.set_up`."""
        return self._prepared.set_up

    def call(self, tensors: Mapping[str, Tensor], **more: Any) -> Returned:
        """See `Prepared.call`."""
        return self._prepared.call(self._split(tensors), **more)

    def call_mapped(self, tensors: Mapping[str, Tensor], names: Sequence[str]) -> Returned:
        """See `Prepared.call_mapped`."""
        return self._prepared.call_mapped(self._split(tensors), self._names(tensors, names))

    def call_together(self, problems: Sequence[Mapping[str, Tensor]], rounds: int) -> list[list[Returned]]:
        """See `Prepared.call_together`."""
        return self._prepared.call_together([self._split(tensors) for tensors in problems], rounds)

    def reread(self, returned: Returned) -> Returned:
        """See `Prepared.reread`."""
        return self._prepared.reread(returned)

    def gradients(
        self,
        tensors: Mapping[str, Tensor],
        upstream: Tensor,
        names: Sequence[str] = (),
        *,
        between: Mapping[str, Tensor] | None = None,
        **more: Any,
    ) -> Derivatives:
        """See `Prepared.gradients`."""
        if between:
            more["between"] = self._split(between)
        found = self._prepared.gradients(self._split(tensors), upstream, self._names(tensors, names), **more)
        return self._joined(tensors, found)

    def forward_derivative(self, tensors: Mapping[str, Tensor], directions: Mapping[str, Tensor]) -> Derivatives:
        """See `Prepared.forward_derivative`."""
        return self._prepared.forward_derivative(self._split(tensors), self._split(directions, tensors))

    def second_derivatives(
        self, tensors: Mapping[str, Tensor], upstream: Tensor, directions: Mapping[str, Tensor]
    ) -> Derivatives:
        """See `Prepared.second_derivatives`."""
        found = self._prepared.second_derivatives(self._split(tensors), upstream, self._split(directions, tensors))
        return self._joined(tensors, found)

    def _split(self, values: Mapping[str, Tensor], tensors: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:
        parts = parts_of(self._case, values if tensors is None else tensors)
        found = split(self._case, values, parts)
        if tensors is None:  # the same tensor with other numbers has the same parts, in the same memory
            wholes = {one[0]: values[name] for name, of_it in parts.items() for one in of_it}
            for part, whole in wholes.items():
                before, kept = self._kept.get(part, (None, None))
                if before is whole and kept is not None and kept.shape == found[part].shape:
                    found[part] = kept if kept.data_ptr() == found[part].data_ptr() else kept.copy_(found[part])
                self._kept[part] = whole, found[part]
        return found

    def _names(self, tensors: Mapping[str, Tensor], names: Sequence[str]) -> list[str]:
        parts = parts_of(self._case, tensors)
        return [part for name in names for part in ([one[0] for one in parts[name]] if name in parts else [name])]

    def _joined(self, tensors: Mapping[str, Tensor], found: Derivatives) -> Derivatives:
        """Return the derivatives by whole tensors; one that was given whole and in parts has the sum of both."""
        parts = parts_of(self._case, tensors)
        whole = joined(self._case, found.by_name, parts)
        for tensor in {id(tensors[name]): tensors[name] for name in whole if name in parts}.values():
            names = [name for name in whole if tensors[name] is tensor]
            in_parts, entire = ([name for name in names if (name in parts) is so] for so in (True, False))
            if entire and all(whole[name] is not None for name in names):  # names of one kind share their leaf
                total: Any = whole[in_parts[0]] + whole[entire[0]]  # type: ignore[operator]
                whole |= dict.fromkeys(names, total)
        return replace(found, by_name=whole)
