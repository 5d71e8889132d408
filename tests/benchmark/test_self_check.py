"""The self-check: what is an alarm, what is found, how large the plant is, and what is told."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator

import pytest
from msgspec.structs import replace

from attention_harness import report, store
from attention_harness.benchmark import self_check
from attention_harness.benchmark.campaign import Campaign
from attention_harness.benchmark.self_check import FIRST, PLANTED, SAME, SECOND, SLOWER, Plant, SelfCheck, Trial, wilson
from attention_harness.cases.ids import parse
from attention_harness.commands import bench_self_check
from attention_harness.model.errors import HarnessError
from attention_harness.model.measurement import Measurement
from attention_harness.model.run_facts import Environment
from tests.report.compare.conftest import measured


@pytest.mark.parametrize(
    ("count", "of", "low", "high"),
    # R: prop.test(correct = FALSE), which is Wilson's score interval
    [(0, 60, 0.0, 0.0602), (60, 60, 0.9398, 1.0), (57, 60, 0.8630, 0.9829), (5, 10, 0.2366, 0.7634)],
)
def test_the_interval_of_a_share(count, of, low, high):
    """Wilson's, against published values; it stays inside [0, 1] and is not empty for none of n."""
    assert (low, high) == pytest.approx(wilson(count, of), abs=2e-4)


def trial(kind: str, answer: str, ratio: float = 1.0) -> Trial:
    """Return a trial with an answer."""
    return Trial(1, "2 ms", kind, 0.5, answer, ratio=ratio)


def outcome(trials: list[Trial]) -> SelfCheck:
    """Return what trials come to."""
    return self_check.summary(Environment(), 1.0, {"2 ms": 7}, trials)


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
    counted = {rate.kind: rate for rate in self_check.rates(both) if rate.size == "all"}
    assert (alarm, found) == (counted[SAME].count, counted[PLANTED].count)
    assert [withheld, withheld] == [counted[kind].withheld for kind in (SAME, PLANTED)]


@pytest.mark.parametrize(("kept", "alarms", "missed"), [(True, 0, 0), (True, 0, 1), (False, 0, 2), (False, 1, 0)])
def test_the_promise(kept, alarms, missed):
    """No alarm at all, and 19 of 20 found."""
    trials = [trial(SAME, "slower" if n < alarms else "same") for n in range(20)]
    trials += [trial(PLANTED, "inconclusive" if n < missed else "slower") for n in range(20)]
    assert kept == outcome(trials).holds
    assert not outcome([]).holds


def test_the_turns_of_the_plant_are_in_proportion_to_what_was_measured():
    """A machine on which several times the plant showed as less than one cannot be calibrated."""
    assert 125 == self_check.scaled(1000, measured(1.40))
    for ratio in (1.04, 0.9):
        with pytest.raises(HarnessError, match="too disturbed to plant"):
            self_check.scaled(1000, measured(ratio))


def test_copies_compute_the_same_and_the_slower_one_does_more(tmp_path):
    """The same numbers bit for bit; only the slower one turns its loop."""
    import torch

    from attention_harness import registry
    from attention_harness.cases import inputs

    case = parse(self_check.workloads()[0].case)
    load = self_check.write(tmp_path, {FIRST: {}, SECOND: {}, SLOWER: {"0.2 ms": 7}})
    known = registry.implementations(load)
    calls = {name: known[name].prepare(case) for name in (FIRST, SECOND, SLOWER)}
    outputs = [call(**inputs.tensors(case)) for call in calls.values()]
    assert all(torch.equal(outputs[0], other) for other in outputs)
    assert ["plain", "plain", "slower"] == [call.__name__ for call in calls.values()]
    assert 7 in {cell.cell_contents for cell in calls[SLOWER].__closure__}


def fake(monkeypatch, ratios: dict[str, float], answers: dict[str, str]) -> None:
    """Replace what takes time: calibration and measurement."""

    def measure(campaign: Campaign, conforms, progress) -> Iterator[Measurement]:
        about = {"baseline": FIRST, "cpu_s": ()}
        base = measured(1.0, name=FIRST, **about | {"answer": "baseline", "low": None, "high": None, "level": None})
        arms = [measured(ratios[name], name=name, **about | {"answer": answers[name]}) for name in ratios]
        for one in campaign.workloads:
            yield from (replace(row, case=one.case, workload=one.name) for row in (base, *arms))

    monkeypatch.setattr(self_check, "calibrated", lambda *_: {"0.2 ms": 1, "2 ms": 2, "20 ms": 3})
    monkeypatch.setattr(self_check, "measure", measure)


@pytest.mark.parametrize(
    ("status", "second", "slower"), [(0, "same", "slower"), (1, "slower", "slower"), (1, "same", "inconclusive")]
)
def test_status_table_and_file(harness, monkeypatch, tmp_path, status, second, slower):
    """0 where the promise is kept; the table, the realised plants and the file say the same."""
    fake(monkeypatch, {SECOND: 1.04, SLOWER: 1.06}, {SECOND: second, SLOWER: slower})
    answer = harness("bench", "self-check", "--repetitions", "2", "--out", tmp_path / "run")
    run = store.merge([store.load(tmp_path / "run")])
    document = json.loads((tmp_path / "run" / bench_self_check.FILE).read_text())
    assert (status, status == 0, True) == (answer.status, document["holds"], run.facts.finished is not None)
    assert 12 == len(document["trials"])
    assert "6 comparisons of two copies and as many with a planted 5%; about 4 min" in answer.err
    text = "\n".join(run.facts.self_check)
    assert text in answer.out
    assert [1, 2, 3] == [one["turns"] for one in document["plants"]]
    assert [0.06] * 3 == pytest.approx([one["share"] for one in document["plants"]])
    assert ("does NOT keep" in answer.out) == bool(status)
    assert text in "\n".join(report.markdown.render(report.build(run)).split("\n"))
    assert "6 comparisons of each kind" in report.page.render(report.build(run))


def test_a_self_check_is_not_written_over(mistake, tmp_path):
    """One line, status 2."""
    (tmp_path / "run.json").write_text("{}")
    assert "already holds a run" in mistake("bench", "self-check", "--out", tmp_path)


def test_the_realised_plant_has_an_interval():
    """The mean of the logs, and Student's interval over the repetitions; of one repetition there is none."""
    several = [trial(PLANTED, "slower", ratio) for ratio in (1.04, 1.06)]

    def plant(trials: list[Trial]) -> Plant:
        [found] = outcome(trials).plants
        return found

    found = plant(several)
    assert math.sqrt(1.04 * 1.06) - 1 == pytest.approx(found.share)
    assert found.low < found.share < found.high
    assert "2 ms +4.0%" == str(plant(several[:1]))
    assert plant(several[:1]).low is None
    assert "2 ms not measured" == str(plant([]))
