"""From which corner causality counts."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from attention_harness.bounds.judge import Judgement
from attention_harness.cases import inputs
from attention_harness.checks.behaviour.anchor import is_anchor, key_axes, number_of_keys, with_option
from attention_harness.checks.behaviour.finding import finding
from attention_harness.checks.declaration import check
from attention_harness.checks.form import to_array
from attention_harness.checks.interface import Declaration
from attention_harness.checks.subject import Subject
from attention_harness.model.case import Case
from attention_harness.options import OPTIONS, Place, interval
from attention_harness.registry import mechanisms


def has_corner(implementation: Declaration, case: Case) -> bool:
    """Return whether causality is declared for a mechanism in which queries and keys differ in number."""
    return bool(with_option(implementation, case, "causal")) and "Lk" in case.sizes


@check("behaviour.causal_corner", is_anchor, has_corner)
def causal_corner(subject: Subject) -> Judgement:
    """Which keys a query sees under causality: found by changing one key's value after the other."""
    found = {}
    for corner, case in with_option(subject.implementation, subject.case, "causal").items():
        seen = _seen(subject, case)
        queries, keys = seen.shape
        words = (word for word in OPTIONS["causal"].forms if np.array_equal(seen, _shown(word, queries, keys)))
        found[corner] = next(words, "neither")
    measured = ", ".join(
        word if word == corner else f"{word} where {corner} is asked" for corner, word in found.items()
    )
    return finding(measured, ", ".join(found), any(corner != word for corner, word in found.items()))


def _shown(corner: str, queries: int, keys: int) -> NDArray[np.bool_]:
    """Return (queries, keys): what a query sees under a corner."""
    first, last = interval({"causal": corner}, Place(queries, keys))
    return (first <= np.arange(keys)) & (np.arange(keys) <= last)


def _seen(subject: Subject, case: Case) -> NDArray[np.bool_]:
    """Return (queries, keys): whether the output of a query changes with what the key fetches."""
    tensors, prepared = inputs.tensors(case), subject.prepared_for(case)
    axes = key_axes(case)
    changed = {name: axis for name, axis in axes.items() if name == "value"} or axes
    row = mechanisms()[case.mechanism].output.index("Lq")
    before = to_array(prepared.call(tensors).output)
    columns = []
    for key in range(number_of_keys(case)):
        other = {name: tensor.clone() for name, tensor in tensors.items()}
        for name, axis in changed.items():
            other[name].select(axis, key).add_(8.0)
        after = to_array(prepared.call(other).output)
        differs = ~((after == before) | (np.isnan(after) & np.isnan(before)))
        columns.append(differs.any(axis=tuple(axis for axis in range(differs.ndim) if axis != row)))
    return np.stack(columns, -1)
