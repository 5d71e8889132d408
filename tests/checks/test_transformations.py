"""vmap, forward derivatives, autocast and mixed dtypes: right ones pass in every dtype, and the bounds are bounds."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import torch

from attention_harness import Capabilities, Case, HarnessError
from attention_harness.bounds.error_bound import forward_bounds
from attention_harness.cases import inputs
from attention_harness.cases.matrix import matrix
from attention_harness.checks import BY_NAME, transformations
from attention_harness.checks.declaration import DRAWN
from attention_harness.checks.expected import arguments
from attention_harness.checks.gradients import direction, floating
from attention_harness.implementations import eager
from attention_harness.model.capabilities import TRANSFORMATIONS
from attention_harness.model.verdict import NONCONFORMING
from attention_harness.mutation.catalogue import variants
from attention_harness.registry import mechanisms
from attention_harness.registry.implementations import implementations
from tests.checks.behaviour import made as m
from tests.checks.gradients.kernel import asked

CHECKS = ("vmap", "forward_derivative", "autocast", "mixed_dtypes")
PLAIN = Case("scaled_dot_product", {"B": 2, "H": 3, "Hk": 3, "Lq": 5, "Lk": 7, "D": 16, "Dv": 8})


@functools.cache
def cases() -> tuple[Case, ...]:
    """Return some of the cases where these checks are asked: mechanisms of each kind with each dtype and option."""
    seen: set[tuple[str, ...]] = set()
    found = []
    of_kinds = ("scaled_dot_product", "cosine", "additive", "masked_softmax", "cross_attention")
    for case in (case for case in matrix("default") if case.mechanism in of_kinds and BY_NAME["vmap"].sampled(case)):
        new = {(case.mechanism, case.dtype), *((case.mechanism, name) for name in case.options)}
        if not new <= seen:
            found.append(case)
        seen |= new
    return tuple(found)


def accused(implementation, checks=CHECKS, chosen=None) -> list[str]:
    """Return the checks and cases that accuse; each check is asked somewhere where it is declared."""
    verdicts = asked(implementation, chosen or cases(), checks)
    return [f"{v.check} {v.case} {v.reason}" for v in verdicts if v.status in NONCONFORMING]


def test_eager_is_what_it_declares():
    """In every dtype, with every option; and each check is asked."""
    assert [] == accused(implementations()["eager"])
    verdicts = asked(implementations()["eager"], cases(), CHECKS)
    assert set(CHECKS) == {verdict.check for verdict in verdicts}


@pytest.mark.parametrize("variant", [v for v in variants() if v.kind == "transformations"], ids=lambda v: v.name)
def test_another_right_way_is_not_accused(variant):
    """Rules of their own, autocast turned off, wider tensors cast."""
    chosen = [case for case in cases() if case.mechanism in ("scaled_dot_product", "cross_attention", "masked_softmax")]
    assert [] == accused(variant.implementation(), CHECKS, chosen)


def test_inputs_that_are_expanded_have_forward_derivatives():
    """torch refuses a direction for a tensor whose elements share memory: the call gets one that does not."""
    expanded = Case(PLAIN.mechanism, PLAIN.sizes, layout="expanded", draw=DRAWN)  # as random cases are
    verdicts = asked(implementations()["eager"], [expanded], ("forward_derivative",))
    assert [("pass", "")] == [(verdict.status, verdict.reason) for verdict in verdicts]


@pytest.mark.parametrize("case", [c for c in cases() if c.dtype == "float64"], ids=lambda case: case.id)
def test_the_bound_of_a_forward_derivative_lies_around_the_right_one(case):
    """The value on the tape is torch's in float64, and the bound is some roundings of it wide, not more."""
    tensors = inputs.tensors(case)
    names = floating(tensors)
    along = {name: direction(case, name, tensors[name]) for name in names}
    known = mechanisms()[case.mechanism]
    given = arguments(case, inputs.exact(tensors))
    arithmetic = Capabilities((case.mechanism,)).arithmetic
    right = forward_bounds(known.evaluate, *given, "float64", arithmetic, inputs.exact(along))
    call = eager.prepare(case)

    def output(*values):
        found = call(**{**tensors, **dict(zip(names, values, strict=True))})
        return found[0] if isinstance(found, tuple) else found

    _, derivative = torch.func.jvp(output, tuple(tensors[n] for n in names), tuple(along.values()))
    error = np.abs(derivative.numpy() - right.value)
    assert (error <= right.bound).all()
    assert right.bound.max() < 1e-10 * max(np.abs(right.value).max(), 1)


def test_a_call_under_autocast_is_bounded_by_its_dtype():
    """What is right in float32 and what is right in half both pass; what has fewer bits does not."""
    [variant] = [v for v in variants() if v.name == "autocast is off inside"]
    for implementation in (implementations()["eager"], variant.implementation()):
        assert [] == accused(implementation, ("autocast",), [PLAIN])


def rounded(dtype):
    """Return an attention with scores in this dtype."""
    return lambda scores, value, visible: m.right(scores.to(dtype).to(scores.dtype), value, visible)


def test_behaviours_are_measured_where_nothing_is_declared():
    """What is right, what raises and what is wrong is told by way and dtype, and fails only against a declaration."""

    def looks(scores, value, visible):
        return m.right(scores, value, None if visible is not None and visible.all() else visible)

    judged = m.ask("vmap", m.made(looks))
    assert ("right (plain); raises RuntimeError (mask, bias, valid_lens)", "no claim", "") == (
        judged.finding,
        judged.declared,
        judged.reason,
    )
    assert m.ask("vmap", m.made(looks, vmap=True)).reason
    assert "right" == m.ask("vmap", m.made(m.right, vmap=True)).finding
    detached = m.made(lambda scores, *rest: m.right(scores.detach(), *rest), forward_derivatives=True)
    assert m.ask("forward_derivative", detached).finding.startswith("wrong: forward derivative by query, key, value")
    coarse = m.made(rounded(torch.float8_e5m2))
    assert m.ask("autocast", coarse).finding.startswith("wrong: under autocast in ")
    assert "" == m.ask("autocast", coarse).reason
    coarse = m.made(rounded(torch.float8_e5m2), autocast=("float16",))
    assert ("float16", True) == (m.ask("autocast", coarse).declared, bool(m.ask("autocast", coarse).reason))


def test_what_builds_is_not_measured_without_a_declaration():
    """Another structure would take seconds."""
    assert not BY_NAME["behaviour.vmap"].applies(m.made(m.right, builds=True), PLAIN)


def test_wider_tensors_are_rounded_or_not():
    """A bias in float64 beside float32 may be rounded to that, and to nothing narrower."""
    case = Case(PLAIN.mechanism, PLAIN.sizes, "float32", {"bias": "full"})
    assert [{"bias": "float64"}] == transformations._others(m.made(m.right, wider_inputs=("bias",)), case)
    for rounding, fails in ((lambda scores: scores.float(), False), (lambda scores: scores.half().float(), True)):
        attend = functools.partial(lambda scores, *rest, rounding: m.right(rounding(scores), *rest), rounding=rounding)
        assert fails == bool(accused(m.made(attend, wider_inputs=("bias",)), ("mixed_dtypes",), [case]))


def test_declarations_that_cannot_be_meant():
    """A dtype that autocast does not have, and a tensor that no mechanism has or whose dtype is the case's."""
    with pytest.raises(HarnessError, match="unknown autocast 'float32'; known: bfloat16, float16"):
        Capabilities(("cosine",), autocast=("float32",))
    for name in ("biass", "query"):
        with pytest.raises(HarnessError, match=f"input '{name}'"):
            m.validate(m.made(m.right, narrower_inputs=(name,)))


def test_mutants_are_asked_what_their_row_names_alone():
    """So that no mutant is killed by a transformation that its patch happens not to support."""
    from attention_harness.mutation.catalogue import mutants

    none = Capabilities(("cosine",))
    for mutant in mutants():
        declares = mutant.implementation().capabilities if mutant.under else None
        for name in TRANSFORMATIONS if declares else ():
            assert (getattr(declares, name) != getattr(none, name)) == (name in mutant.under)
    kinds = {mutant.kind for mutant in mutants() if mutant.under}
    assert {"vmap", "forward derivative", "autocast", "mixed dtypes"} == kinds
