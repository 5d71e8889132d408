"""A pytest plugin that fails a run in which a collected test was never reported, and names the test.

pytest-xdist gives up after `--max-worker-restart` crashes, by default 4 for each worker. The tests that were still to
run are then missing from its report without a word.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

_NAMED = 20  # names of lost tests
_HINT = "nothing is known of them: run them again, with a larger --max-worker-restart under pytest-xdist"


def pytest_configure(config: pytest.Config) -> None:
    """Register the plugin where reports arrive: in the one process, or in xdist's controller."""
    if not hasattr(config, "workerinput") and not config.option.collectonly:
        config.pluginmanager.register(_Reconciler(), "reconciler")


class _Reconciler:
    """Compares the tests that were collected with those that were reported."""

    def __init__(self) -> None:
        self.planned: dict[str, None] = {}
        self.reported: set[str] = set()
        self.stopped = False

    @property
    def lost(self) -> list[str]:
        """The tests that were never reported; none where the run was stopped on purpose."""
        return [] if self.stopped else [name for name in self.planned if name not in self.reported]

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self.planned |= dict.fromkeys(item.nodeid for item in session.items)

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, node: Any, ids: Iterable[str]) -> None:
        self.planned |= dict.fromkeys(ids)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when not in ("setup", "call"):  # "teardown" is the last; of a crash xdist reports "???"
            self.reported.add(report.nodeid)

    def pytest_keyboard_interrupt(self) -> None:
        self.stopped = True

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        limit = session.config.getvalue("maxfail")
        self.stopped |= bool(limit and session.testsfailed >= limit)
        if self.lost and session.exitstatus == 0:
            session.exitstatus = 1

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if lost := self.lost:
            terminalreporter.section("lost tests", red=True)
            terminalreporter.line(f"{len(lost)} of {len(self.planned)} collected tests were never reported; {_HINT}")
            for name in lost[:_NAMED]:
                terminalreporter.line(f"LOST {name}")
            if len(lost) > _NAMED:
                terminalreporter.line(f"and {len(lost) - _NAMED} more")
