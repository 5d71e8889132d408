"""Growth over the sweep, speed against accuracy, counts and noise are told in both formats."""

from __future__ import annotations

import math

import pytest
from msgspec.structs import replace

from attention_harness.report import build, markdown, page
from attention_harness.report.charts import scaling, svg
from attention_harness.report.content import growth
from tests.benchmark.test_noise import QUIET

CASE = "scaled_dot_product-B1H1Hk1Lq{n}Lk{n}D64Dv64-float32-plain-ordinary-contiguous"


@pytest.fixture
def swept(measurement):
    """Return the measurements of two implementations over four lengths: quadratic and linear, one of them refused."""

    def at(name, length, seconds, peak, **facts):
        where = {"mechanism": "scaled_dot_product", "workload": f"sweep_{length}", "case": CASE.format(n=length)}
        told: dict[str, object] = {
            "wall_s": ((seconds,), (seconds,)),
            "peak_bytes": peak,
            "least_bytes": 256.0 * length,
        }
        told |= {"flops": 1e9, "moved_bytes": 1e6}
        return measurement(name, **where | told | {"written_bytes": 4.0 * length**2, "error_ratio": 0.5} | facts)

    rows = []
    for n in (128, 256, 512, 1024):
        rows += [at("eager", n, 1e-9 * n**2, 4 * n**2), at("fused", n, 1e-6 * n, 256 * n, error_ratio=0.25)]
        where = {"mechanism": "scaled_dot_product", "workload": f"sweep_{n}", "case": CASE.format(n=n)}
        rows.append(measurement("wrong", "refused", reason="fail, accuracy", **where))
    return rows


def test_exponents_are_those_of_the_curves(swept):
    """Time and memory of eager grow with the square of the length, of the fused one in proportion."""
    [sweep] = growth.sweeps(swept)
    assert {
        "eager": ("2.00 [2.00, 2.00]", "2.00 [2.00, 2.00]"),
        "fused": ("1.00 [1.00, 1.00]", "1.00 [1.00, 1.00]"),
    } == {curve.implementation: curve.row[1:3] for curve in sweep.curves}


def test_a_front_holds_what_no_other_beats(swept):
    """The faster and more accurate one alone; what is only faster, or only more accurate, is on it as well."""
    [front] = growth.fronts(swept)
    assert {("fused", True), ("eager", False)} == {(spot.implementation, spot.ahead) for spot in front.spots}
    spots = [growth.Spot(*one) for one in (("a", 0.5, 0.9), ("b", 1.0, 0.1), ("c", 1.0, 0.95))]
    assert [False, False, True] == [any(growth._beats(other, one) for other in spots) for one in spots]


def test_a_front_compares_the_same_work_alone(measurement):
    """Who was measured on one workload of three is left out; the others stand on the workloads that they share."""
    rows = [measurement(n, workload=w, error_ratio=0.1) for n in ("eager", "kernel") for w in ("a", "b", "c")]
    rows += [measurement("narrow", workload="a", error_ratio=0.1)]
    [front] = growth.fronts(rows)
    assert ({"eager", "kernel"}, ("a", "b", "c")) == ({s.implementation for s in front.spots}, front.workloads)


def test_both_formats_tell_growth_front_and_noise(swept, run):
    """With the counts of the formula, and the warnings."""
    noise = replace(QUIET, line="noise: load 9.0/2 cores", warnings=("load 9.0 on 2 cores",))
    told = build(run(measurements=swept, noise=noise))
    for text in (markdown.render(told), page.render(told)):
        assert "noise: load 9.0/2 cores" in text
        assert "load 9.0 on 2 cores" in text
        assert "2.00 [2.00, 2.00]" in text
        assert "Speed and accuracy" in text
        assert "largest intermediate written out would be 64 KiB" in text.replace("\n", " ")


def test_figures_draw_what_was_measured_alone(swept):
    """Both curves, the least possible memory, and no trace of what was refused."""
    [sweep] = growth.sweeps(swept)
    time, memory = (scaling.scaling(sweep, memory) for memory in (False, True))
    for drawn in (time, memory):
        for text in (drawn.text, svg(drawn)):
            assert ("eager" in text, "fused" in text, "wrong" in text) == (True, True, False)
    assert ("least possible" in svg(time), "least possible" in svg(memory)) == (False, True)


def test_a_run_without_counts_says_nothing_of_it(run, measurement):
    """Nor does one without noise."""
    told = build(run(measurements=[measurement(), measurement("other")]))
    assert (None, (), ()) == (told.run.facts.noise, told.sweeps, told.fronts)
    assert "Growth with length" not in page.render(told) + markdown.render(told)


def test_an_exponent_is_found_again():
    """Of exact powers the interval is a point; what deviates widens it; short lengths do not count."""
    lengths = (128, 256, 512, 1024, 2048)
    exact = growth.growth({n: 3e-9 * n**2 for n in lengths})
    rough = growth.growth({n: 3e-9 * n**2 * (1.1 if n == 1024 else 1) for n in lengths})
    overhead = growth.growth({n: 1e-2 * (n == 128) + 3e-9 * n**2 for n in lengths})

    assert (pytest.approx(2), pytest.approx(2), pytest.approx(2)) == (exact.exponent, exact.low, exact.high)
    assert (256, 512, 1024, 2048) == exact.lengths
    assert rough.low < 2 < rough.high
    assert rough.high - rough.low > 0.1
    assert pytest.approx(2) == overhead.exponent


def test_an_interval_by_hand():
    """y = 0, 1, 2.3 at log2 L = 0, 1, 2: slope 1.15, squared residuals 0.015, one degree of freedom."""
    found = growth.growth({2**i: 2**y for i, y in enumerate((0.0, 1.0, 2.3))})
    half = math.tan(math.pi * 0.95 / 2) * math.sqrt(0.015 / 2)

    assert pytest.approx((1.15, 1.15 - half, 1.15 + half)) == (found.exponent, found.low, found.high)
    assert growth.growth({2: 1.0}) is None
    assert growth.growth({2: 1.0, 4: 2.0}).low is None
