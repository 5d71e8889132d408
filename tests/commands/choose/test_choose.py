"""`choose` from the command line: who is ranked, who is out and why, and what is measured again."""

from __future__ import annotations

import json
import operator
from pathlib import Path

import pytest
from msgspec.structs import replace

from attention_harness import report, store
from attention_harness.benchmark import campaign
from attention_harness.benchmark.probing import Look
from attention_harness.commands import choice, choose
from attention_harness.model.run_facts import RunFacts
from attention_harness.store.writer import write_document
from tests.benchmark.made import limit_effort
from tests.report.compare.conftest import measured

KERNEL = '''"""Additive scores."""

from attention_harness import Capabilities

CAPABILITIES = Capabilities(mechanisms=("additive",))


def prepare(case):
    def attend(query, key, value, W_q, W_k, w_v):
        features = (query @ W_q.mT).unsqueeze(-2) + (key @ W_k.mT).unsqueeze(-3)
        return (features.tanh() @ w_v).softmax(-1) @ value

    return TIMES
'''
TIMES = {
    "once": "attend",
    "thrice": "lambda **given: [attend(**given) for _ in range(3)][0]",
    "far": "lambda **given: [attend(**given) for _ in range(40)][0]",
    "wrong": "lambda **given: attend(**given) * 2",
    "narrow": "attend",
}
SHAPE = ("additive", "--shape", "2x2x16x32")


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    """Return the arguments that load the kernels, and name them alone."""
    arguments = []
    for name, times in TIMES.items():
        text = KERNEL.replace("TIMES", times)
        text = text.replace('("additive",)', '("cosine",)') if name == "narrow" else text
        (tmp_path / f"{name}.py").write_text(text)
        arguments += ["--load", str(tmp_path / f"{name}.py"), "--only", name]
    return arguments


def test_everyone_has_an_answer(harness, files, tmp_path, monkeypatch):
    """Measured for real: each is ranked or out with a reason, and what is wrong is never ranked, however fast."""
    limit_effort(monkeypatch, passes=2, time_per_arm_s=0.01)
    answer = harness("choose", *SHAPE, *files, "--json", "--out", tmp_path / "run")
    document = json.loads(answer.out)
    out = {one["implementation"]: one["status"] for one in document["out"]}
    ranked = [place["implementation"] for place in document["places"]]
    assert ("unsupported", "refused") == (out["narrow"], out["wrong"])
    assert all(one["reason"] for one in document["out"])
    assert (answer.status == 0) == bool(ranked)
    if not document["withheld"]:  # a crowded machine may give no ranks
        assert set(TIMES) == {*out, *ranked}
        assert "once" == ranked[0]
    assert "passes of 15 rounds or more: about" in answer.err

    assert document["noise"].startswith("noise: load")
    again = harness("choose", *SHAPE, *files, "--json", "--reuse", tmp_path / "run")
    assert "" == again.err  # nothing was checked, looked at or timed
    key = operator.itemgetter("implementation")
    assert sorted(document["out"], key=key) == sorted(json.loads(again.out)["out"], key=key)
    assert document["places"] == json.loads(again.out)["places"]


@pytest.fixture
def quiet_machine(monkeypatch):
    """Replace looks and timings by ones whose truth is known: `once` takes 1 ms, `thrice` 3, `far` 40."""
    looks = {"once": Look(1e-3, peak_bytes=2048), "thrice": Look(3e-3, peak_bytes=1024), "far": Look(0.04)}
    monkeypatch.setattr(choose, "look", lambda name, *_: looks[name])

    def measure(made, conforms, progress, records, writer):
        for one in made.implementations:
            seconds, case = looks[one.name].seconds, made.workloads[0].case
            row = measured(seconds / 1e-3, name=one.name, wall_s=((seconds,) * 15,) * 5, cpu_s=())
            yield replace(row, case=case, mechanism="additive", peak_bytes=looks[one.name].peak_bytes)

    monkeypatch.setattr(campaign, "measure", measure)


def test_the_fastest_that_conforms_is_recommended(harness, files, quiet_machine):
    """Ranks by time; out are what is wrong, what does not take it, and what is far behind in a first look."""
    document = json.loads(harness("choose", *SHAPE, *files, "--json").out)
    assert ["once"] == document["recommended"]
    assert [(1, "once", 1.0), (2, "thrice", 3.0)] == [
        (one["rank"], one["implementation"], pytest.approx(one["ratio"])) for one in document["places"]
    ]
    assert {"wrong": "refused", "narrow": "unsupported", "far": "far behind"} == {
        one["implementation"]: one["status"] for one in document["out"]
    }


def test_a_report_of_a_choice_is_whole(harness, files, quiet_machine, tmp_path):
    """Nothing that was planned is missing, and what is far behind is no error."""
    harness("choose", *SHAPE, *files, "--out", tmp_path / "run")
    run = store.load(tmp_path / "run")
    statuses = {row.implementation: row.status for row in run.measurements}
    assert {"once": "measured", "thrice": "measured", "far": "far behind", "wrong": "refused"} == {
        name: status for name, status in statuses.items() if name != "narrow"
    }
    text = report.write(run, tmp_path / "report")[0].read_text()
    assert "Incomplete" not in text
    assert "far behind" in text


def test_what_was_timed_survives_an_interruption(harness, files, quiet_machine, tmp_path, monkeypatch):
    """Rows and passes are kept as they come; it is not said that one can go on, and nothing of it is reused."""
    quiet, writers = campaign.measure, []

    def measure(*arguments):
        writers.append(arguments[-1])
        yield next(quiet(*arguments))
        raise KeyboardInterrupt

    monkeypatch.setattr(campaign, "measure", measure)
    answer = harness("choose", *SHAPE, *files, "--out", tmp_path / "run")
    assert 130 == answer.status
    assert answer.err.endswith("interrupted; what was finished is kept\n")
    assert [tmp_path / "run"] == [writer.directory for writer in writers]
    kept = store.load(tmp_path / "run").measurements
    assert {"once", "wrong", "narrow", "far"} == {row.implementation for row in kept}
    again = harness("choose", *SHAPE, *files, "--reuse", tmp_path / "run")
    assert "is reused: it was not finished" in again.err


def test_what_needs_too_much_memory_is_out(harness, files, quiet_machine):
    """The fastest exceeds the limit, so that the next is recommended; where all do, none is."""
    answer = harness("choose", *SHAPE, *files, "--memory", "1KiB")
    assert 0 == answer.status
    assert "recommended within 1 KiB: thrice" in answer.out
    assert "once: memory: one call adds 2 KiB at its peak, the limit is 1 KiB" in answer.out
    none = harness("choose", *SHAPE, *files, "--memory", "1")
    assert 1 == none.status
    assert "nothing can be recommended" in none.out


def test_what_does_not_serve_is_measured_anew(harness, files, tmp_path, monkeypatch):
    """Another problem, or a file that changed since, is said, and nothing of the run is taken."""
    limit_effort(monkeypatch, passes=2)
    only = files[:4]  # the first kernel
    asked = []
    monkeypatch.setattr(choose, "_measured", lambda *given: asked.append(given) or [])
    (tmp_path / "run").mkdir()
    facts = RunFacts(environment=choose.environment(), finished="now")
    write_document(tmp_path / "run" / "run.json", facts)
    answer = harness("choose", *SHAPE, *only, "--reuse", tmp_path / "run")
    assert (1, 1) == (answer.status, len(asked))
    assert "nothing of" in answer.err
    assert "does not have additive-" in answer.err
    write_document(tmp_path / "run" / "run.json", replace(facts, finished=None))
    assert "it was not finished" in harness("choose", *SHAPE, *only, "--reuse", tmp_path / "run").err


@pytest.mark.parametrize(
    ("said", "peak", "limit"),
    [
        ("", 5, None),
        ("", 5, 5),
        ("adds 2 MiB at its peak, the limit is 1 MiB", 2 << 20, 1 << 20),
        ("not known", None, 9),
    ],
)
def test_a_limit_of_memory(said, peak, limit):
    """What is not known cannot be shown to keep it."""
    found = choice.over(peak, limit)
    assert bool(said) == bool(found)
    assert said in found
