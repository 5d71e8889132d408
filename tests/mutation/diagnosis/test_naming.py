"""A failure is traced to the mutant that is in it, whatever the implementation is built on, and never to another."""

from __future__ import annotations

from dataclasses import replace
from types import ModuleType

import pytest

from attention_harness.cases.ids import parse
from attention_harness.execution.plan import plan_items
from attention_harness.execution.run import run_checks
from attention_harness.model.capabilities import Arithmetic, Capabilities
from attention_harness.model.diagnosis import Match
from attention_harness.model.verdict import NONCONFORMING
from attention_harness.mutation.campaign import select
from attention_harness.mutation.catalogue import mutants
from attention_harness.mutation.diagnosis import diagnose, search
from attention_harness.mutation.patched import Mutant
from attention_harness.registry import Implementation
from tests.bounds.judge.online import FUSED, implementation, online
from tests.conftest import DEEP

HEAD = "scaled_dot_product-B2H3Hk3Lq5Lk7D16Dv8-float32"
CASES = [
    parse(f"{HEAD}-{tail}")
    for tail in (
        "plain-ordinary-contiguous",
        "causal=top_left-ordinary-contiguous-draw1",
        "causal=bottom_right-ordinary-contiguous-draw2",
        "mask=full-peaked-contiguous-draw3",
        "valid_lens=batch-ordinary-transposed-draw4",
    )
]


NAMED = ("last key dropped", "value channels reversed", "an input is scaled in place")
NAMED += ("causal corners swapped", "causal ignored", "causal ignored beside a mask", "mask ignored", "not scaled")


@pytest.fixture(autouse=True)
def some_mutants(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try one mutant in eight, and those that are named here; `tox -e thorough` tries all."""
    if not DEEP:
        tried = tuple(one for place, one in enumerate(mutants()) if place % 8 == 0 or one.name in NAMED)
        monkeypatch.setattr(search, "mutants", lambda: tried)


def found(own: Implementation) -> list[Match]:
    """Return the diagnosis of an implementation from a handful of cases."""
    verdicts = [verdict for item in plan_items([own], CASES) for verdict in run_checks(item)]
    return list(diagnose(own, [verdict for verdict in verdicts if verdict.status in NONCONFORMING]).matches)


def _with(change, arithmetic=FUSED) -> Implementation:
    """Return an online softmax, block after block of keys, whose scores and visibility a mutant has changed."""
    return implementation("mine", lambda scores, value, visible: online(*change(scores, value, visible)), arithmetic)


KERNELS = {
    "last key dropped": lambda s, v, seen: (s, v * (v.new_tensor(range(v.shape[-2], 0, -1)) > 1)[:, None], seen),
    "value channels reversed": lambda s, v, seen: (s, v.flip(-1), seen),
}


_FEW = pytest.mark.skipif(not DEEP, reason="a second kernel takes half a minute: `tox -e thorough` asks it")


@pytest.mark.parametrize("mutant", [next(iter(KERNELS)), *(pytest.param(k, marks=_FEW) for k in list(KERNELS)[1:])])
def test_another_kernel_with_the_same_mutant_is_named(mutant):
    """Outputs are compared, not code: an online softmax rounds otherwise than the mutant does."""
    matches = found(_with(KERNELS[mutant]))
    assert mutant in [match.mutant for match in matches]
    assert all(0 < match.error_ratio <= 1 for match in matches)


def test_a_mistake_that_is_not_planted_is_not_blamed_on_one():
    """Noise in the scores is none of the mutants: nothing is named, rather than the nearest."""
    matches = found(_with(lambda s, v, seen: (s + 0.3 * (s * 7).sin(), v, seen)))
    assert matches == []


def test_what_conforms_has_no_cause():
    """Without failures there is nothing to explain."""
    assert found(_with(lambda s, v, seen: (s, v, seen))) == []


def test_a_mutant_that_does_not_show_explains_nothing():
    """A deviation just above the error bound is not explained by mutants that leave the right answer as it is."""
    assert found(_with(lambda s, v, seen: (s, v * (1 + 2e-6), seen), Arithmetic(stored_probabilities=False))) == []


def test_mutants_that_cannot_be_told_apart_share_a_place(monkeypatch):
    """Where one corner is declared, a causal mask at the wrong corner may be fixed there or swapped."""
    causality = [mutant for mutant in mutants() if mutant.kind == "causality"]
    monkeypatch.setattr(search, "mutants", lambda: causality)
    [[mutant], []] = select(["causal corners swapped"])
    swapped = mutant.implementation()
    module = ModuleType("mine")
    module.prepare = swapped.module.prepare
    module.CAPABILITIES = Capabilities(("scaled_dot_product",), options=("causal_bottom_right",))
    matches = found(Implementation("mine", module, swapped.path))
    assert {"causal corners swapped", "causal always top left"} <= {match.mutant for match in matches}
    assert {1} == {match.place for match in matches if match.mutant.startswith("causal corners")}
    module.CAPABILITIES = replace(module.CAPABILITIES, options=("causal_bottom_right", "causal_top_left"))
    [likeliest, *others] = found(Implementation("mine", module, swapped.path))
    assert likeliest.mutant == "causal corners swapped"
    assert all(match.agreed < likeliest.agreed for match in others)  # right at one corner: half of an explanation


def test_behaviours_are_told_by_how_they_fail():
    """Where the numbers are right, the same check must fail for the same reason."""
    right = Mutant("none", "none", ()).implementation()

    def in_place(case):
        attend = right.prepare(case)
        return lambda query, **given: (attend(query, **given)[0], query.mul_(3))[0]

    module = ModuleType("mine")
    module.prepare, module.CAPABILITIES = in_place, Capabilities(("scaled_dot_product",))
    [first, *_] = found(Implementation("mine", module, right.path))
    assert (first.mutant, first.agreed) == ("an input is scaled in place", first.cases)


def test_a_mutant_is_not_known_by_its_name():
    """The right source under a mutant's name has no cause, and the mutant under any name has it."""
    right = replace(Mutant("none", "none", ()).implementation(), name="mutant:not scaled")
    assert found(right) == []


def test_a_second_smaller_deviation_hides_nothing():
    """Causality ignored beside a mask is named where outputs are off by more than their bound besides."""
    [[mutant], []] = select(["causal ignored beside a mask"])
    planted, right = mutant.implementation(), Mutant("none", "none", ()).implementation()

    def prepare(case):
        attend = (planted if "mask" in case.options else right).prepare(case)
        return lambda **given: attend(**given)[0] * (1 + 1e-4)

    module = ModuleType("mine")
    module.prepare = prepare
    module.CAPABILITIES = Capabilities(("scaled_dot_product",), options=("mask", "causal_top_left"))
    own = Implementation("mine", module, planted.path)
    both = [parse(f"{HEAD}-causal=top_left+mask=full-ordinary-contiguous"), *CASES]
    failures = [one for item in plan_items([own], both[:2]) for one in run_checks(item) if one.status in NONCONFORMING]
    found = diagnose(own, failures, seconds=60.0)  # time for a case that passes, whatever the machine
    assert "causal ignored beside a mask" in [match.mutant for match in found.matches]
    assert found.mutants > (400 if DEEP else 50)
    assert "causal ignored" not in [match.mutant for match in found.matches]  # it fails without a mask too
