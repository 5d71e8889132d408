"""A disk that fills up, and Ctrl-C: one line, what was finished before is kept, and --resume ends the run.

A limit on the size of the files that a process writes stands for the disk: beyond it a write takes a part, or fails.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from attention_harness import store
from attention_harness.model.errors import HarnessError
from attention_harness.model.run_facts import RunFacts
from attention_harness.model.verdict import Status, Verdict
from attention_harness.store.writer import write_document
from tests.conftest import ROOT
from tests.reliability.test_kills import CASES, alive, begin, end, facts_of, finish, uninterrupted

PASS = Verdict("eager", "cosine", "cosine-B1", "accuracy", Status.PASS, error_ratio=0.25)
FACTS = RunFacts(command="check", planned=1, plan="a")


@contextlib.contextmanager
def full(size: int) -> Iterator[None]:
    """End the room in every file at so many bytes, pytest's own output too; Python ignores the signal of it."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("room", [0, 1, 200])
def test_an_append_that_does_not_fit_is_taken_back(tmp_path, room):
    """What was there stays, to the byte, and is gone on with; of the lines that did not fit nothing is left."""
    writer = store.Writer.start(tmp_path, FACTS)
    writer.add(PASS)
    before = (tmp_path / "verdicts.jsonl").read_bytes()
    complaint = r"cannot write .*verdicts\.jsonl: .*make room, then go on with --resume"
    with pytest.raises(HarnessError, match=complaint), full(len(before) + room):
        writer.add(PASS, PASS)
    assert before == (tmp_path / "verdicts.jsonl").read_bytes()
    writer.close()
    assert (PASS,) == tuple(store.Writer.resume(tmp_path, FACTS)[1])


def test_a_replacement_that_does_not_fit_leaves_the_old_file(tmp_path):
    """And nothing beside it."""
    path = tmp_path / "run.json"
    write_document(path, {"old": True})
    with pytest.raises(HarnessError, match=r"cannot write .*run\.json: .*; it is left as it was"), full(50):
        write_document(path, {"new": "x" * 100})
    assert ['{\n "old": true\n}\n'] == [file.read_text() for file in tmp_path.iterdir()]


def run_with_room(arguments: list[str], size: int) -> tuple[int, str]:
    """Run a command that can write no file beyond a size."""
    code = f"import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, ({size}, {size})); "
    code += "from attention_harness.commands.main import main; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout + done.stderr


def test_a_disk_that_fills_up(tmp_path, request, reliability):
    """By the real command line, while verdicts are appended, and while a file is replaced at the start."""
    if not request.config.getoption("--reliability"):
        pytest.skip("the short form fills the disk under the writer alone; --reliability DIR under the command line")
    cases = [text for case in CASES for text in ("--case", case)]
    arguments = ["check", "eager", *cases, "--jobs", "1", "--no-diagnosis"]
    whole, _ = uninterrupted(arguments, tmp_path / "whole", 0)
    sizes = {
        name: (tmp_path / "whole" / name).stat().st_size for name in ("verdicts.jsonl", "run.json", "heatmaps.json")
    }
    assert sizes["run.json"] < sizes["heatmaps.json"]
    heatmaps = (tmp_path / "whole" / "heatmaps.json").read_text()
    for what, room in (("heatmaps.json", sizes["run.json"] + 500), ("verdicts.jsonl", sizes["run.json"] + 500)):
        out = tmp_path / what
        begun = [*arguments, "--out", str(out)]
        if what == "verdicts.jsonl":  # the heatmaps, which take more room, are there; the lines fill it up
            assert 2 == run_with_room(begun, room)[0]
            (out / "heatmaps.json").write_text(heatmaps)
            begun.append("--resume")
        status, text = run_with_room(begun, room)
        assert 2 == status, text
        assert f"attention-harness: cannot write {out / what}: File too large" in text
        assert "Traceback" not in text
        assert store.load(out).facts.planned == whole["plan"][1]
        finish([*arguments, "--out", str(out)], out, 0)
        assert whole == facts_of(out)
    reliability(
        harm="full disk",
        planted="no room in verdicts.jsonl, then in heatmaps.json",
        reported=["one line that names the file, exit status 2; --resume ended with the whole run's results"],
        complete=True,
        processes_left=0,
    )


def test_interrupted(tmp_path, reliability):
    """Ctrl-C, as a terminal sends it to the whole group: status 130, one line, no process left, and it goes on."""
    path = tmp_path / "slow.py"
    path.write_text(
        '"""Slow."""\nimport time\nfrom attention_harness import Capabilities\n'
        'CAPABILITIES = Capabilities(mechanisms=("masked_softmax",))\n\n\n'
        "def prepare(case):\n    time.sleep(0.0 if __import__('os').path.exists("
        f"{str(tmp_path / 'go')!r}) else 600.0)\n    return lambda scores: scores.softmax(-1)\n"
    )
    arguments = ["check", "eager", "slow", "--load", str(path), "--case", CASES[0], "--jobs", "2", "--no-diagnosis"]
    out = tmp_path / "run"
    process = begin([*arguments, "--out", str(out)])
    deadline = time.monotonic() + 120
    while not (out / "verdicts.jsonl").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)
    status, text = end(process)
    assert (130, "attention-harness: interrupted; what was finished is kept; --resume goes on\n") == (status, text)
    assert not alive(process.pid)
    finished = len(store.load(out).verdicts)
    assert finished > 0
    (tmp_path / "go").write_text("")
    finish([*arguments, "--out", str(out)], out, 0)
    assert finished < len(facts_of(out)["verdicts"]) == store.load(out).facts.planned
    reliability(harm="Ctrl-C", planted="SIGINT to the group", reported=["status 130"], complete=True, processes_left=0)
