"""Cases drawn by Hypothesis: every mechanism, size, dtype, option, content and memory layout, the small ones first."""

from __future__ import annotations

import functools
import os
from collections.abc import Collection
from typing import Any

from hypothesis import HealthCheck, Phase, assume, settings
from hypothesis import strategies as st

from attention_harness.cases import inputs
from attention_harness.cases.ids import parse
from attention_harness.cases.space import variants
from attention_harness.checks import Check
from attention_harness.checks.declaration import DRAWN
from attention_harness.model.case import Case
from attention_harness.model.dtypes import DTYPES
from attention_harness.options import OPTIONS
from attention_harness.registry import Implementation, mechanisms

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

# What a relation cannot be asked without: drawn always, where it would otherwise be drawn rarely.
_HIDES = ("mask", "bias", "valid_lens")
NEEDS: dict[str, tuple[str, ...]] = {
    "relation.added_keys": _HIDES,
    "relation.masked_content": _HIDES,
    "relation.shifted_scores": ("bias",),
    "relation.one_key": ("mask", "bias"),
    "relation.causal_future": ("causal",),
    "relation.causal_gradient": ("causal",),
}
NEVER: dict[str, tuple[str, ...]] = {
    "relation.permuted_keys": ("valid_lens", "causal"),
    "relation.permuted_queries": ("causal",),
    "relation.split_and_merged": ("causal",),
    "relation.sharp_scores": ("mask", "bias", "valid_lens", "causal"),
}
_LEAST = {"relation.grouped_heads": {"H": 2}, "relation.permuted_heads": {"H": 2}, "relation.batch_alone": {"B": 2}}


@st.composite
def cases(draw: st.DrawFn, relation: Check, implementation: Implementation, among: Collection[str] = ()) -> Case:
    """Draw a case, of the mechanisms named or any, that the implementation takes and of which the relation is true."""
    found = [pair for pair in _variants(relation, implementation) if not among or pair[0] in among]
    name, choices = draw(st.sampled_from(found))
    known = mechanisms()[name]
    least = _LEAST.get(relation.name, {})
    sizes = {axis: draw(st.integers(least.get(axis, _least(axis)), _most(axis))) for axis in known.axes}
    if relation.name == "relation.permuted_heads" and "Hk" in sizes:
        sizes["Hk"] = sizes["H"]
    for whole, part in known.requires:
        sizes[whole] = sizes[part] * draw(st.integers(1, 3 if whole == "H" else 8))
    options = dict(choices)
    needed = draw(st.sampled_from(needs)) if (needs := _known(NEEDS.get(relation.name, ()), known.options)) else ""
    for option in ("mask", "bias", "valid_lens", "causal", "scale"):
        levels = [None, *_levels(option, known)]
        if option in NEVER.get(relation.name, ()) or len(levels) == 1:
            continue
        # few options at once: with all of them together hardly a key is seen
        if option == needed or draw(st.integers(0, 3)) == 3:
            options[option] = draw(st.sampled_from(levels[1:]))
    dtype = draw(st.sampled_from([dtype for dtype in DTYPES if dtype in implementation.capabilities.dtypes]))
    content = draw(st.sampled_from(list(inputs.DISTRIBUTIONS)))
    layout = draw(st.sampled_from(_LAYOUTS[: 3 if DTYPES[dtype].single else 2]))
    case = Case(name, sizes, dtype, options, content, layout, DRAWN + draw(st.integers(0, 1000)))
    assume(not implementation.refuses(case) and relation.holds(implementation, case))
    return parse(case.id)


def _known(options: tuple[str, ...], declared: tuple[str, ...]) -> list[str]:
    return [option for option in options if set(OPTIONS[option].capabilities) & set(declared)]


def _levels(option: str, known: Any) -> list[Any]:
    """Return the forms of an option that the mechanism knows."""
    declared = OPTIONS[option]
    forms = [form for form in declared.forms if declared.capability(form) in known.options]
    return [form for form in forms if not declared.lacks(form, known.scores)]


def _least(axis: str) -> int:
    return 0 if axis in LENGTHS else 1


def _most(axis: str) -> int:
    return {"B": 3, "H": 4, "Hk": 2}.get(axis, _LONGEST if axis in LENGTHS else _WIDEST)


@functools.cache
def _variants(relation: Check, implementation: Implementation) -> list[tuple[str, dict[str, str]]]:
    """Return the mechanisms, with their choices, of which the relation is true somewhere."""
    found = []
    for variant in variants():
        if variant.mechanism.name in implementation.capabilities.mechanisms and _ever(
            relation, implementation, variant
        ):
            found.append((variant.mechanism.name, dict(variant.choices)))
    return found


def _ever(relation: Check, implementation: Implementation, variant: Any) -> bool:
    """Whether the relation is true of a case of the variant with the options that it needs."""
    known = variant.mechanism
    needs = [*_known(NEEDS.get(relation.name, ()), known.options), ""]
    sizes = dict.fromkeys(known.axes, 8) | {"B": 2, "H": 2} if "H" in known.axes else dict.fromkeys(known.axes, 8)
    shapes = [sizes, sizes | {"Hk": 1}] if "Hk" in known.axes else [sizes]
    shapes = [shape | ({"Hk": 2} if index == 0 and "Hk" in shape else {}) for index, shape in enumerate(shapes)]
    for option in needs:
        for level in _levels(option, known) if option else [None]:
            for shape in shapes:
                options = dict(variant.choices) | ({option: level} if option else {})
                if relation.holds(implementation, Case(known.name, shape, "float32", options)):
                    return True
    return False
