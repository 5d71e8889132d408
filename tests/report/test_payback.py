"""Preparation and the calls after which it has paid, against numbers by hand."""

from __future__ import annotations

import math

import pytest

from attention_harness.report import build, markdown, page
from attention_harness.report.charts import payback as chart
from attention_harness.report.content import payback

# The baseline: prepares in 0.1 s, first call 0.1 s, then 10 ms a call.
BASE = {"prepare_s": (0.1,), "first_call_s": 0.1, "wall_s": ((0.01,),)}


def found(measurement, ratio, prepare, first, interval=(), **facts):
    """Return the one payback of an implementation with this ratio and beginning."""
    low, high = interval or (ratio * 0.999, ratio * 1.001)
    answer = "faster" if high < 1 else "slower" if low > 1 else "inconclusive"
    given = {"ratio": ratio, "low": low, "high": high, "answer": answer, "prepare_s": (prepare,), "first_call_s": first}
    rows = [measurement(**BASE), measurement("other", **given | facts)]
    return payback.paybacks(rows)


def test_calls_by_hand(measurement):
    """1.2 s until its first answer instead of 0.2 s; a call saves 5 ms: 1 + 1.0 / 0.005 calls."""
    [one] = found(measurement, 0.5, 1.0, 0.2, (0.4, 0.6))
    assert pytest.approx((1.0, 0.005)) == (one.extra_s, one.saved_s)
    assert (201, 168, 251) == (one.calls, one.low, one.high)
    assert "201 [168, 251]" == one.says
    assert ("other", "small (float32)", "1 s", "200 ms", "1 s", "5 ms", "201 [168, 251]") == one.cells


def test_what_is_not_faster_never_pays(measurement):
    """Nor is it known to pay where the interval reaches 1."""
    [slower] = found(measurement, 1.5, 1.0, 0.2)
    assert ("never", payback.NEVER) == (slower.says, slower.calls)
    [unsure] = found(measurement, 0.9, 1.0, 0.2, (0.8, 1.1))
    assert "1,001 [501, never]".replace("1,001", payback.calls(1001)) == unsure.says


def test_what_begins_sooner_pays_at_once_or_leads_for_a_while(measurement):
    """0.1 s until its first answer: ahead at once; if slower by 6 ms a call, for 1 + 0.1 / 0.006 calls."""
    [faster] = found(measurement, 0.5, 0.05, 0.05)
    assert ("1", 1.0) == (faster.says, faster.calls)
    [slower] = found(measurement, 1.6, 0.05, 0.05)
    assert "never; ahead for the first 17 calls" == slower.says


def test_what_has_no_reliable_ratio_or_no_first_call_is_left_out(measurement):
    """There is nothing to rest a number of calls on."""
    assert () == found(measurement, 0.5, 1.0, 0.2, answer="unreliable", reason="the control drifted")
    assert () == found(measurement, 0.5, 1.0, None)
    assert () == payback.paybacks([measurement(**BASE), measurement("x", "refused", reason="why")])


@pytest.mark.parametrize(
    ("extra", "saved", "calls"),
    [(0.0, 0.0, 1.0), (1.0, 0.0, math.inf), (-1.0, 1.0, 1.0), (1.0, 5e-324, math.inf), (1e300, 1.0, 1e300)],
)
def test_the_ends_of_what_numbers_hold(extra, saved, calls):
    """No difference, no saving, no overflow."""
    assert pytest.approx(calls) == payback.after(extra, saved)
    assert payback.calls(calls)


def test_totals_count_what_pays(measurement):
    """By implementation, with the range over its workloads."""
    rows = []
    for workload, ratio in (("a", 0.5), ("b", 0.75), ("c", 1.5)):
        low, high = ratio * 0.999, ratio * 1.001
        facts = {"ratio": ratio, "low": low, "high": high, "answer": "faster" if ratio < 1 else "slower"}
        rows += [measurement(workload=workload, **BASE)]
        rows += [measurement("other", workload=workload, prepare_s=(1.0,), first_call_s=0.2, **facts)]
    [total] = payback.totals(payback.paybacks(rows))
    assert ("other", "2 of 3 workloads", "301 (201 to 401)", "1", "1 s") == total.cells
    drawn = chart.payback([total])
    assert [(201, True), (401, True), (None, False)] == [(row["calls"], row["pays"]) for row in drawn.rows]
    assert "other: 201 to 401 calls on 2 workloads, never on 1" in drawn.text


def test_both_formats_tell_it(run, measurement):
    """The table by implementation, and each workload."""
    told = build(run(measurements=[measurement(), measurement("other", prepare_s=(5.0,))]))
    for text in (markdown.render(told), page.render(told)):
        assert "When a preparation pays" in text
        assert "1 of 1 workload" in text
