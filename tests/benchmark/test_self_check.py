"""The self-check: what is an alarm, what is found, how large the plant is, and what is told."""

from __future__ import annotations

import dataclasses
import json
import math

import pytest
from msgspec.structs import replace

from attention_harness import report, store
from attention_harness.benchmark.self_check import planting, rates, stock
from attention_harness.benchmark.self_check.planting import FIRST, SECOND, SLOWER
from attention_harness.benchmark.self_check.rates import PLANTED, SAME, Trial, holds, wilson
from attention_harness.benchmark.self_check.result import Plant, SelfCheck
from attention_harness.cases.ids import parse
from attention_harness.commands import bench_self_check
from attention_harness.model.errors import HarnessError
from attention_harness.model.measurement import Measurement
from attention_harness.model.run_facts import RunFacts
from tests.report.compare.conftest import measured


@pytest.mark.parametrize(
    ("count", "of", "low", "high"),
    # R: prop.test(correct = FALSE), which is Wilson's score interval
    [(0, 60, 0.0, 0.0602), (60, 60, 0.9398, 1.0), (57, 60, 0.8630, 0.9829), (5, 10, 0.2366, 0.7634)],
)
def test_the_interval_of_a_share(count, of, low, high):
    """Wilson's, against published values; it stays inside [0, 1] and is not empty for none of n."""
    assert (low, high) == pytest.approx(wilson(count, of), abs=2e-4)


def test_no_share_of_nothing():
    """More than all, or of none, is a mistake."""
    for count, of in ((1, 0), (2, 1), (-1, 1)):
        with pytest.raises(ValueError, match="no share"):
            wilson(count, of)


def trial(kind: str, answer: str, **stock_ratios: float) -> Trial:
    """Return a trial with an answer, and pytest-benchmark's ratios."""
    return Trial(1, "2 ms", kind, answer, "", 1.0, 0.9, 1.1, "cpu", 0.5, 1.0, 5, stock=stock_ratios)


@pytest.mark.parametrize(
    ("alarm", "found", "withheld", "answer"),
    [
        (1, 1, 0, "slower"),
        (1, 0, 0, "faster"),
        (0, 0, 0, "same"),
        (0, 0, 1, "inconclusive"),
        (0, 0, 1, "unreliable"),
        (0, 0, 1, "error"),
    ],
)
def test_an_answer_counts_in_one_way(alarm, found, withheld, answer):
    """Two copies called different in either direction: an alarm. A plant called slower: found. Withheld: neither."""
    both = [trial(SAME, answer), trial(PLANTED, answer)]
    counted = {rate.kind: rate for rate in rates.rates(both) if (rate.rule, rate.size) == ("bench", "all")}
    assert (alarm, found) == (counted[SAME].count, counted[PLANTED].count)
    assert [withheld, withheld] == [counted[kind].withheld for kind in (SAME, PLANTED)]


def test_the_plugin_is_counted_by_the_distance_of_its_figures():
    """Either direction is an alarm for two copies; a plant is found only where it is slower."""
    ratios = {"min": 1.04, "median": 1 / 1.06, "mean": 1.0}
    counted = {
        (rate.rule, rate.kind): rate.count
        for rate in rates.rates([trial(SAME, "same", **ratios), trial(PLANTED, "slower", **ratios)])
        if rate.size == "all"
    }
    assert {"min, 3%": 1, "min, 5%": 0, "median, 3%": 1, "median, 5%": 1, "mean, 3%": 0, "mean, 5%": 0} == {
        rule.removeprefix("pytest-benchmark "): count
        for (rule, kind), count in counted.items()
        if kind == SAME and rule != "bench"
    }
    assert [1, 0, 0] == [counted[f"pytest-benchmark {name}, 3%", PLANTED] for name in ("min", "median", "mean")]


@pytest.mark.parametrize(("kept", "alarms", "missed"), [(True, 0, 0), (True, 0, 1), (False, 0, 2), (False, 1, 0)])
def test_the_promise(kept, alarms, missed):
    """No alarm at all, and 19 of 20 found."""
    trials = [trial(SAME, "slower" if n < alarms else "same") for n in range(20)]
    trials += [trial(PLANTED, "inconclusive" if n < missed else "slower") for n in range(20)]
    assert kept == holds(trials)
    assert not holds([])


def test_the_turns_of_the_plant_are_in_proportion_to_what_was_measured():
    """A machine on which several times the plant showed as less than one cannot be calibrated."""
    assert 125 == planting.scaled(1000, 0.40)
    for share in (0.04, -0.1, math.inf):
        with pytest.raises(HarnessError, match="too disturbed to plant"):
            planting.scaled(1000, share)


def test_copies_compute_the_same_and_the_slower_one_does_more(tmp_path):
    """The same numbers bit for bit; only the slower one turns its loop."""
    import torch

    from attention_harness import registry
    from attention_harness.cases import inputs

    case = parse(planting.workloads()[0].case)
    length = case.sizes["Lk"]
    load = planting.write(tmp_path, {FIRST: {}, SECOND: {}, SLOWER: {length: 7}})
    known = registry.implementations(load)
    calls = {name: known[name].prepare(case) for name in (FIRST, SECOND, SLOWER)}
    outputs = [call(**inputs.tensors(case)) for call in calls.values()]
    assert all(torch.equal(outputs[0], other) for other in outputs)
    assert ["plain", "plain", "slower"] == [call.__name__ for call in calls.values()]
    assert 7 in {cell.cell_contents for cell in calls[SLOWER].__closure__}


def test_the_plugin_itself_times_the_copies(tmp_path, monkeypatch):
    """Its own run with its own defaults, below pytest-xdist too: 5 rounds or more, and its statistics."""
    monkeypatch.setenv("PYTEST_XDIST_WORKER", "gw0")  # with which the plugin times nothing
    monkeypatch.setenv("PYTEST_ADDOPTS", "--benchmark-disable")
    case = planting.workloads()[0].case
    load = planting.write(tmp_path, {FIRST: {}})
    found = stock.timed(tmp_path, load, [case], [FIRST])
    assert {(case, FIRST)} == set(found)
    statistics = found[case, FIRST]
    assert statistics["rounds"] >= 5
    assert 0 < statistics["min"] <= statistics["median"]


def fake(monkeypatch, ratios: dict[str, float], answers: dict[str, str]) -> None:
    """Replace what takes time: calibration, measurement and the plugin."""

    def compared(names, chosen, load, progress, **_) -> list[Measurement]:
        found = []
        for one in chosen:
            about = {"baseline": FIRST, "cpu_s": ()}
            base = measured(1.0, name=FIRST, **about | {"answer": "baseline", "low": None, "high": None, "level": None})
            arms = [measured(ratios[name], name=name, **about | {"answer": answers[name]}) for name in names]
            found += [replace(r, case=one.case, workload=one.name) for r in (base, *arms)]
        return found

    def timed(folder, load, cases, arms):
        return {
            (case, arm): dict.fromkeys(("min", "median", "mean"), ratios.get(arm, 1.0))
            for case in cases
            for arm in arms
        }

    monkeypatch.setattr(planting, "calibrated", lambda *_: {"0.2 ms": 1, "2 ms": 2, "20 ms": 3})
    monkeypatch.setattr(planting, "compared", compared)
    monkeypatch.setattr(stock, "timed", timed)


@pytest.mark.parametrize(
    ("status", "second", "slower"), [(0, "same", "slower"), (1, "slower", "slower"), (1, "same", "inconclusive")]
)
def test_status_table_and_file(harness, monkeypatch, tmp_path, status, second, slower):
    """0 where the promise is kept; the table, the realised plants and the file say the same."""
    fake(monkeypatch, {SECOND: 1.04, SLOWER: 1.06}, {SECOND: second, SLOWER: slower})
    answer = harness("bench", "self-check", "--repetitions", "2", "--out", tmp_path / "run")
    document = json.loads((tmp_path / "run" / bench_self_check.FILE).read_text())
    assert (status, status == 0, True) == (answer.status, document["holds"], document["finished"])
    assert 12 == len(document["trials"])
    assert "6 comparisons of two copies and as many with a planted 5%; about 4 min" in answer.err
    run = store.merge([store.load(tmp_path / "run")])
    text = "\n".join(run.facts.self_check)
    assert text in answer.out
    assert [1, 2, 3] == [one["turns"] for one in document["realised"]]
    assert [0.06] * 3 == pytest.approx([one["share"] for one in document["realised"]])
    assert ("does NOT keep" in answer.out) == bool(status)
    assert text in "\n".join(report.markdown.render(report.build(run)).split("\n"))
    assert "6 comparisons of each kind" in report.page.render(report.build(run))


def test_a_self_check_is_not_written_over(mistake, tmp_path):
    """One line, status 2."""
    (tmp_path / "run.json").write_text("{}")
    assert "already holds a run" in mistake("bench", "self-check", "--out", tmp_path)


def test_the_realised_plant_has_an_interval():
    """The mean of the logs, and Student's interval over the repetitions; of one repetition there is none."""
    several = [dataclasses.replace(trial(PLANTED, "slower"), ratio=ratio) for ratio in (1.04, 1.06)]

    def plant(trials: list[Trial]) -> Plant:
        [found] = SelfCheck(RunFacts(), 2, {"2 ms": 7}, trials, 1.0).plants()
        return found

    found = plant(several)
    assert math.sqrt(1.04 * 1.06) - 1 == pytest.approx(found.share)
    assert found.low < found.share < found.high
    assert "2 ms +4.0%" == plant(several[:1]).text()
    assert plant(several[:1]).low is None
    assert "2 ms not measured" == plant([]).text()
