"""Runs the command line in this process and in one of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from attention_harness.commands.main import main
from tests.reliability import reconcile

ROOT = Path(__file__).parents[1]
DEEP = os.environ.get("HYPOTHESIS_PROFILE") == "deep"
"""Whether `tox -e thorough` runs: all of what plain tox samples."""


class Answer(NamedTuple):
    """What a command answered."""

    status: int
    out: str
    err: str


@pytest.fixture
def harness(capfd: pytest.CaptureFixture[str]) -> Callable[..., Answer]:
    """Return a function that runs a command in this process, its workers' output included."""

    def run(*arguments: object) -> Answer:
        capfd.readouterr()
        try:
            status = main([str(argument) for argument in arguments])
        except SystemExit as left:  # argparse
            status = int(left.code or 0)
        return Answer(status, *capfd.readouterr())

    return run


@pytest.fixture
def mistake(harness: Callable[..., Answer]) -> Callable[..., str]:
    """Return a function that runs a command which must end with status 2 and one line, and returns the line."""

    def run(*arguments: object) -> str:
        answer = harness(*arguments)
        assert (answer.status, answer.out) == (2, "")
        [line] = answer.err.splitlines()
        assert line.startswith("attention-harness: ")
        return line.removeprefix("attention-harness: ")

    return run


def shell(command: str) -> Answer:
    """Run a command line as a user would, by a shell in the repository."""
    command = command.replace("python ", f"{sys.executable} ", 1)
    done = subprocess.run(command, shell=True, cwd=ROOT, capture_output=True, text=True, check=False)
    return Answer(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def terminal() -> Callable[[str], Answer]:
    """Return a function that runs a command line in a process of its own."""
    return shell


def pytest_configure(config: pytest.Config) -> None:
    """Fail a run that lost tests."""
    reconcile.pytest_configure(config)


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--reliability DIR` asks every hostile implementation in a run of its own, and keeps the table in DIR.

    `--node-cases DIR` keeps what became of ONNX's own node cases in DIR.
    """
    parser.addoption("--reliability", metavar="DIR", help="the whole hostile set, its table kept in DIR")
    parser.addoption("--node-cases", metavar="DIR", help="the table of ONNX's own node cases is kept in DIR")
