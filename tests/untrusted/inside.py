"""Commands run in this process with everything in place but the work itself, and what may come of malformed input."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from attention_harness.benchmark import campaign, self_check
from attention_harness.cases import anchors
from attention_harness.cases.matrix import matrix
from attention_harness.commands.check import cases as check_cases
from attention_harness.commands.check import session as check
from attention_harness.commands.main import main
from attention_harness.commands.replay import session as replay
from attention_harness.execution import pool
from attention_harness.execution.limits import Limits
from attention_harness.execution.runner import PoolRunner
from attention_harness.model.case import Case
from attention_harness.mutation import campaign as mutation_campaign
from attention_harness.mutation import declared, sensitivity
from tests.checks.relations.strategies import PROFILE, PROFILES
from tests.conftest import Answer

HOSTILE = (
    '<script>document.title="OWNED"</script>"><img src=x onerror=alert(1)>\'{{7*7}}{% raw %} javascript:alert(1) '
    "\x1b[31mred\x1b]0;owned\x07 \x00 \u202eRTL\u2066 | ` [a](javascript:alert(1)) &lt; \ud800 "
    "</style></svg><style>body{display:none}</style> \r\nforged line\n# heading\n- item\x85\u2028end"
)
"""Markup, template, terminal, direction, encoding, tables and lines, all at once."""


def profile(plain: int) -> settings:
    """Return the shared profile with so many examples, twenty times as many where it is the deep one."""
    return settings(PROFILE, max_examples=plain if PROFILE is PROFILES["plain"] else 20 * plain)


@pytest.fixture(scope="module")
def no_work() -> Iterator[None]:
    """Leave out what takes long: running implementations, and the longer matrices. The rest is as it is."""

    def quick(tier: str = "default") -> tuple[Case, ...]:
        return own

    @contextlib.contextmanager
    def same(*_: object) -> Iterator[pool.Worker]:
        yield one

    own = tuple(few_cases())
    with pool.open_worker(Limits()) as one, pytest.MonkeyPatch.context() as patch:
        patch.setattr(pool, "open_worker", same)  # for all files: a worker of its own takes each a second
        for module, name in (
            (PoolRunner, "run"),
            (campaign, "measure"),
            (mutation_campaign, "measure"),
        ):
            patch.setattr(module, name, lambda *_, **__: iter(()))
        for module in (check_cases, sensitivity):
            patch.setattr(module, "matrix", quick)
        for module in (check_cases, declared):
            patch.setattr(module, "cases_for", lambda *_: ())
        patch.setattr(sensitivity, "measure", lambda cases: iter(()))
        patch.setattr(check, "diagnose_run", lambda *_, **__: iter(()))
        patch.setattr(self_check, "calibrated", lambda *_: dict.fromkeys(self_check.SIZES, 1))
        patch.setattr(self_check, "repetition", lambda *_: iter(()))
        patch.setattr(replay, "run", lambda *_, **__: replay.Replayed(()))
        patch.setattr(replay, "save", lambda *_, **__: [])
        yield


def few_cases() -> list[Case]:
    """Return cases of every mechanism without the seconds that a covering array takes."""
    simple = [case for case in matrix("default") if case.content == "ordinary" and case.layout == "contiguous"]
    return [*anchors.shown_cases(), *(case for case in simple if len(case.options) == 1)]


def answer(*arguments: object) -> Answer:
    """Run a command; whatever it raises is the finding."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = main([str(argument) for argument in arguments])
        except SystemExit as left:  # argparse
            status = int(left.code or 0)
    return Answer(status, out.getvalue(), err.getvalue())


def clear(given: Answer) -> bool:
    """Whether an answer is one of 0 and 1, or a mistake that is told in one line, after argparse's usage, or after what
    a resumed run or a benchmark says of its progress, if any.
    """
    if given.status in (0, 1):
        return "Traceback" not in given.err
    [*before, line] = given.err.splitlines()
    progress = not before or before[0].startswith(("usage: ", "resume: ", "bench: "))
    one_line = line.startswith("attention-harness") and line.isprintable()
    return given.status == 2 and not given.out and one_line and progress


@contextlib.contextmanager
def working_in(directory: Path) -> Iterator[None]:
    """Make a directory the working one for a while."""
    before = os.getcwd()
    os.chdir(directory)
    try:
        yield
    finally:
        os.chdir(before)


def tree(directory: Path) -> dict[str, bytes | str]:
    """Return every file below a directory with its content, every link with where it leads."""
    found: dict[str, bytes | str] = {}
    for path in sorted(directory.rglob("*")):
        name = str(path.relative_to(directory))
        found[name] = os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else ""
    return found
