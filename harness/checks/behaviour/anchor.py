"""The case at which the behaviours of an implementation are measured, the variants that it takes, and what is found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attention_harness.bounds import ErrorBound
from attention_harness.bounds.judge import Judgement
from attention_harness.cases import inputs
from attention_harness.cases.projection import mended
from attention_harness.cases.space import variants
from attention_harness.checks.interface import Declaration
from attention_harness.model.capabilities import Capabilities
from attention_harness.model.case import Case
from attention_harness.model.dtypes import DTYPES
from attention_harness.options import OPTIONS, hiding
from attention_harness.reference.specification import Mechanism
from attention_harness.registry import mechanisms

# Lengths and widths to measure at. The later ones are for kernels that take whole blocks or equal lengths alone, in
# which the two corners of causality are the same.
_SIZES = (
    {"lengths": (5, 7), "widths": (16, 8)},
    {"lengths": (64, 128), "widths": (64, 64)},
    {"lengths": (8, 8), "widths": (16, 16)},
)

_MOST_KEYS = 256  # of a case that `requires` makes: one error bound is computed for each key


def anchor(implementation: Declaration) -> Case:
    """Return the case at which the behaviours of an implementation are measured.

    Its mechanism has a value to weigh, if one of the declared does, and the most options that the implementation takes;
    the case has no options, and the first lengths and widths that are taken, as they are or as `requires` makes them.
    """
    capabilities = implementation.capabilities
    mechanism, dtype = _measured(capabilities)
    variant = next(one for one in variants() if one.mechanism is mechanism)
    cases = [variant.plain(dtype, **sizes) for sizes in _SIZES]
    fitting = (case for case in (mended(case, capabilities) for case in cases) if case and _few_keys(case))
    taken = (case for case in (*cases, *fitting) if not implementation.refuses(case.on(implementation.device)))
    return next(taken, cases[0])


def _measured(capabilities: Capabilities) -> tuple[Mechanism, str]:
    """Return the mechanism and the dtype of the anchor."""

    def rank(mechanism: Mechanism) -> tuple[bool, bool, int]:
        taken = set(mechanism.options) & set(capabilities.options)
        return mechanism.weighs_directly, bool(mechanism.scores), len(taken)

    mechanism = max((mechanisms()[name] for name in capabilities.mechanisms), key=rank)
    return mechanism, next(dtype for dtype in DTYPES if dtype in capabilities.dtypes)


def _few_keys(case: Case) -> bool:
    return not mechanisms()[case.mechanism].scores or number_of_keys(case) <= _MOST_KEYS


# --- what the implementation takes there


def takes(implementation: Declaration, case: Case) -> bool:
    """Return whether the implementation answers a case: it neither refuses it nor is known to fail there."""
    return not implementation.refuses(case) and not implementation.known_failure("accuracy", case)


def with_option(implementation: Declaration, case: Case, name: str) -> dict[Any, Case]:
    """Return the forms of an option that the mechanism knows and the implementation takes: form -> the case with it."""
    known, option = mechanisms()[case.mechanism].options, OPTIONS[name]
    forms = [form for form in option.forms if option.capability(form) in known]
    probes = {form: replace(case, options={**case.options, name: form}) for form in forms}
    return {form: probe for form, probe in probes.items() if takes(implementation, probe)}


def ways_to_hide(implementation: Declaration, case: Case) -> dict[str, Case]:
    """Return the options whose tensors hide keys, among those that the implementation takes: option -> a case."""
    found = {name: with_option(implementation, case, name) for name in hiding(OPTIONS)}
    return {name: next(iter(probes.values())) for name, probes in found.items() if probes}


def each_dtype(implementation: Declaration, case: Case) -> list[Case]:
    """Return the anchor in every declared dtype that the implementation takes there."""
    found = [replace(case, dtype=dtype) for dtype in implementation.capabilities.dtypes]
    return [each for each in found if takes(implementation, each)]


# --- where a behaviour is measured


def is_anchor(implementation: Declaration, case: Case) -> bool:
    """Return whether the behaviours are measured in this case."""
    plain = case.content == "ordinary" and case.layout == "contiguous" and case.draw == 0
    if not plain or case.options.keys() - set(mechanisms()[case.mechanism].choices):
        return False
    mechanism, dtype = _measured(implementation.capabilities)  # this is asked of every case by every behaviour
    return (case.mechanism, case.dtype) == (mechanism.name, dtype) and case.on("cpu") == anchor(implementation)


def can_hide(implementation: Declaration, case: Case) -> bool:
    """Return whether there is a way to hide keys."""
    return bool(ways_to_hide(implementation, case))


# --- tensors of the anchor


def number_of_keys(case: Case) -> int:
    """Return how many keys a query may see."""
    return inputs.shape_of(mechanisms()[case.mechanism].scores, case.sizes)[-1]


def key_axes(case: Case) -> dict[str, int]:
    """Return the tensors that hold something of a key which is not a query too: name -> axis of the keys."""
    return {
        declared.name: declared.axes.index(letter)
        for declared in mechanisms()[case.mechanism].inputs
        for letter in ("Lk", "P")
        if letter in declared.axes
    }


# --- what is found


def within(found: NDArray[np.float64], bound: ErrorBound) -> NDArray[np.bool_]:
    """Return which elements are within their error bound; NaN is where it is expected."""
    close = np.abs(found - bound.value) <= bound.bound
    return np.asarray(close | (np.isnan(found) & np.isnan(bound.value)))


NO_CLAIM = "no claim"


def finding(measured: str, declared: str, contradicted: bool) -> Judgement:
    """Return the judgement of a behaviour: it fails where the measurement contradicts the declaration."""
    if contradicted:
        return replace(Judgement.refuse(f"does: {measured}; declares: {declared}"), finding=measured, declared=declared)
    return Judgement(0.0, finding=measured, declared=declared)


def by_word(found: Mapping[str, str]) -> str:
    """Return what was found where: one word where it is the same everywhere."""
    grouped: dict[str, list[str]] = {}
    for where, word in found.items():
        grouped.setdefault(word, []).append(where)
    if len(grouped) == 1:
        return next(iter(grouped))
    return "; ".join(f"{word} ({', '.join(places)})" for word, places in grouped.items()) or "nothing to measure"
