"""Whatever an implementation does: it is blamed for it, the others are answered as if alone, and nothing is left.

Through the real command line. Plain pytest asks a few of each kind, all in one run; `--reliability DIR` asks each in a
run of its own and writes what was found to DIR, for `report`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from attention_harness.model.verdict import NONCONFORMING
from tests.conftest import ROOT
from tests.registry.sources import TINY, write
from tests.reliability.hostile import BY_NAME, HOSTILE, MARK, OTHER, Hostile
from tests.reliability.processes import left

SHORT = (
    "segfault",
    "native_loop",
    "torch_memory",
    "child_and_death",
    "interrupts",
    "patches_softmax",
    "directory",
    "overwrites_later",
)
SECONDS = 12  # of one case; a fresh worker on a busy machine needs a few

Verdicts = dict[tuple[str, str], list[dict[str, Any]]]


class Ran:
    """A run of the command line: what it printed, and the processes of it that are left."""

    def __init__(self, folder: Path, names: Sequence[str]) -> None:
        folder.mkdir(parents=True)
        paths = [*(BY_NAME[name].write(folder) for name in names), write(folder / "right.py")]
        mark = uuid.uuid4().hex
        command = [
            sys.executable,
            "-m",
            "attention_harness",
            "check",
            *names,
            "right",
            "--json",
            "--no-diagnosis",
            "--jobs",
            "1",
        ]
        command += [f"--timeout={SECONDS}", "--memory=256MiB", "--case", TINY, "--case", OTHER]
        command += [text for path in paths for text in ("--load", str(path))]
        done = subprocess.run(command, cwd=ROOT, env=os.environ | {MARK: mark}, capture_output=True, check=False)
        self.status, self.printed = done.returncode, len(done.stderr)
        self.left = left(mark)
        assert self.status in (0, 1), done.stderr.decode(errors="replace")[-2000:]
        document = json.loads(done.stdout)
        self.planned, rows = document["planned"], document["verdicts"]
        self.count = len(rows)
        self.bad = sum(row["status"] in NONCONFORMING for row in rows)
        self.verdicts: Verdicts = {}
        for row in rows:
            self.verdicts.setdefault((row["implementation"], row["case"]), []).append(row)

    def of(self, name: str, case: str = TINY) -> list[tuple[Any, ...]]:
        """Return what was answered, without the time that it took."""
        return [(v["check"], v["status"], v["error_ratio"], v["where"]) for v in self.verdicts[name, case]]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """Return what `right` is answered when nothing stands beside it."""
    ran = Ran(tmp_path_factory.mktemp("alone") / "run", [])
    assert (ran.status, ran.bad, ran.left) == (0, 0, [])
    return ran


@pytest.fixture(scope="module")
def together(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Ran | None:
    """Return the run of the short form: a few of each kind in one command."""
    if request.config.getoption("--reliability"):
        return None
    return Ran(tmp_path_factory.mktemp("together") / "run", SHORT)


def _chosen(config: pytest.Config) -> list[str]:
    return [harm.name for harm in HOSTILE] if config.getoption("--reliability") else list(SHORT)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Ask every harm, or those of the short form."""
    if "name" in metafunc.fixturenames:
        metafunc.parametrize("name", _chosen(metafunc.config))


def test_it_is_blamed_and_the_others_are_answered(name, alone, together, tmp_path, reliability):
    """The right verdict with the right words; the other one's answers are those of a run alone; nothing is left."""
    harm = BY_NAME[name]
    ran = together or Ran(tmp_path / "run", [name])
    blamed = verdicts_to_blame(harm, ran)
    complete = all(ran.of("right", case) == alone.of("right", case) for case in (TINY, OTHER))
    reliability(
        harm=name,
        planted=(harm.body if harm.body != "pass" else harm.bottom or harm.top).strip(),
        reported=sorted({f"{v['status']}: {v['reason']}" if v["reason"] else v["status"] for v in blamed}),
        complete=complete and ran.count == ran.planned,
        processes_left=len(ran.left),
    )
    assert blamed
    assert {harm.status} == {verdict["status"] for verdict in blamed}
    assert all(harm.words in verdict["reason"] for verdict in blamed), blamed[0]
    assert all(len(verdict["reason"].splitlines()) <= 1 for verdict in blamed)
    if harm.spares:
        assert {"pass"} == {status for _, status, *_ in ran.of(name, OTHER)}
    assert complete
    assert ran.planned == ran.count
    assert (1 if ran.bad else 0) == ran.status
    assert [] == ran.left
    assert ran.printed < 1 << 18, "the terminal is not flooded"


def verdicts_to_blame(harm: Hostile, ran: Ran) -> list[dict[str, Any]]:
    """Return the verdicts that have to blame it."""
    found = ran.verdicts[harm.name, TINY]
    if harm.only == "any":  # the judge itself may have stumbled over it; no check passes
        assert "pass" not in {verdict["status"] for verdict in found}
        return [verdict for verdict in found if harm.words in verdict["reason"]]
    return [verdict for verdict in found if harm.only in ("", verdict["check"])]
