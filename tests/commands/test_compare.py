"""`compare`: exit status, text, JSON and Markdown."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from attention_harness import registry, store
from attention_harness.commands import confirm
from attention_harness.commands.run_setup import implementation_facts
from attention_harness.execution import machine
from attention_harness.model.run_facts import ImplementationFacts
from attention_harness.store import Run
from tests.registry.sources import write
from tests.report.compare.conftest import measured, run_of, verdict


@pytest.fixture
def kept(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes a run directory."""

    def keep(name: str, run: Run) -> Path:
        writer = store.Writer.start(tmp_path / name, run.facts)
        writer.add(*run.verdicts, *run.measurements)
        return tmp_path / name

    return keep


def test_two_runs_without_a_change(harness, kept):
    """Status 0, and how much was compared."""
    run = run_of(verdict("accuracy"), measured(1.0))
    answer = harness("compare", kept("a", run), kept("b", run))
    assert (0, "") == (answer.status, answer.err)
    assert "no regression" in answer.out
    assert "compared: 1 verdicts, 1 times, 1 peaks" in answer.out


def test_times_that_cannot_be_compared_are_not_passed_over(harness, kept):
    """Neither those of other threads nor those of another machine: the headline says so."""
    base = run_of(verdict("accuracy"), measured(1.0))
    threads = run_of(verdict("accuracy"), replace(measured(1.0), threads=2))
    elsewhere = run_of(verdict("accuracy"), measured(1.0), environment=replace(machine.environment(), cores=999))
    for name, head in (("b", threads), ("c", elsewhere)):
        answer = harness("compare", kept(f"a{name}", base), kept(name, head))
        assert "no regression in verdicts; no time could be compared" in answer.out


def test_runs_that_share_nothing_are_status_1(harness, kept):
    """A wrong directory is no green build: nothing was compared."""
    answer = harness("compare", kept("a", run_of(verdict("accuracy"))), kept("b", run_of(measured(1.0))))
    assert 1 == answer.status
    assert "nothing could be compared" in answer.out


def test_a_newly_wrong_verdict_is_status_1(harness, kept):
    """It is named with case, check and reason."""
    paths = kept("a", run_of(verdict("accuracy"))), kept("b", run_of(verdict("accuracy", "fail", error_ratio=3.0)))
    answer = harness("compare", *paths)
    assert 1 == answer.status
    assert "newly wrong: 1" in answer.out
    assert "kernel, accuracy, dot_product-" in answer.out


def test_a_suspect_is_status_0_until_it_is_confirmed(harness, kept, monkeypatch):
    """Unconfirmed it says how to confirm; measured again and slower it is 1; measured again and not, 0."""
    files = {
        "implementations": {
            "kernel": ImplementationFacts(sha256="kernel"),
            "eager": implementation_facts(registry.select(["eager"])[0]),
        }
    }
    paths = kept("a", run_of(measured(1.0), **files)), kept("b", run_of(measured(1.2), **files))
    answer = harness("compare", *paths)
    assert 0 == answer.status
    assert "--confirm" in answer.out
    for again, status in ((measured(1.2), 1), (measured(1.0), 0)):
        monkeypatch.setattr(confirm, "_again", lambda *_, again=again: {again.key: again})
        answer = harness("compare", *paths, "--confirm")
        assert status == answer.status
    assert "refuted" in answer.out


@pytest.mark.parametrize("changed", ["kernel", "eager"])
def test_another_file_confirms_nothing(harness, kept, tmp_path, monkeypatch, changed):
    """Where the file here, or the baseline's, is not HEAD's, its time says nothing of HEAD's: nothing is measured."""
    path = write(tmp_path / "kernel.py")
    files = {one.name: implementation_facts(one) for one in registry.select(["kernel", "eager"], [path])}
    files[changed] = replace(files[changed], sha256="another")
    runs = (run_of(measured(ratio), implementations=files) for ratio in (1.0, 1.2))
    paths = [kept(name, run) for name, run in zip("ab", runs)]
    monkeypatch.setattr(confirm, "_again", None)
    answer = harness("compare", *paths, "--confirm", "--load", path)
    assert 0 == answer.status
    assert f"(unconfirmed, the file of {changed} here is not HEAD's)" in answer.out
    assert "no confirmed regression; 1 could not be confirmed" in answer.out


def test_what_was_measured_elsewhere_cannot_be_confirmed_here(mistake, kept):
    """A usage error, not a comparison of two machines."""
    environment = replace(machine.environment(), cores=999)
    runs = (run_of(measured(ratio), environment=environment) for ratio in (1.0, 1.2))
    paths = [kept(name, run) for name, run in zip("ab", runs)]
    assert "HEAD was measured elsewhere: cores: 999 and" in mistake("compare", *paths, "--confirm")


def test_json_holds_everything(harness, kept):
    """One document with verdicts, costs, barriers and the number of regressions."""
    paths = kept("a", run_of(verdict("accuracy"))), kept("b", run_of(verdict("accuracy", "fail", error_ratio=3.0)))
    document = json.loads(harness("compare", *paths, "--json").out)
    assert (1, "newly wrong") == (document["regressions"], document["verdicts"][0]["kind"])
    assert {"costs", "accuracy", "barriers", "refused", "compared", "notes"} <= set(document)


def test_markdown_is_short_and_folds_the_rest(harness, kept, tmp_path):
    """A table of at most ten rows, the others and the rules folded; to a file or to standard output."""
    base = run_of(*(verdict(f"relation.{n}") for n in range(15)), measured(1.0))
    head = run_of(*(verdict(f"relation.{n}", "fail", error_ratio=2.0) for n in range(15)), measured(1.5))
    paths = kept("a", base), kept("b", head)
    shown = harness("compare", *paths, "--markdown").out
    harness("compare", *paths, "--markdown", tmp_path / "comment.md")
    assert shown == (tmp_path / "comment.md").read_text()
    assert shown.startswith("**attention-harness: 15 regressions**")
    table = shown.split("<details>")[0]
    assert 10 == sum(line.startswith("| newly wrong") for line in table.splitlines())
    assert "6 more changes" in shown
    assert "+50.0% [" in shown


def test_a_directory_without_a_run_is_a_mistake(mistake, tmp_path):
    """One line, status 2."""
    assert "is no run directory" in mistake("compare", tmp_path, tmp_path)
