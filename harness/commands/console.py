"""What a person sees in the terminal: tables, progress on standard error, failures as they come."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from attention_harness.commands.tally import Tally
from attention_harness.model import units
from attention_harness.model.measurement import Measurement
from attention_harness.model.printable import printable
from attention_harness.model.verdict import NONCONFORMING, NOT_CHECKED, Status, Verdict

if TYPE_CHECKING:
    from rich.progress import Progress

    from attention_harness.mutation.diagnosis import Diagnosis

_REASONS = 4  # why something was not checked: so many for each implementation in the summary
_TELL_EVERY = 15.0  # seconds between two lines of progress where there is no terminal
_KEPT = 0.05  # seconds: what is done sooner was done by an earlier run, and only read again
_COLUMNS = {
    "implementations": ("name", "summary", "unavailable"),
    "mechanisms": ("name", "inputs", "options", "source"),
    "cases": ("id",),
    "checks": ("name", "summary"),
    "mutants": ("kind", "name", "cites"),
    "workloads": ("name", "case", "cites"),
}


def table(kind: str, rows: Sequence[Mapping[str, Any]], columns: Sequence[str] = ()) -> None:
    """Print rows of `list` or `doctor` on standard output; piped, one line each and nothing cut off."""
    columns = columns or _COLUMNS[kind]
    if not sys.stdout.isatty():
        for row in rows:
            print("\t".join(text for column in columns if (text := _cell(row[column]))))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    shown = Table(title=kind, title_justify="left", header_style="bold")
    for column in columns:
        shown.add_column(column, overflow="fold")
    for row in rows:
        shown.add_row(*(Text(_cell(row[column])) for column in columns))
    Console().print(shown)


def _cell(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} ({' '.join(axes)})" for name, axes in value.items())
    return printable(", ".join(map(str, value)) if isinstance(value, list) else str(value))


def progress() -> Progress:
    """Return a progress bar with the time left; without a terminal, `line` tells now and then instead."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    console = Console(stderr=True)
    return Progress(
        *columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console, disable=not console.is_terminal
    )


@contextmanager
def stage(what: str, total: int) -> Iterator[Callable[[str, int], None]]:
    """Give a function that shows a stage's progress: description, and by how much it went on."""
    with progress() as bar:
        task, told, done = bar.add_task(what, total=total), time.monotonic(), 0

        def advance(description: str, count: int) -> None:
            nonlocal told, done
            done += count
            bar.update(task, advance=count, description=description)
            if bar.disable and time.monotonic() - told > _TELL_EVERY:
                line(f"{description} ({done} of {total})")
                told = time.monotonic()

        yield advance


class Pace:
    """How long is left, from how long it took so far: counted anew for each total, without what was there already."""

    def __init__(self) -> None:
        self.total, self.done, self.shown = -1, 0, 0.0
        self.counted, self.took = 0, 0.0

    def left(self, done: int, total: int, now: float) -> float | None:
        """Return the seconds that are left now that so many of the total are done; None where none was timed yet."""
        if total != self.total or done < self.done:  # further passes: counted from none, of what may be as many
            self.total, self.counted, self.took = total, 0, 0.0
        elif now - self.shown >= _KEPT * (done - self.done):
            self.counted, self.took = self.counted + done - self.done, self.took + now - self.shown
        self.done, self.shown = done, now
        return self.took / self.counted * (total - done) if self.counted else None


@contextmanager
def passes() -> Iterator[Callable[[str, int, int], None]]:
    """Give a function that shows how far the passes of a benchmark are: what, done, of how many."""
    with progress() as bar:
        task, told, pace = bar.add_task("bench", total=None), 0.0, Pace()

        def show(what: str, done: int, total: int) -> None:
            nonlocal told
            bar.update(task, completed=done, total=total, description=f"bench: {what}")
            left = pace.left(done, total, time.monotonic())
            if bar.disable and time.monotonic() - told > _TELL_EVERY and not what.startswith("checking"):
                told = time.monotonic()
                line(f"bench: {what} ({done} of {total})" + (f", about {left:.0f} s left" if left else ""))

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


def cause(found: Diagnosis) -> None:
    """Print the mutants that explain the failures of an implementation, or why none is named."""
    line(f"CAUSE {found.implementation}")
    for text in [f"matches: {match}" for match in found.matches] or [found.note]:
        line(f"  {text}")


def summary(counted: Tally, planned: int) -> str:
    """Return one line for each implementation, and the sum that has to add up."""
    lines = []
    width = max(map(len, counted.counts), default=0)
    for name, count in counted.counts.items():
        error_ratio = f"; worst error ratio {units.error_ratio(counted.worst[name])}" if name in counted.worst else ""
        lines.append(f"{name:{width}}  " + ", ".join(f"{n} {status}" for status, n in count.items()) + error_ratio)
        own = [(n, status, reason) for (who, status, reason), n in counted.reasons.most_common() if who == name]
        lines += [f"    {n} {status}: {reason}" for n, status, reason in own[:_REASONS]]
        if len(own) > _REASONS:
            rest = sum(n for n, _, _ in own[_REASONS:])
            lines.append(f"    {rest} more, for {len(own) - _REASONS} other reasons; --out and --json keep each")
    total = counted.total
    skipped = " + ".join(f"{total[status]} {status}" for status in NOT_CHECKED)
    lines.append(f"checked {counted.checked} + {skipped} = {total.total()} of {planned} planned")
    bad = sum(total[status] for status in NONCONFORMING)
    if counted.checked == 0:
        lines.append("nothing was checked")
    else:
        whole = bad == 0 and total.total() == planned
        lines.append("conforms" if whole else f"does not conform: {bad} of {counted.checked}")
    return printable("\n".join(lines))


def behaviours(verdicts: Iterable[Verdict]) -> str:
    """Return a table for each implementation: behaviour, what was measured and is declared; "" when none was asked."""
    rows = [("", "behaviour", "measured", "declared")]
    for verdict in verdicts:
        name = verdict.check.removeprefix("behaviour.")
        if name != verdict.check and verdict.status not in NOT_CHECKED:
            wrong = "" if verdict.status is Status.PASS else f"{verdict.status.upper()} "
            measured = wrong + (verdict.finding or verdict.reason)
            rows.append((verdict.implementation, name, measured, verdict.declared))
    rows[1:] = sorted(rows[1:], key=lambda row: row[0])  # stable: the behaviours keep their order
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    lines.append("Where nothing is claimed nothing is required, but that hidden finite numbers never matter.")
    return printable("\n".join(lines)) if len(rows) > 1 else ""


def drawn(seed: int, count: int) -> str:
    """Return the line that says which cases were drawn, and how to go on."""
    return f"fuzz: {count} cases of seed {seed}; the same and as many more: --seed {seed} --fuzz {2 * count}"


def timings(measured: Sequence[Measurement], baseline: str) -> str:
    """Return a line for each measurement: its ratio to the baseline with the interval, or why there is none."""
    lines = [f"time over {baseline}'s time [interval]; below 1 is faster; only what conforms is timed"]
    cell = None
    for row in measured:
        if row.cell != cell:
            cell = row.cell
            both = ", forward and backward" if row.direction != "forward" else ""
            threads = f", {row.threads} threads" if row.threads > 1 else ""
            lines.append(f"{row.workload} ({row.dtype}{both}{threads})")
        lines.append(f"  {row.implementation:18} {_told(row)}")
    return printable("\n".join(lines))


def _told(row: Measurement) -> str:
    if row.status != "measured":
        return f"{row.status}: {row.reason}"
    why = f": {row.reason}" if row.reason else ""
    if row.ratio is None:
        return f"{row.answer or 'measured'}{why}"
    if row.answer == "unreliable" or row.low is None:
        return f"{row.answer}{why}"
    could = f"; a difference of {row.detectable:.1%} could have been seen" if row.detectable else ""
    could = could if row.answer == "inconclusive" else ""
    error_ratio = f"; {row.ceiling_share:.0%} of the {row.ceiling} ceiling" if row.ceiling_share else ""
    return f"{row.ratio:7.3f} [{row.low:.3f}, {row.high:.3f}] {row.answer}{could}{error_ratio}{why}"
