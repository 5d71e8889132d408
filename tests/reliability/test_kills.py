"""The harness killed at random moments: what was finished is kept, and --resume ends with the whole run's results.

The real command line, in a process of its own. Plain pytest kills one run twice, without its diagnosis;
`--reliability DIR` kills fifty, half of them again while they resume, and goes on with each to its end.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from attention_harness import store
from attention_harness.store import lock
from attention_harness.store.encoding import plain
from tests.conftest import ROOT
from tests.reliability.processes import hears_interrupts

KILLS = 50
CASES = (
    "masked_softmax-B1H1Lq2Lk3-float32-plain-ordinary-contiguous",
    "masked_softmax-B1H1Lq3Lk3-float32-mask=full-ordinary-contiguous-draw1",
    "scaled_dot_product-B1H1Hk1Lq2Lk3D4Dv2-float32-plain-ordinary-contiguous",
)
# It dies on one case and is wrong on another, so that there is something to diagnose.
WRONG = '''"""Wrong on purpose."""

import os

from attention_harness import Capabilities

CAPABILITIES = Capabilities(mechanisms=("masked_softmax", "scaled_dot_product"), options=("mask",))


def prepare(case):
    if case.mechanism == "masked_softmax":
        return lambda scores, mask=None: os._exit(3) if {dies} else scores.softmax(-1)
    return lambda query, key, value: (query @ key.mT / query.shape[-1] ** 0.5).softmax(-2) @ value
'''


def command(kind: str, folder: Path, *, dies: bool) -> list[str]:
    cases = [text for case in CASES for text in ("--case", case)]
    if kind == "mutants":
        return ["mutants", "last key dropped", "mask polarity", "sum by einsum", *cases, "--jobs", "2"]
    path = folder / "wrong.py"
    path.write_text(WRONG.format(dies=dies))
    return ["check", "eager", "numpy_reference", "wrong", "--load", str(path), *cases, "--jobs", "2"]


def begin(arguments: list[str]) -> subprocess.Popen[str]:
    """Start a command in a session of its own, so that a test can clear away what a kill leaves of its workers."""
    whole = [sys.executable, "-m", "attention_harness", *arguments]
    pipe = subprocess.PIPE
    options = {"cwd": ROOT, "stdout": pipe, "stderr": pipe, "text": True, "start_new_session": True}
    return subprocess.Popen(whole, **options, preexec_fn=hears_interrupts)


def end(process: subprocess.Popen[str]) -> tuple[int, str]:
    out, err = process.communicate()
    return process.returncode, out + err


def alive(group: int) -> bool:
    """Whether a process of the group is there, given some seconds to end."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return False
        time.sleep(0.1)
    return True


def kill(arguments: list[str], seconds: float) -> tuple[bool, bool]:
    """Start a command and kill it, and nothing else, after so long.

    Return whether it was still running, and whether a process of it outlived it: those are cleared away.
    """
    process = begin(arguments)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.communicate(timeout=seconds)
    running = process.poll() is None
    if running:
        process.kill()
        process.wait()
    left = alive(process.pid)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    return running, left


def finish(arguments: list[str], out: Path, wanted: int) -> str:
    """Go on with a run to its end, as its messages say; return what was printed."""
    status, text = end(begin([*arguments, "--resume"]))
    if status == 2:  # killed before it was begun: there is nothing to go on with, and that is what it says
        assert f"{out} is no run directory: it has no run.json" in text
        status, text = end(begin(arguments))
    assert wanted == status, text
    assert "Traceback" not in text
    return text


def facts_of(out: Path) -> dict[str, Any]:
    """Return what a finished run says, but for times; every verdict once."""
    run = store.load(out)
    keys = [(v.implementation, v.case, v.check) for v in run.verdicts]
    assert len(set(keys)) == len(keys)
    files = {path.name for path in out.iterdir()}
    assert not [name for name in files if name.endswith(".part")]
    return {
        "files": files - {lock.FILE},
        "finished": bool(run.facts.finished),
        "plan": (run.facts.plan, run.facts.planned),
        "verdicts": {key: timeless(plain(v)) for key, v in zip(keys, run.verdicts)},
        "outcomes": [timeless(plain(one)) for one in (*run.outcomes, *run.equivalence)],
        "diagnosis": run.diagnosis,
        "heatmaps": run.heatmaps,
        "notes": run.notes,
    }


def timeless(row: Any) -> Any:
    if isinstance(row, dict):
        return {name: timeless(value) for name, value in row.items() if name != "seconds"}
    return [timeless(value) for value in row] if isinstance(row, list) else row


def readable(out: Path) -> int:
    """Return how many rows a killed run holds: whatever it was killed at, what was finished can be read."""
    if not (out / "run.json").exists():
        return 0
    run = store.load(out)
    return len(run.verdicts) + len(run.outcomes) + len(run.equivalence)


def uninterrupted(arguments: list[str], out: Path, wanted: int) -> tuple[dict[str, Any], float]:
    began = time.monotonic()
    status, text = end(begin([*arguments, "--out", str(out)]))
    assert wanted == status, text
    return facts_of(out), time.monotonic() - began


@pytest.mark.parametrize(("kind", "wanted"), [("check", 1), ("mutants", 0)])
def test_killed_at_random(kind, wanted, tmp_path, request, reliability):
    """As many verdicts, outcomes and causes as a run that was left alone, the same ones, and each once."""
    deep = request.config.getoption("--reliability")
    if kind == "mutants" and not deep:
        pytest.skip("the short form kills `check`; --reliability DIR kills `mutants` too")
    arguments = [*command(kind, tmp_path, dies=not deep), *([] if deep else ["--no-diagnosis"])]
    whole, seconds = uninterrupted(arguments, tmp_path / "whole", wanted)
    dice = random.Random(f"{kind} killed")
    lost, killed, left, rows = [], 0, 0, []
    for number in range(KILLS // 2 if deep else 1):
        out = tmp_path / f"run{number}"
        command_line = [*arguments, "--out", str(out)]
        for again in range((1 + number % 2) if deep else 2):
            before = readable(out)
            resumed = ["--resume"] if (out / "run.json").exists() else []
            running, outlived = kill([*command_line, *resumed], dice.uniform(0, seconds / (1 + again)))
            killed, left = killed + running, left + outlived
            rows.append(readable(out))
            assert before <= rows[-1]
        finish(command_line, out, wanted)
        if whole != facts_of(out):
            lost.append(number)
    reliability(
        harm=f"`{kind}` killed {killed} times",
        planted=f"SIGKILL at moments drawn evenly over a run; {sum(map(bool, rows))} times some results were there",
        reported=["--resume ended with the results of an uninterrupted run"],
        complete=not lost,
        processes_left=left,
    )
    assert [] == lost
    assert killed
    assert 0 == left
