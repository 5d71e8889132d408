"""Which one to take: the fastest that conforms and is reliable, the next, and how sure the order is."""

from __future__ import annotations

import math

import pytest

from attention_harness.report import build, markdown, page
from attention_harness.report.content import choice, timings

SHAKY = {"answer": "unreliable", "reason": "the A/A control drifted"}


@pytest.fixture
def compared(measurement):
    """Return a maker of measurements against eager from {implementation: (ratio, low, high)} by workload."""

    def make(**workloads):
        rows = []
        for workload, ratios in workloads.items():
            rows.append(measurement(workload=workload))
            for name, (ratio, low, high, *more) in ratios.items():
                answer = "faster" if high < 1 else "slower" if low > 1 else "inconclusive"
                facts = {"ratio": ratio, "low": low, "high": high, "answer": answer} | (more[0] if more else {})
                rows.append(measurement(name, workload=workload, **facts))
        return timings.timing(rows)

    return make


def test_the_first_is_the_fastest_that_is_reliable(compared):
    """However small an unreliable ratio is; it is named with its reason."""
    timing = compared(w={"a": (0.5, 0.4, 0.6), "b": (0.7, 0.65, 0.8), "shaky": (0.1, 0.09, 0.11, SHAKY)})
    [one] = choice.choices(timing)
    assert ("a", "0.500 [0.400, 0.600]", "b", "0.700 [0.650, 0.800]", "apart") == one.row[1:]
    assert ("shaky: unreliable, the A/A control drifted",) == one.others


@pytest.mark.parametrize(
    ("second", "order"),
    [((0.7, 0.65, 0.8), "apart"), ((0.7, 0.6, 0.8), "overlapping"), ((1.2, 1.1, 1.3), "apart")],
)
def test_an_order_is_sure_where_intervals_are_apart(compared, second, order):
    """That of the baseline is the point 1, by definition."""
    [one] = choice.choices(compared(w={"a": (0.5, 0.4, 0.6), "b": second}))
    assert order == one.order


def test_a_baseline_is_not_the_fastest_because_the_others_are_unreliable(compared):
    """Nothing is known of the order then, and nobody is named."""
    [one] = choice.choices(compared(w={"shaky": (0.1, 0.09, 0.11, SHAKY)}))
    assert ("–", "–", "–", "–", "unreliable") == one.row[1:]
    assert ("shaky: unreliable, the A/A control drifted", "eager: baseline") == one.others[::-1]
    assert () == choice.fastest(compared(w={"shaky": (0.1, 0.09, 0.11, SHAKY)}))


def test_a_workload_of_one_implementation_has_no_order(compared, measurement):
    """There is nothing to compare it with; where nothing was timed there is no first either."""
    assert ("alone", "eager") == (choice.choices(compared(w={}))[0].order, choice.choices(compared(w={}))[0].row[1])
    refused = timings.timing([measurement("a", "refused", reason="fail, accuracy")])
    [none] = choice.choices(refused)
    assert ((), ("a: refused, fail, accuracy",), "–") == (none.ranked, none.others, none.row[-1])


def test_a_shape_is_told_in_words():
    """Sizes, options and device; of an id that is none of ours, the id."""
    case = "scaled_dot_product-B2H12Hk3Lq1Lk1024D64Dv64-float32-causal=top_left-ordinary-contiguous"
    assert "batch 2, 12 heads over 3 of keys, 1 query over 1,024 keys, width 64, causal top_left" == choice.shape(case)
    square = "additive-B1H1Hk1Lq5Lk5Dq2Dk3Dv4A6-float32-plain-ordinary-contiguous@cuda:0"
    assert "1 head, length 5, Dq 2, Dk 3, Dv 4, A 6, on cuda:0" == choice.shape(square)
    assert "no case" == choice.shape("no case")


def test_the_fastest_of_a_mechanism_stands_on_shared_workloads(compared):
    """A geometric mean over those that all have; who has too few is left out and named."""
    timing = compared(
        w1={"a": (0.5, 0.4, 0.625), "b": (0.8, 0.75, 0.85)},
        w2={"a": (0.2, 0.16, 0.25), "b": (0.8, 0.75, 0.85), "rare": (0.1, 0.09, 0.11)},
        w3={"b": (0.8, 0.75, 0.85), "a": (0.1, 0.09, 0.11, SHAKY)},
    )
    [one] = choice.fastest(timing)
    half = math.hypot(math.log(1.25), math.log(1.25)) / 2
    mean = math.sqrt(0.1)
    assert ("cosine", "a", "eager", "b", "apart") == (
        one.mechanism, one.implementation, one.baseline, one.second, one.order,
    )  # fmt: skip
    assert pytest.approx((mean, mean * math.exp(-half), mean * math.exp(half))) == (one.ratio, one.low, one.high)
    assert (2, 3, ("rare",)) == (one.workloads, one.measured, one.left_out)
    assert pytest.approx((0.2, 0.5, 0.8)) == (one.least, one.most, one.second_ratio)
    assert "over 2 of 3 workloads, 0.200 to 0.500 on each; next b at 0.800" in one.says


def test_a_baseline_that_no_other_beats_is_said_to_be_the_fastest(compared):
    """There is no ratio to give then."""
    [one] = choice.fastest(compared(w={"a": (1.5, 1.4, 1.6)}))
    assert "the baseline itself, over 1 of 1 workload; next a at 1.50, the intervals do not overlap" == one.says
    [alone] = choice.fastest(compared(w={}))
    assert "the baseline itself, over 1 of 1 workload; nothing else could be ranked" == alone.says


def test_who_was_withheld_beside_the_fastest_is_named(compared):
    [one] = choice.fastest(compared(w={"a": (0.5, 0.4, 0.6), "b": (0.1, 0.09, 0.2, SHAKY)}))
    assert (one.implementation, one.withheld) == ("a", ("b",))
    assert one.brief == "0.500 [0.400, 0.600] of eager's time, over 1 of 1 workload; b not ranked: unreliable"


def test_forward_calls_decide_where_there_are_any(measurement):
    """A backward pass is another question."""
    back = {"direction": "forward_backward"}
    rows = [
        measurement(),
        measurement("a"),
        measurement(**back),
        measurement("a", ratio=0.1, low=0.09, high=0.2, **back),
    ]
    [one] = choice.fastest(timings.timing(rows))
    assert (0.5, 1) == (one.ratio, one.measured)


def test_nothing_compared_has_no_fastest(measurement):
    """Without a baseline there is no ratio to rank by."""
    alone = {"baseline": "", "ratio": None, "low": None, "high": None, "level": None, "answer": "", "clock": ""}
    assert () == choice.fastest(timings.timing([measurement("a", **alone)]))


def test_both_formats_have_the_table(run, measurement):
    """With the workload, its shape, the first two, and the sentence of the mechanism."""
    told = build(run(measurements=[measurement(), measurement("other"), measurement("x", "error", reason="it broke")]))
    for text in (markdown.render(told), page.render(told)):
        for said in ("Which one, for my shapes?", "2 queries over 3 keys", "apart", "x: error, it broke"):
            assert said in text
        assert "of the time of eager over 1 of 1 workload" in text
