"""What the report says of measurements: only what was measured and conforms has a rank and a mark."""

from __future__ import annotations

import re

import pytest

from attention_harness.model.verdict import Status
from attention_harness.report import build, markdown, page
from attention_harness.report.charts import ratios, svg

CASE = "cosine-B1H1Hk1Lq2Lk3D2Dv2-float32-plain-ordinary-contiguous"


@pytest.mark.parametrize("status", ["refused", "unsupported", "unavailable", "error"])
def test_what_was_not_timed_is_shown_and_never_ranked(run, measurement, status):
    """It comes last, with its reason and without a number, and the figure has no mark for it."""
    rows = [measurement("absent", status, reason="told why"), measurement("other"), measurement()]
    told = build(run(measurements=rows))
    panel = told.timing.panels[0]
    assert [line.implementation for line in panel.lines] == ["other", "eager", "absent"]
    assert [line.implementation for line in panel.plotted] == ["other", "eager"]
    assert (status, None, "–") == (panel.lines[2].answer, panel.lines[2].point, panel.lines[2].ratio)
    drawn = ratios.intervals("cosine", [panel])
    for text in (drawn.text, svg(drawn)):
        assert ("other" in text, "absent" in text) == (True, False)
    assert f"| `absent` | – | {status} | – | – | – | – | – | – | told why |" in markdown.render(told)
    assert "told why" in page.render(told)


def test_a_time_of_what_fails_on_that_case_is_withheld(run, verdict, measurement):
    """The verdicts of the run outweigh a measurement that should not have been made."""
    wrong = verdict(Status.FAIL, "other", case=CASE)
    panel = build(run([wrong], [measurement(), measurement("other")])).timing.panels[0]
    assert [line.implementation for line in panel.plotted] == ["eager"]
    assert panel.lines[-1].answer == "refused"
    assert "does not conform on this case" in panel.lines[-1].remark


def test_a_failure_on_another_case_is_remarked(run, verdict, measurement):
    """It keeps its time, and the reader is told."""
    wrong = verdict(Status.FAIL, "other")
    panel = build(run([wrong], [measurement(), measurement("other")])).timing.panels[0]
    assert panel.lines[0].remark == "1 check of this mechanism went wrong on other cases"


def test_a_baseline_that_fails_is_warned_of(run, verdict, measurement):
    """Every ratio of the panel rests on it."""
    panel = build(run([verdict(Status.FAIL, case=CASE)], [measurement(), measurement("other")])).timing.panels[0]
    assert "WARNING: the baseline itself does not conform" in panel.caption


def test_a_row_tells_ratio_answer_and_costs(run, measurement):
    """With the units that suit them."""
    told = build(run(measurements=[measurement(), measurement("other", detectable=0.021)]))
    line = told.timing.panels[0].lines[0]
    assert (line.ratio, line.answer) == ("0.500 [0.400, 0.600]", "faster")
    assert line.costs == ("2.1 %", "150 ms", "500 ms", "2 KiB", "–", "–")
    assert (told.timing.panels[0].workload, len(told.timing.panels)) == ("small", 1)
    assert (("baseline", "faster"), {("eager", (1, 0)), ("other", (0, 1))}) == (
        told.timing.answers,
        set(told.timing.tally),
    )


def test_an_unreliable_answer_comes_after_those_given(run, measurement):
    """However small its ratio, it is not first."""
    shaky = {"ratio": 0.1, "low": 0.09, "high": 0.11, "answer": "unreliable", "reason": "the A/A control drifted"}
    rows = [measurement("shaky", **shaky), measurement(), measurement("other")]
    panel = build(run(measurements=rows)).timing.panels[0]
    assert [line.implementation for line in panel.lines] == ["other", "eager", "shaky"]


def test_a_time_without_a_baseline_has_no_ratio(run, measurement):
    """It is measured and not compared; there is nothing to draw."""
    alone = {"baseline": "", "ratio": None, "low": None, "high": None, "level": None, "answer": "", "clock": ""}
    told = build(run(measurements=[measurement("other", **alone)]))
    panel = told.timing.panels[0]
    assert (panel.lines[0].answer, panel.baseline, panel.plotted) == ("not compared", "", ())
    assert "the baseline was not measured" in page.render(told)


def test_a_ratio_of_a_single_pass_is_drawn_without_an_interval(run, measurement):
    """There is no interval to make up."""
    single = {"low": None, "high": None, "level": None, "answer": "inconclusive"}
    told = build(run(measurements=[measurement(), measurement("other", **single)]))
    assert [line.ratio for line in told.timing.panels[0].lines] == ["0.500", "1"]
    assert "other 0.500 (inconclusive)" in page.render(told)


def test_absolute_times_carry_their_caveat(run, measurement):
    """They do not compare between machines."""
    told = build(run(measurements=[measurement()]))
    for text in (markdown.render(told), page.render(told)):
        assert "compare them with no other machine" in text.replace("&#39;", "'")


@pytest.mark.parametrize(("low", "high"), [(0.9, 1.1), (0.01, 3.0), (0.0001, 5000.0), (0.5, 40.0)])
def test_an_axis_has_few_ticks_and_one_among_them(run, measurement, low, high):
    """1 is the baseline: a reader looks for it first."""
    row = measurement("other", ratio=0.5 * (low + high), low=low, high=high, answer="inconclusive")
    panel = build(run(measurements=[measurement(), row])).timing.panels[0]
    ticks = re.findall(r">([\d.]+(?:e[-+]\d+)?)</text>", svg(ratios.intervals("cosine", [panel])))
    assert "1" in ticks
    assert 2 <= len(ticks) <= 12
