"""`check` exits with 0 if all that was checked conforms, 1 if not; its counts add up and its replay replays."""

from __future__ import annotations

import json
import re
import shlex
from collections import Counter

import pytest

from attention_harness.model.verdict import NONCONFORMING, NOT_CHECKED, Status
from tests.registry.sources import TINY, write

BFLOAT = TINY.replace("float32", "bfloat16")


def lines(directory) -> list[dict]:
    return [json.loads(line) for line in (directory / "verdicts.jsonl").read_text().splitlines()]


def test_a_right_one_conforms(terminal):
    """As a user runs it: status 0, a summary that adds up, nothing on standard error."""
    answer = terminal(f"python -m attention_harness check eager --case {TINY}")
    assert (answer.status, answer.err) == (0, "")
    time, name, total, verdict = answer.out.splitlines()
    assert re.fullmatch(r"time: \d+ s on \d+ workers?: implementations \d+%, reference and error bounds \d+%, .*", time)
    passes = re.fullmatch(r"eager  (\d+) pass; worst error ratio 0\.\d+", name)[1]
    assert total == f"checked {passes} + 0 unsupported + 0 unavailable = {passes} of {passes} planned"
    assert verdict == "conforms"


def test_a_wrong_one_does_not_and_its_replay_fails_again(harness, terminal, tmp_path):
    """Status 1, the failure with its place, its cause, and a command that fails alike when pasted into a shell."""
    folder = tmp_path / "a folder; with 'odd' characters"
    folder.mkdir()
    path = write(folder / "unscaled.py", scores="query @ key.mT")
    answer = harness("check", "--load", path, "--case", TINY)
    assert answer.status == 1
    assert answer.out.splitlines()[-1].startswith("does not conform: ")
    failure, reason, replay = answer.err.splitlines()[:3]
    assert failure.startswith(f"FAIL unscaled, accuracy, {TINY} at [")
    assert "exceeds its error bound" in reason
    again = terminal(replay.removeprefix("  replay: ") + " --no-diagnosis")
    assert again.status == 1
    assert f"FAIL accuracy{failure[failure.index(' at [') :]}: {reason.strip()}" in again.out.splitlines()
    cause, match, *_ = answer.err.partition("DIAGNOSIS ")[2].splitlines()
    assert cause == "unscaled"
    assert match.startswith("  matches: not scaled (")


def test_counts_add_up(harness, tmp_path):
    """checked + unsupported + unavailable = planned = lines of verdicts.jsonl, on paper, on screen and in JSON."""
    files = [
        write(tmp_path / "right.py"),
        write(tmp_path / "wrong.py", scores="-query @ key.mT"),
        write(
            tmp_path / "far.py",
            declared="devices=('cuda',)",
            bottom="def unavailable():\n    return 'no chip'",
        ),
        write(tmp_path / "picky.py", bottom="def unsupported(case):\n    return 'not today'"),
        write(tmp_path / "old.py", scores="-query @ key.mT", bottom="KNOWN_FAILURES = {'*': 'bug 7'}"),
    ]
    load = [argument for path in files for argument in ("--load", path)]
    run = tmp_path / "run"
    answer = harness("check", *load, "--case", TINY, "--case", BFLOAT, "--out", run, "--no-diagnosis")
    assert answer.status == 1
    facts = json.loads((run / "run.json").read_text())
    found = Counter(line["status"] for line in lines(run))
    skipped = {status: found[status] for status in NOT_CHECKED if status is not Status.NOT_ASKED}
    checked = found.total() - sum(skipped.values())
    assert facts["planned"] == found.total() == checked + sum(skipped.values())
    assert checked > 0
    assert all(skipped.values())
    assert {"pass", "fail", "known_failure", "unexpected_pass"} <= set(found)
    total = f"checked {checked} + {skipped['unsupported']} unsupported + {skipped['unavailable']} unavailable"
    assert f"{total} = {facts['planned']} of {facts['planned']} planned" in answer.out
    reasons = {(line["implementation"], line["reason"]) for line in lines(run) if line["status"] in NOT_CHECKED}
    bfloat = "dtype bfloat16 not declared (declares float32)"
    assert {("far", "no chip"), ("picky", "not today"), ("right", bfloat), ("far", bfloat)} <= reasons
    assert {"right", "wrong", "far", "picky", "old"} == set(facts["implementations"])
    assert facts["finished"] >= facts["started"]
    again = json.loads(harness("check", *load, "--case", TINY, "--case", BFLOAT, "--json", "--no-diagnosis").out)
    assert facts["planned"] == again["planned"] == len(again["verdicts"])
    assert [(v["case"], v["check"], v["status"]) for v in lines(run)] == [
        (v["case"], v["check"], v["status"]) for v in again["verdicts"]
    ]


def test_an_existing_run_is_kept(harness, mistake, tmp_path):
    """--out does not write over a run; --resume goes on with it and asks nothing twice."""
    arguments = ("check", "--load", write(tmp_path / "right.py"), "--case", TINY, "--out", tmp_path / "run")
    assert harness(*arguments).status == 0
    before = lines(tmp_path / "run")
    assert "already holds a run" in mistake(*arguments)
    path = tmp_path / "run" / "verdicts.jsonl"
    path.write_text(path.read_text()[:-20])
    answer = harness(*arguments, "--resume")
    assert answer.status == 0
    assert "dropped" in answer.err
    assert [line["check"] for line in before] == [line["check"] for line in lines(tmp_path / "run")]


def test_another_plan_does_not_go_on(harness, mistake, tmp_path):
    """A run of case A is not resumed with case B, although both have as many checks; nothing in it changes."""
    other, run = TINY.replace("Lk3", "Lk4"), tmp_path / "run"
    assert harness("check", "eager", "--case", TINY, "--out", run).status == 0
    before = {path.name: path.read_bytes() for path in run.iterdir()}
    line = mistake("check", "eager", "--case", other, "--out", run, "--resume")
    assert re.match(r".* holds another run: (\d+) checks, not these \1; resume with its own command: python -m ", line)
    assert before == {path.name: path.read_bytes() for path in run.iterdir()}
    assert harness("check", "eager", "--case", TINY, "--out", run, "--resume").status == 0


def test_a_changed_file_does_not_go_on(harness, mistake, tmp_path):
    """Verdicts on one text of a file do not stand beside those on another; the same text again is the same file."""
    path, run = write(tmp_path / "mine.py"), tmp_path / "run"
    text = path.read_bytes()
    arguments = ("check", "--load", path, "--case", TINY, "--out", run)
    assert harness(*arguments).status == 0
    write(path, scores="-query @ key.mT")
    assert f"mine has changed since {run} was begun; begin a new run" == mistake(*arguments, "--resume")
    path.write_bytes(text)
    assert harness(*arguments, "--resume").status == 0


def test_an_explicit_device_is_kept(harness, monkeypatch):
    """A case @cuda is not answered on the CPU: without a device it is unavailable, and nothing was checked."""
    monkeypatch.setattr("attention_harness.execution.plan.cuda_devices", list)
    answer = harness("check", "eager", "--case", TINY + "@cuda", "--json")
    verdicts = json.loads(answer.out)["verdicts"]
    assert answer.status == 1
    assert {(TINY + "@cuda", "unavailable", "no CUDA device")} == {
        (v["case"], v["status"], v["reason"]) for v in verdicts
    }


def test_what_a_file_is_asked_before_the_run_may_not_end_it(mistake, tmp_path):
    """An `unavailable` or `unsupported` that raises is a mistake in the file: one line, and no run begins."""
    for name, given in (("unavailable", ""), ("unsupported", "case")):
        path = write(
            tmp_path / f"{name}_raises.py", bottom=f"def {name}({given}):\n    raise RuntimeError('two\\nlines')"
        )
        line = mistake("check", "--load", path, "--case", TINY, "--out", tmp_path / "run")
        assert f"{path}: {name}() raised RuntimeError: two lines" == line
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["unavailable()", "unsupported(case)"])
def test_a_file_that_leaves_does_not_conform(harness, tmp_path, name):
    """`sys.exit(0)` in what a file is asked before the run must not end it with the status of success."""
    path = write(tmp_path / "leaves.py", bottom=f"def {name}:\n    raise SystemExit(0)")
    assert harness("check", "--load", path, "--case", TINY).status == 2


def test_nothing_checked_does_not_conform(harness, tmp_path):
    """A run in which everything was left out has shown nothing: status 1."""
    answer = harness("check", "--load", write(tmp_path / "right.py"), "--case", BFLOAT)
    assert (answer.status, answer.out.splitlines()[-1]) == (1, "nothing was checked")


FEW = "def unsupported(case):\n    return 'not today' if 'mask' in case.options or case.sizes['Lq'] != 5 else ''"


def test_what_is_declared_and_never_asked_does_not_conform(harness, tmp_path):
    """Not in the default tier, where everything declared has its cases; a run that is narrowed says it and conforms."""
    path = write(tmp_path / "choosy.py", declared="options=('mask',)", bottom=FEW)
    whole = harness("check", "--load", path, "--json")
    told = json.loads(whole.out)["verdicts"]
    [missing] = [verdict for verdict in told if verdict["status"] == "not_asked"]
    assert "mask" in missing["reason"]
    assert [] == [verdict for verdict in told if verdict["status"] in NONCONFORMING]
    assert 1 == whole.status
    narrowed = harness("check", "--load", path, "--quick")
    assert 0 == narrowed.status
    assert "choosy: not asked in this narrowed run, though declared: mask" in narrowed.out


def test_enough_failures_end_a_run(harness, tmp_path):
    """What was not begun by then is counted, with the reason."""
    path = write(tmp_path / "wrong.py", scores="-query @ key.mT")
    answer = harness("check", "--load", path, "--quick", "--max-failures", "2", "--no-diagnosis", "--json")
    told = json.loads(answer.out)["verdicts"]
    left = [verdict for verdict in told if verdict["status"] == "not_asked"]
    assert {"--max-failures 2: so many cases have failed"} == {verdict["reason"] for verdict in left}
    failed = {verdict["case"] for verdict in told if verdict["status"] == "fail"}
    assert 2 <= len(failed) < len({verdict["case"] for verdict in left})
    assert 1 == answer.status


def test_what_an_implementation_prints_is_not_in_the_json(terminal, tmp_path):
    """Standard output is one JSON document, whatever the judged code writes there when imported and when called."""
    path = write(tmp_path / "loud.py", top="print('here I am')", body="print('look at me')")
    answer = terminal(f"python -m attention_harness check --load {path} --case {TINY} --json")
    assert "look at me" in answer.err
    assert answer.status == 0
    assert {Status.PASS} == {Status(verdict["status"]) for verdict in json.loads(answer.out)["verdicts"]}


GAUSSIAN = "gaussian_kernel-B1H1Lq1Lk3D1Dv1-float32-plain-example.waist-contiguous"
MISTAKES = {
    "implementation": ("check eagre", "no implementation 'eagre'. Did you mean 'eager'?"),
    "mechanism": ("check eager --mechanism cosin", "no mechanism 'cosin'. Did you mean 'cosine'?"),
    "other mechanism": (f"check torch_sdpa --case {GAUSSIAN}", "to check: torch_sdpa does not declare gaussian_kernel"),
    "case": (f"check eager --case {TINY.removesuffix('-contiguous')}", "malformed case id"),
    "case of two lines": ("check eager --case 'a\nb'", "malformed case id"),
    "no file": ("check --load absent.py", "--load absent.py: no such file"),
    "resume of nothing": (f"check eager --case {TINY} --resume", "--resume needs --out"),
    "out in a file": (f"check eager --case {TINY} --out pyproject.toml/run", "cannot make the run directory"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_one_line(mistake, name):
    """Status 2, one line, nothing on standard output."""
    command, expected = MISTAKES[name]
    assert expected in mistake(*shlex.split(command))


def test_a_file_without_prepare(mistake, tmp_path):
    """The file is named, with what it lacks."""
    path = tmp_path / "mine.py"
    path.write_text("from attention_harness import Capabilities\nCAPABILITIES = Capabilities(('cosine',))\n")
    assert f"{path}: no function prepare(case)" in mistake("check", "--load", path)
    path = tmp_path / "other.py"
    path.write_text("raise RuntimeError('two\\nlines')\n")
    assert "importing it raised RuntimeError: two lines" in mistake("check", "--load", path)


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "inf", "1e999", "soon", ""])
def test_a_time_limit_is_above_0(harness, seconds):
    """A limit of 0 would fall back to the default, and a negative one would let nothing be answered."""
    answer = harness("check", "eager", "--case", TINY, f"--timeout={seconds}")
    assert (answer.status, answer.out) == (2, "")
    assert f"argument --timeout: {seconds!r} is not a time in seconds above 0" in answer.err


@pytest.mark.parametrize("arguments", ["--jobs 0", "--jobs many", "--quick --thorough"])
def test_numbers_that_are_none(harness, arguments):
    """argparse's message and status 2."""
    answer = harness("check", "eager", *arguments.split())
    assert (answer.status, answer.out) == (2, "")
    assert "Traceback" not in answer.err
