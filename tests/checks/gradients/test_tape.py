"""The tape is right: by torch's autograd, by central differences, and eager by torch's own numerical check."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from attention_harness import registry
from attention_harness.bounds.error_bound import gradient_bounds
from attention_harness.cases import inputs
from attention_harness.cases.matrix import matrix
from attention_harness.checks.gradients import has_gradient, has_second_derivative
from attention_harness.model.capabilities import Arithmetic
from attention_harness.model.case import Case
from attention_harness.options import OPTIONS, required
from attention_harness.registry import mechanisms
from tests.checks.gradients.kernel import accused
from tests.conformance.covering import covering
from tests.conftest import DEEP

EAGER = registry.implementations()["eager"]
DRAWN = [replace(case, dtype="float64") for case in matrix("default") if has_gradient(EAGER, case)]
PLAIN = [
    case
    for case in dict.fromkeys(DRAWN)
    if 0 not in case.sizes.values()
    and (case.content, case.layout) == ("ordinary", "contiguous")
    and set(case.options) <= set(mechanisms()[case.mechanism].choices)
]


def masked(case: Case) -> Case:
    """Return the case with a bias, some of which hides keys, and a mask."""
    return replace(case, options={**case.options, "mask": "full", "bias": "query"}, draw=1)


def with_options(case: Case) -> list[Case]:
    """Return the case with every form of each option that acts on its scores by a number or a tensor."""
    known = mechanisms()[case.mechanism].options
    return [
        replace(case, options={option.name: form})
        for option in OPTIONS.values()
        for form in option.forms
        if option.capability(form) in known and not option.training
    ]


MOST = max(
    PLAIN, key=lambda case: len(mechanisms()[case.mechanism].options)
)  # of the mechanism that takes most options
GROUPED = replace(MOST, sizes={**MOST.sizes, "Hk": 1})
DIFFERED = [
    *PLAIN,
    *(masked(case) for case in PLAIN if "bias" in mechanisms()[case.mechanism].options),
    *(case for case in with_options(GROUPED) if inputs.codes(case) is None),
]


def given(case: Case):
    """Return the mechanism's tensors and its options, in float64."""
    arrays = inputs.exact(inputs.tensors(case))
    tensors = {declared.name: arrays.pop(declared.name) for declared in mechanisms()[case.mechanism].inputs}
    return tensors, arrays | inputs.arguments(case)


@pytest.mark.parametrize("mechanism", mechanisms())
def test_the_tape_agrees_with_autograd(mechanism):
    """Cases of the default matrix, taken to float64: eager through torch's autograd is within the error bound.

    Few that together hold every form of an option, content and layout; all of them in `tox -e thorough`.
    """
    cases = {case: _levels(case) for case in DRAWN if case.mechanism == mechanism}
    assert accused(EAGER, list(cases) if DEEP else covering(cases)) == []


def _levels(case: Case) -> list[str]:
    return [case.content, case.layout, *(f"{name}={form}" for name, form in case.options.items()), *required(case)]


def test_every_option_is_differentiated():
    """The cases above and the second derivatives below hold every option of every mechanism but dropout and codes."""
    without = {"dropout"} | {name for option in OPTIONS.values() if option.codes for name in option.capabilities}
    for mechanism in mechanisms().values():
        asked = {option for case in DRAWN if case.mechanism == mechanism.name for option in required(case)}
        assert set(mechanism.options) - without == asked


@pytest.mark.parametrize("case", DIFFERED, ids=str)
def test_the_tape_agrees_with_central_differences(case):
    """Along a direction, in extended precision.

    For the difference D(h), whose error falls as h^2, |D(h/2) - f'| < |D(h) - D(h/2)|, and the rounding of its two
    values is some eps/h of their terms.
    """
    tensors, options = given(case)
    evaluate, shape = mechanisms()[case.mechanism].evaluate, mechanisms()[case.mechanism].output
    upstream = inputs.drawn(case, "upstream", inputs.shape_of(shape, case.sizes))
    error_bounds = gradient_bounds(evaluate, tensors, options, "float64", Arithmetic(), upstream)
    eps = np.finfo(np.longdouble).eps
    for name, error_bound in error_bounds.items():
        at = (tensors | options)[name].astype(np.longdouble)
        direction = np.where(np.isfinite(at), inputs.drawn(case, f"direction.{name}", at.shape), 0.0)

        def value(h, name=name, at=at, direction=direction):
            moved = {**tensors, **options, name: at + h * direction}
            return evaluate(**moved)[0].astype(np.longdouble)

        def difference(h, value=value):
            return ((value(h) - value(-h)) * upstream).sum() / (2 * h)

        wide, narrow = difference(np.longdouble(2.0**-12)), difference(np.longdouble(2.0**-13))
        rounding = 2.0**13 * eps * upstream.size * np.abs(value(0) * upstream).sum()
        allowed = abs(wide - narrow) + rounding + (error_bound.bound * np.abs(direction)).sum()
        error = abs((error_bound.value * direction).sum() - narrow)
        assert error <= allowed, name
        assert allowed < np.abs(error_bound.value * direction).sum() / 100 or not error_bound.value.any(), (
            "the test is blind"
        )


SMALL = {"B": 2, "H": 2, "Hk": 1, "Lq": 2, "Lk": 3, "L": 3, "P": 3}


def small(case: Case) -> Case:
    """Return the problem with sizes that numerical derivatives can afford: many of the cases become the same."""
    sizes = {axis: min(length, SMALL.get(axis, 4 if axis == "E" else 2)) for axis, length in case.sizes.items()}
    if "Hk" in sizes and "grouped_heads" not in mechanisms()[case.mechanism].options:
        sizes["Hk"] = sizes["H"]
    return replace(case, sizes=sizes)


NUMERICAL = list(dict.fromkeys(small(case) for case in DIFFERED if mechanisms()[case.mechanism].scores))


@pytest.mark.parametrize("case", NUMERICAL if DEEP else NUMERICAL[::2], ids=str)
def test_eager_passes_the_numerical_check_of_torch(case):
    """First and second derivatives, by torch.autograd.gradcheck and gradgradcheck on a small problem."""
    tensors = inputs.tensors(case)
    leaves = {name: t.detach().requires_grad_() for name, t in tensors.items() if t.is_floating_point()}
    hidden = {name for name in leaves if name == "bias"}  # -inf has no numerical derivative: tested against the tape
    asked = {name: t for name, t in leaves.items() if name not in hidden}
    function = EAGER.prepare(case)

    def output(*moved):
        given = {name: t.detach() for name, t in tensors.items()} | dict(zip(asked, moved, strict=True))
        result = function(**given)
        return result[0] if isinstance(result, tuple) else result

    assert torch.autograd.gradcheck(output, tuple(asked.values()))
    assert torch.autograd.gradgradcheck(output, tuple(asked.values()))


@pytest.mark.parametrize("mechanism", [name for name, known in mechanisms().items() if known.scores])
def test_a_tape_over_a_tape_agrees_with_autograd(mechanism):
    """Second derivatives of the ordinary cases, in float64."""
    declared = replace(EAGER.capabilities, second_derivatives=True)
    eager = registry.Implementation("eager", type(EAGER.module)("eager"), EAGER.path)
    eager.module.__dict__.update(vars(EAGER.module), CAPABILITIES=declared)
    cases = [
        case for case in dict.fromkeys(DRAWN) if case.mechanism == mechanism and has_second_derivative(eager, case)
    ]
    assert accused(eager, cases, ("second_derivative",)) == []
