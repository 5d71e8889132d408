"""A check, a behaviour and a relation are declared in one way; what the folder's modules declare is the list."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest

from attention_harness import registry
from attention_harness.cases.ids import parse
from attention_harness.checks import BY_NAME, CHECKS, of_kind
from attention_harness.checks.declaration import declared_in
from attention_harness.execution import plan
from attention_harness.execution.run import run_checks
from attention_harness.model.verdict import Status
from attention_harness.options import OPTIONS
from attention_harness.registry import mechanisms
from tests.registry.sources import TINY

SOURCE = '''
from attention_harness.bounds.judge import Judgement
from attention_harness.checks.accuracy import accuracy
from attention_harness.checks.declaration import check
from attention_harness.checks.form import WrongForm

def in_single(implementation, case):
    return case.format.single

@check("relation.synthetic", in_single, sampled=lambda case: "H3" not in case.id)
def synthetic(subject):
    """One sentence
    over two lines.

    A second paragraph.
    """
    return Judgement(0.25, finding=subject.case.id)

@check("refuses")
def refuses(subject):
    """What came back has no numbers."""
    raise WrongForm("output is a list, expected torch.Tensor")
'''


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Return a function that makes a package with a module of a source."""

    def make(source: str) -> ModuleType:
        folder = tmp_path / "more_checks"
        folder.mkdir()
        (folder / "__init__.py").write_text("")
        (folder / "one.py").write_text(source)
        monkeypatch.syspath_prepend(tmp_path)
        for name in ("more_checks", "more_checks.one"):
            monkeypatch.delitem(sys.modules, name, raising=False)
        import more_checks

        return more_checks

    return make


def test_a_declared_check_is_planned_and_judged(package, monkeypatch):
    """It needs nothing but its function: the plan has it where its conditions hold and the suite samples it."""
    declared = declared_in(package(SOURCE))
    assert ["relation.synthetic", "refuses"] == [check.name for check in declared]  # and not what a module imports
    assert "One sentence over two lines." == declared[0].summary
    monkeypatch.setattr(plan, "CHECKS", (*CHECKS, *declared))
    eager = registry.select(["eager"])
    half = TINY.replace("float32", "bfloat16")
    planned = {item.case.id: item for item in plan.plan_items(eager, [parse(TINY), parse(half)])}
    assert "relation.synthetic" in {check.name for check in planned[TINY].checks}
    assert "relation.synthetic" not in {check.name for check in planned[half].checks}
    verdicts = {verdict.check: verdict for verdict in run_checks(planned[TINY])}
    assert (Status.PASS, TINY) == (verdicts["relation.synthetic"].status, verdicts["relation.synthetic"].finding)
    assert (Status.FAIL, "output is a list, expected torch.Tensor") == (
        verdicts["refuses"].status,
        verdicts["refuses"].reason,
    )


def test_a_case_that_is_not_sampled_is_judged_if_it_was_drawn(package):
    """The suite leaves it out; the same numbers of sizes, drawn at random, are judged."""
    [synthetic, _] = declared_in(package(SOURCE))
    [eager] = registry.select(["eager"])
    many = parse("scaled_dot_product-B2H3Hk3Lq5Lk7D16Dv8-float32-plain-ordinary-contiguous")
    drawn = parse(f"{many.id}-draw1000001")
    assert synthetic.holds(eager, many)
    assert not synthetic.applies(eager, many)
    assert synthetic.applies(eager, drawn)


def test_a_check_without_a_summary_is_refused(package):
    """It would show as an empty line in lists, much later."""
    with pytest.raises(ValueError, match="the check 'mute' has no docstring"):
        declared_in(
            package("from attention_harness.checks.declaration import check\n@check('mute')\ndef mute(subject): pass\n")
        )


def test_a_name_twice_is_refused(package):
    """Two checks of one name would share their verdicts."""
    with pytest.raises(ValueError, match=r"more_checks.one declares the check 'refuses', which exists already"):
        declared_in(package(SOURCE.replace('"relation.synthetic"', '"refuses"')))


@pytest.mark.parametrize("mechanism", mechanisms().values(), ids=lambda mechanism: mechanism.name)
def test_what_a_mechanism_declares_exists(mechanism):
    """A name that no check, tensor or choice has would be a declaration that silently does nothing."""
    checks = {check.name for check in CHECKS}
    relations = {check.name.removeprefix("relation.") for check in of_kind("relation")}
    algebra, inputs = mechanism.algebra, {declared.name for declared in mechanism.inputs}
    assert set(algebra.checks) <= checks
    assert {algebra.linear, algebra.shifted} - {""} <= inputs
    assert set(algebra.breaks) <= {value for values in mechanism.choices.values() for value in values}
    assert set().union(*algebra.breaks.values()) <= relations
    if mechanism.scores:
        assert mechanism.weighs_directly or algebra.fetched is not None, "no relation would know what a key gives"


@pytest.mark.parametrize("option", OPTIONS.values(), ids=lambda option: option.name)
def test_what_an_option_breaks_exists(option):
    """A name that no relation has would break nothing."""
    assert option.breaks <= {check.name.removeprefix("relation.") for check in of_kind("relation")}


def test_a_broken_relation_is_not_judged():
    """By an option of the case, by its sizes, and by a choice of the mechanism."""
    [eager] = registry.select(["eager"])
    plain = "scaled_dot_product-B2H4Hk4Lq5Lk7D16Dv8-float32-plain-ordinary-contiguous"
    sequence = "self_attention-B2L5E16-float32-positions=none-ordinary-contiguous"
    for relation, holds, breaks in (
        ("permuted_keys", plain, plain.replace("plain", "valid_lens=batch")),
        ("permuted_keys", plain, plain.replace("plain", "causal=top_left")),
        ("permuted_heads", plain, plain.replace("Hk4", "Hk2")),
        ("equal_keys", sequence, sequence.replace("none", "sinusoidal")),
    ):
        check = BY_NAME[f"relation.{relation}"]
        assert check.holds(eager, parse(holds)), holds
        assert not check.holds(eager, parse(breaks)), breaks


def test_every_kind_is_declared():
    """The list has no name twice, and its kinds are told by their names."""
    assert len(CHECKS) == len({check.name for check in CHECKS})
    assert 17 == len(of_kind("behaviour"))
    assert 28 == len(of_kind("relation"))
