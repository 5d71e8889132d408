"""What a person sees in the terminal: tables, progress on standard error, failures as they come."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from attention_harness.model import units
from attention_harness.model.printable import printable

if TYPE_CHECKING:
    from attention_harness.model.diagnosis import Diagnosis
    from attention_harness.model.shared_facts import SharedFacts
    from attention_harness.model.verdict import Verdict

_EVERY_S = 15.0  # between two lines of progress where there is no terminal
_PACE_S = 3600.0  # over which the speed is averaged


def table(title: str, rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
    """Print rows of `list` or `doctor` on standard output; piped, headings and rows apart by tabs."""
    if not sys.stdout.isatty():
        lines = [columns, *([_cell(row[column]) for column in columns] for row in rows)]
        print("\n".join(map("\t".join, lines)))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    shown = Table(title=title, title_justify="left", header_style="bold")
    for column in columns:
        shown.add_column(column, overflow="fold")
    for row in rows:
        shown.add_row(*(Text(_cell(row[column])) for column in columns))
    Console().print(shown)


def _cell(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} ({' '.join(axes)})" for name, axes in value.items())
    return printable(", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value))


@contextmanager
def progress(verb: str) -> Iterator[Callable[[str, int, int], None]]:
    """Give a function that shows how far a command is: what it does, how many are done, of how many.

    A terminal gets a bar; elsewhere a line now and then. How long is left goes by what this run has done itself.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
    from rich.progress import TimeRemainingColumn as Remaining

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), Remaining())
    terminal = Console(stderr=True)
    piped = not terminal.is_terminal
    bar = Progress(
        *columns, console=terminal, disable=piped, speed_estimate_period=_PACE_S, get_time=lambda: time.monotonic()
    )
    with bar:
        number, shown = bar.add_task(verb, total=None), time.monotonic()

        def show(what: str, done: int, total: int) -> None:
            nonlocal shown
            bar.update(number, total=total, completed=done, description=f"{verb}: {what}")
            if piped and done < total and time.monotonic() - shown > _EVERY_S:
                shown = time.monotonic()
                left = bar.tasks[0].time_remaining
                line(f"{verb}: {what} ({done} of {total})" + (f", about {units.duration(left)} left" if left else ""))

        yield show


def line(text: str) -> None:
    """Print one line on standard error; what an implementation says does not steer the terminal."""
    print(printable(text), file=sys.stderr, flush=True)


def failure(verdict: Verdict) -> None:
    """Print a verdict that does not conform, with the command that replays it."""
    where = f" at {list(verdict.where)}" if verdict.where else ""
    line(f"{verdict.status.upper()} {verdict.implementation}, {verdict.check}, {verdict.case}{where}")
    line(f"  {verdict.reason}")
    line(f"  replay: {verdict.replay}")


class Failures:
    """Prints the first failure of each cause as it comes; the summary counts the others."""

    def __init__(self) -> None:
        self._shown: set[tuple[str, str, str]] = set()

    def show(self, verdict: Verdict) -> None:
        """Print a failure, unless one of its cause was printed."""
        from attention_harness.model import causes  # needs msgspec, and `doctor` runs without it

        if (of := causes.cause(verdict)) not in self._shown:
            self._shown.add(of)
            failure(verdict)


def shared(found: SharedFacts) -> None:
    """Print what the failing cases of an implementation share."""
    line(f"SHARED {found.implementation}: {found}")


def cause(found: Diagnosis) -> None:
    """Print the mutants that explain the failures of an implementation, or why none is named."""
    line(f"DIAGNOSIS {found.implementation}")
    for text in found.lines:
        line(f"  {text}")
