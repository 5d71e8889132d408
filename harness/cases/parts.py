"""The tensors of a call as an implementation takes them: some options hand over a tensor in parts along its keys.

The problem itself, its numbers, options and bounds, is that of the whole tensors.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from attention_harness.model.case import Case
from attention_harness.options import OPTIONS, Part
from attention_harness.registry import mechanisms

if TYPE_CHECKING:
    from torch import Tensor


def has_parts(case: Case) -> bool:
    """Return whether a call on the case takes a tensor in parts."""
    return any(OPTIONS[name].parts is not None for name in case.options if name in OPTIONS)


def parts_of(case: Case, tensors: Mapping[str, Tensor]) -> dict[str, tuple[Part, ...]]:
    """Return which of these tensors a call takes in parts, and the parts; the lengths are the tensors' own."""
    known = mechanisms()[case.mechanism]
    lengths = dict[str, int]()
    for declared in known.inputs:
        if declared.name in tensors:  # from the last axis: a mapped tensor has one more in front
            lengths |= dict(zip(reversed(declared.axes), reversed(tensors[declared.name].shape), strict=False))
    found: dict[str, tuple[Part, ...]] = {}
    for name, form in case.options.items():
        if (option := OPTIONS.get(name)) is not None and option.parts is not None:
            found |= option.parts(form, *(lengths[letter] for letter in known.scores[-2:]))
    return {name: parts for name, parts in found.items() if name in tensors}


def split(case: Case, tensors: Mapping[str, Tensor], parts: Mapping[str, tuple[Part, ...]]) -> dict[str, Tensor]:
    """Return the tensors as a call takes them: the parts in the place of their whole. One tensor has its parts once.

    The parts of half of the cases are views of the whole, those of the others lie in memory of their own.
    """
    found, alike = dict[str, "Tensor"](), dict[tuple[int, int, int], "Tensor"]()
    for name, tensor in tensors.items():
        axis = _axis(case, name)
        for part, first, end in parts.get(name, ()):
            view = tensor.narrow(axis, first, end - first)
            made = view.clone() if case.fingerprint % 2 else view
            found[part] = alike.setdefault((id(tensor), first, end), made)
        if name not in parts:
            found[name] = tensor
    return found


def joined(
    case: Case, found: Mapping[str, Tensor | None], parts: Mapping[str, tuple[Part, ...]]
) -> dict[str, Tensor | None]:
    """Return what was found for each part, such as its gradient, for the whole; None where a part has none."""
    import torch

    whole = {
        name: value for name, value in found.items() if not any(name == one[0] for of in parts.values() for one in of)
    }
    for name, of_it in parts.items():
        values = [found.get(part) for part, first, end in of_it if end > first]
        there = [value for value in values if value is not None]
        if not any(part in found for part, _, _ in of_it):
            continue
        complete = bool(values) and len(there) == len(values)
        whole[name] = torch.cat(there, _axis(case, name)) if complete else None
    return whole


def _axis(case: Case, name: str) -> int:
    """Return the axis of the keys of a mechanism's tensor, counted from the last one."""
    known = mechanisms()[case.mechanism]
    axes = next((declared.axes for declared in known.inputs if declared.name == name), ())
    return axes.index(known.scores[-1]) - len(axes) if known.scores and known.scores[-1] in axes else -1
