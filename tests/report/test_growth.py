"""Growth over the sweep, speed against accuracy, counts and noise are told in both formats."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from attention_harness.report import build, growth, markdown, page
from attention_harness.report.figures import curves
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
    spots = [growth.Spot(*one, ahead=False) for one in (("a", 0.5, 0.9), ("b", 1.0, 0.1), ("c", 1.0, 0.95))]
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
    [sweep], [front] = growth.sweeps(swept), growth.fronts(swept)
    inks = curves.series(["eager", "fused", "wrong"])
    for drawn in (curves.scaling(sweep, inks, True, "s"), curves.front(front, inks, "f")):
        assert ("eager" in drawn, "fused" in drawn, "wrong" in drawn) == (True, True, False)
    assert "least possible" in curves.scaling(sweep, inks, True, "s")


def test_a_run_without_counts_says_nothing_of_it(run, measurement):
    """Nor does one without noise."""
    told = build(run(measurements=[measurement(), measurement("other")]))
    assert (None, (), ()) == (told.noise, told.sweeps, told.fronts)
    assert "Growth with length" not in page.render(told) + markdown.render(told)
