"""Two options given together: in some case of the default tier it shows if either one is left out."""

from __future__ import annotations

import functools
import itertools
import math

import numpy as np
import pytest

from attention_harness import Capabilities
from attention_harness.cases.projection import cases_for
from attention_harness.checks.expected import arguments, arrays_of, bound_of
from attention_harness.options import OPTIONS
from attention_harness.registry import mechanism

NAME = "scaled_dot_product"
# They do not change the formula: dropout acts in training alone, the others are forms of the call and of its answer.
DECLARED = tuple(name for name in mechanism(NAME).options if name not in ("dropout", "lse", "past"))
TOGETHER = [
    (one, other)
    for one, other in itertools.combinations(DECLARED, 2)
    if "grouped_heads" not in (one, other)  # a size: nothing can leave it out
    and not any({one, other} <= set(option.capabilities) for option in OPTIONS.values())  # two forms of one
]


@functools.cache
def _cases():
    """Return the cases by the two options that they have."""
    found: dict[tuple[str, ...], list] = {}
    every = cases_for(Capabilities((NAME,), options=DECLARED))
    for case in sorted(every, key=lambda case: math.prod(case.sizes.values())):
        given = sorted(OPTIONS[name].capability(form) for name, form in case.options.items())
        if len(given) == 2:
            found.setdefault(tuple(given), []).append(case)
    return found


def _shows(case, name: str) -> bool:
    """Return whether the right output moves by more than its error bound when an option is left out."""
    right, _ = bound_of(case, Capabilities((NAME,)).arithmetic, "zero")
    tensors, options = arguments(case, arrays_of(case))
    left = {key: value for key, value in options.items() if key not in {name, *OPTIONS[name].brought}}
    without = mechanism(NAME).evaluate(**tensors, **left)[0]
    return bool((np.abs(without - right.value) > right.bound).any())


@pytest.mark.parametrize(("one", "other"), TOGETHER)
def test_each_of_two_options_shows_beside_the_other(one, other):
    """So that one which wins, loses or is added to the other is seen."""
    cases = _cases()[tuple(sorted((one, other)))]
    for capability in (one, other):
        names = [name for name, option in OPTIONS.items() if capability in option.capabilities]
        assert any(_shows(case, name) for case in cases for name in names), capability
