"""The smallest error that a case sees: a threshold of the real judge; what sees nothing has a reason."""

from __future__ import annotations

import functools
import itertools
import json
import math

import numpy as np
import pytest

from attention_harness import store
from attention_harness.bounds.judge import judge
from attention_harness.bounds.perturbed import evaluate
from attention_harness.cases import inputs
from attention_harness.cases.ids import parse
from attention_harness.cases.inputs import codes
from attention_harness.cases.matrix import LIST, matrix
from attention_harness.checks.accuracy import is_degenerate
from attention_harness.checks.expected import bound_of
from attention_harness.commands.main import main
from attention_harness.model.capabilities import Arithmetic
from attention_harness.model.dtypes import DTYPES
from attention_harness.model.mutation_results import KINDS, Sensitivity
from attention_harness.model.run_facts import RunFacts
from attention_harness.mutation import sensitivity as s
from attention_harness.options import required
from attention_harness.reference import core
from attention_harness.registry import mechanisms

PLAIN = "scaled_dot_product-B2H3Hk3Lq5Lk7D16Dv8-float32-plain-ordinary-contiguous"
MASKED = "additive-B2H3Lq5Lk7Dq16Dk9Dv8A19-float64-mask=full+valid_lens=query-shifted-contiguous-draw3"
HALF = "cosine-B2H3Hk3Lq5Lk7D16Dv8-bfloat16-bias=full-ordinary-contiguous-draw1"
JOINED = "multi_head-B2H3Lq5Lk7E48Eq18Ek11Ev8O9-float32-causal=bottom_right-ordinary-contiguous"
WEIGHTS = "masked_softmax-B2H3Lq5Lk7-float16-mask=head-ordinary-contiguous-draw1"
CHANGES = {"temperature": s.temperature, "weight": s.weight, "dropped": s.dropped}


def evaluated(case, change):
    return evaluate(
        mechanisms()[case.mechanism].evaluate, inputs.exact(inputs.tensors(case)), inputs.arguments(case), change
    )


def accused(case, output):
    return bool(judge(output, bound_of(case, Arithmetic(), "zero")[0], degenerate=is_degenerate(case)).reason)


@pytest.mark.parametrize("text", [PLAIN, MASKED, HALF, JOINED, WEIGHTS])
def test_the_error_found_is_the_threshold(text):
    """Twice the error is accused, half of it is not; both are made here anew."""
    case = parse(text)
    found = s.sensitivity(case)
    exact = evaluated(case, core.softmax)
    assert not accused(case, exact)
    assert accused(case, exact * (1 + 2 * found.amplitude))
    assert not accused(case, exact * (1 + found.amplitude / 2))
    for kind in ("temperature", "weight"):
        eps = getattr(found, kind)
        assert accused(case, evaluated(case, CHANGES[kind](2 * eps))), kind
        assert not accused(case, evaluated(case, CHANGES[kind](eps / 2))), kind
    assert accused(case, evaluated(case, s.dropped(found.dropped)))
    assert not accused(case, evaluated(case, s.dropped(found.dropped / 4)))


@pytest.mark.parametrize("name", mechanisms())
def test_no_error_changes_no_bit_and_an_error_shows(name):
    """What runs the formula is the formula: eps = 0 is the reference bit for bit; eps = 1 reaches every mechanism."""
    case = next(case for case in matrix("quick") if case.mechanism == name and case.content == "ordinary")
    given = inputs.exact(inputs.tensors(case))
    reference = np.asarray(mechanisms()[name].evaluate(**given, **inputs.arguments(case))[0])
    for change in (
        core.softmax,
        s.temperature(0.0),
        s.weight(0.0),
        s.dropped(0.0),
    ):
        np.testing.assert_array_equal(evaluated(case, change), reference, strict=True)
    if mechanisms()[name].scores:
        for change in (s.temperature(1.0), s.weight(1.0), s.dropped(1.0)):
            assert not np.allclose(evaluated(case, change), reference)


def test_the_perturbations_are_what_they_say():
    """Each against its definition on one row, written out."""
    scores, visible = np.array([[0.0, 1.0, 2.0, 9.0]]), np.array([[True, True, True, False]])
    p = np.exp([0.0, 1.0, 2.0]) / np.exp([0.0, 1.0, 2.0]).sum()
    hot = np.exp([0.0, 1.5, 3.0])
    np.testing.assert_allclose(s.temperature(0.5)(scores, visible, "zero")[0, :3], hot / hot.sum())
    moved = p * [1, 1, math.exp(0.5)]  # p = 0.09, 0.24, 0.67: the last has the largest p (1 - p)
    np.testing.assert_allclose(s.weight(0.5)(scores, visible, "zero")[0, :3], moved / moved.sum())
    kept = p * [1, 0, 1]
    np.testing.assert_allclose(s.dropped(0.5)(scores, visible, "zero")[0, :3], kept / kept.sum())
    np.testing.assert_array_equal(s.dropped(0.05)(scores, visible, "zero"), core.softmax(scores, visible))
    alone = np.array([[True, False, False, False]])
    np.testing.assert_array_equal(s.dropped(1.0)(scores, alone, "zero"), [[1.0, 0.0, 0.0, 0.0]])


@pytest.mark.parametrize("threshold", [2.0**-60, 3e-9, 0.126, 1.0])
def test_bisection(threshold):
    """The smallest accused number, never one that is not accused, to a quarter of an octave."""
    found = s.smallest(lambda eps: eps >= threshold)
    assert threshold <= found <= threshold * 2**0.25


def test_what_is_never_accused_has_no_threshold():
    """None is not 0."""
    assert s.smallest(lambda eps: False) is None


WEAK = {
    # logits of some thousand in bfloat16: their rounding alone decides which key wins
    "dot_product-B1H1Hk1Lq4Lk4D64Dv8-bfloat16-plain-sunken-contiguous": "its bound is vacuous: the scores are so "
    "large that their rounding decides the weights",
    "scaled_dot_product-B1H1Hk1Lq4Lk0D8Dv8-float32-plain-ordinary-contiguous": "no query sees a key",
    "scaled_dot_product-B1H1Hk1Lq0Lk4D8Dv8-float32-plain-ordinary-contiguous": "it has no output",
    # values that agree to 2^-10 in a format of 8 bits: no weight shows
    "cross_attention-B1Lq1Lk9D1E1-bfloat16-plain-nearly_equal-contiguous-draw9": "the rounding of bfloat16 hides what "
    "the weights decide",
}


@pytest.mark.parametrize("text", WEAK)
def test_a_case_that_sees_nothing_is_weak(text):
    """A vacuous bound, no key, no output, values all alike: weak, with the reason."""
    found = s.sensitivity(parse(text))
    assert WEAK[text] == found.weak
    assert all(getattr(found, kind) is None or getattr(found, kind) > s.USEFUL for kind in KINDS[1:])


def test_a_useful_case_is_not_weak():
    """A plain case sees errors near the rounding of its format, and the coarser the format the larger they are."""
    eps = {d: s.sensitivity(parse(PLAIN.replace("float32", d))) for d in ("float64", "float32", "float16", "bfloat16")}
    assert {""} == {found.weak for found in eps.values()}
    for finer, coarser in itertools.pairwise(eps.values()):
        assert finer.temperature < coarser.temperature < 2.0**-4
    assert eps["float64"].temperature < 2.0**-44


@functools.cache
def default() -> list[s.Sensitivity]:
    return list(s.measure(matrix("default")))


HALF_DTYPES = [name for name, record in DTYPES.items() if not record.single]


FILLS = "far_below"
"""The content that is there for finite fills of hidden keys: one key decides its rows, so that no weight shows."""


def test_no_case_is_weak_without_a_reason_of_its_own():
    """Weak are length and mask cases, an example of the notes, fills, and what half precision rounds away."""
    strange = [
        one
        for one in default()
        if one.weak
        and one.weak not in s.INHERENT
        and not one.content.startswith("example.")
        and not (one.content == FILLS and one.weak.startswith("one key decides every row"))
        # codes of 8 bits round away what is fine in some contents, such as differences of scores far below
        and not (codes(parse(one.case)) and one.weak.startswith("its bound is vacuous"))
        and one.dtype not in HALF_DTYPES
    ]
    assert [] == strange
    coarse = [one for one in default() if one.weak and one.weak not in s.INHERENT and one.dtype in HALF_DTYPES]
    assert len(coarse) <= len(default()) / 50, "too many cases whose half precision hides everything"


def test_every_pair_of_levels_is_asked_where_an_error_shows():
    """What a mechanism does in a dtype, with a content, an option or a memory layout is seen by some useful case."""
    asked, useful = set(), set()
    for one in (found for found in default() if found.content != FILLS):
        case = parse(one.case)
        levels = [case.mechanism, case.dtype, case.content.partition(".")[0], case.layout, *required(case)]
        pairs = {frozenset(pair) for pair in itertools.combinations(levels, 2)}
        asked |= pairs
        if not one.weak and (one.keys >= 2 or not mechanisms()[case.mechanism].scores):
            useful |= pairs
    assert set() == asked - useful


SHARPER = [line.split()[1] for line in LIST.read_text().splitlines() if "# sees an error of an eighth" in line]


@pytest.mark.parametrize("text", SHARPER)
def test_what_was_added_to_see_more_sees_more(text):
    """None of the rows that stand there for this reason is weak."""
    assert "" == s.sensitivity(parse(text)).weak


def test_the_command_prints_and_keeps(tmp_path, capsys):
    """A table by dtype and content, weak cases by name; the same as JSON, in a run directory."""
    named = ["mutants", "sensitivity", "--case", PLAIN, "--case", list(WEAK)[1]]
    assert 0 == main([*named, "--out", str(tmp_path / "run")])
    text = capsys.readouterr().out
    assert f"weak: {list(WEAK)[1]}: no query sees a key" in text
    assert "weak: 1 of 2 cases, 1 of them since they are about lengths and masks" in text
    kept = [json.loads(line) for line in (tmp_path / "run" / "sensitivity.jsonl").read_text().splitlines()]
    assert [s.sensitivity(parse(case)) for case in (PLAIN, list(WEAK)[1])] == [Sensitivity(**row) for row in kept]
    assert 0 == main([*named, "--json"])
    assert kept == json.loads(capsys.readouterr().out)["sensitivity"]


def test_a_new_directory_becomes_a_run(tmp_path, capsys):
    """`report` reads it, and tells what the cases see."""
    assert 0 == main(["mutants", "sensitivity", "--case", PLAIN, "--out", str(tmp_path / "new" / "run")])
    kept = store.load(tmp_path / "new" / "run")
    assert kept.facts.finished
    assert [PLAIN] == [one.case for one in kept.sensitivity]
    assert 0 == main(["report", str(tmp_path / "new" / "run")])
    assert "Not measured in this run" not in (tmp_path / "new" / "run" / "report.md").read_text()


def test_a_run_that_is_there_stays(tmp_path, capsys):
    """One file is added, or replaced; no fact of the run changes."""
    store.Writer.start(tmp_path, RunFacts(planned=3, command="check"))
    before = (tmp_path / "run.json").read_bytes()
    for text in (PLAIN, list(WEAK)[1]):
        assert 0 == main(["mutants", "sensitivity", "--case", text, "--out", str(tmp_path)])
        assert [text] == [one.case for one in store.load(tmp_path).sensitivity]
    assert before == (tmp_path / "run.json").read_bytes()
    assert {".lock", "run.json", "sensitivity.jsonl"} == {path.name for path in tmp_path.iterdir()}
