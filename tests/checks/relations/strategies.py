"""Cases drawn by Hypothesis: every mechanism, size, dtype, option, content and memory layout, the small ones first."""

from __future__ import annotations

import functools
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hypothesis import HealthCheck, Phase, assume, settings
from hypothesis import strategies as st

from attention_harness.cases.distributions import DISTRIBUTIONS
from attention_harness.cases.ids import parse
from attention_harness.cases.space import variants
from attention_harness.checks import Check
from attention_harness.checks.declaration import DRAWN
from attention_harness.model.case import Case
from attention_harness.model.dtypes import DTYPES
from attention_harness.options import OPTIONS
from attention_harness.reference.specification import Mechanism
from attention_harness.registry import Implementation

LENGTHS = ("B", "Lq", "Lk", "L", "P")
_LONGEST, _WIDEST = 40, 40
_COMMON: dict[str, Any] = {
    "deadline": None,
    "database": None,  # a failure is replayed by its case id
    "report_multiple_bugs": False,
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
    "phases": [Phase.generate, Phase.shrink],
}
PROFILES = {
    "plain": settings(derandomize=True, max_examples=15, **_COMMON),
    "deep": settings(max_examples=1500, **_COMMON),
}
PROFILE = PROFILES[os.environ.get("HYPOTHESIS_PROFILE", "plain")]

# The last lies between NaN. Not in half precision: torch 2.13 on the CPU now and then answers NaN there, as if a
# product in bfloat16 began from what freed memory held. `relation.batch_alone` found it; it comes and goes with the
# heap.
_LAYOUTS = ("contiguous", "transposed", "offset")

_LEAST = {"relation.grouped_heads": {"H": 2}, "relation.permuted_heads": {"H": 2}, "relation.batch_alone": {"B": 2}}


@st.composite
def cases(draw: st.DrawFn, relation: Check, implementation: Implementation, among: Collection[str] = ()) -> Case:
    """Draw a case, of the mechanisms named or any, that the implementation takes and of which the relation is true."""
    found = [place for place in _places(relation, implementation) if not among or place.mechanism.name in among]
    place = draw(st.sampled_from(found))
    least = _LEAST.get(relation.name, {})
    sizes = {axis: draw(st.integers(least.get(axis, _least(axis)), _most(axis))) for axis in place.mechanism.axes}
    if relation.name == "relation.permuted_heads" and "Hk" in sizes:
        sizes["Hk"] = sizes["H"]
    for whole, part in place.mechanism.requires:
        sizes[whole] = sizes[part] * draw(st.integers(1, 3 if whole == "H" else 8))
    options = dict(place.choices)
    needed = draw(st.sampled_from(place.needs)) if place.needs else ""
    for option, forms in _options(relation, place.mechanism).items():
        # few options at once: with all of them together hardly a key is seen
        if option == needed or draw(st.integers(0, 3)) == 3:
            options[option] = draw(st.sampled_from(forms))
    dtype = draw(st.sampled_from([dtype for dtype in DTYPES if dtype in implementation.capabilities.dtypes]))
    content = draw(st.sampled_from(list(DISTRIBUTIONS)))
    layout = draw(st.sampled_from(_LAYOUTS[: 3 if DTYPES[dtype].single else 2]))
    case = Case(place.mechanism.name, sizes, dtype, options, content, layout, DRAWN + draw(st.integers(0, 1000)))
    assume(not implementation.refuses(case) and relation.holds(implementation, case))
    return parse(case.id)


def _options(relation: Check, mechanism: Mechanism) -> dict[str, list[Any]]:
    """Return the forms of the options that the mechanism knows and that do not break the relation, by option."""
    found = {}
    for option in OPTIONS.values():
        forms = [form for form in option.forms if option.capability(form) in mechanism.options]
        forms = [form for form in forms if not option.lacks(form, mechanism.scores)]
        if forms and not option.training and relation.name.removeprefix("relation.") not in option.breaks:
            found[option.name] = forms
    return found


def _least(axis: str) -> int:
    return 0 if axis in LENGTHS else 1


def _most(axis: str) -> int:
    return {"B": 3, "H": 4, "Hk": 2}.get(axis, _LONGEST if axis in LENGTHS else _WIDEST)


@dataclass(frozen=True)
class Place:
    """A mechanism with its choices of which a relation is true somewhere; needs: options, one of which it needs."""

    mechanism: Mechanism
    choices: Mapping[str, str]
    needs: tuple[str, ...]


@functools.cache
def _places(relation: Check, implementation: Implementation) -> list[Place]:
    """Return where a relation is true, and what it needs there, found by trying one option after the other."""
    found = []
    for variant in variants():
        mechanism, choices = variant.mechanism, dict(variant.choices)
        if mechanism.name not in implementation.capabilities.mechanisms:
            continue
        if _ever(relation, implementation, mechanism, [choices]):
            found.append(Place(mechanism, choices, ()))
            continue
        needs = tuple(
            option
            for option, forms in _options(relation, mechanism).items()
            if _ever(relation, implementation, mechanism, [choices | {option: form} for form in forms])
        )
        if needs:
            found.append(Place(mechanism, choices, needs))
    return found


def _ever(relation: Check, implementation: Implementation, mechanism: Mechanism, options: Sequence[Any]) -> bool:
    """Return whether the relation is true of a case with one of these options."""
    sizes = dict.fromkeys(mechanism.axes, 8) | ({"B": 2, "H": 2} if "H" in mechanism.axes else {})
    shapes = [sizes | {"Hk": heads} for heads in (1, 2)] if "Hk" in mechanism.axes else [sizes]
    tried = (Case(mechanism.name, shape, "float32", each) for shape in shapes for each in options)
    return any(relation.holds(implementation, case) for case in tried)
