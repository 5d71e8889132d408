"""One case again: every check's verdict, where the errors lie, what went in, and what may have caused them.

The implementation runs in a worker process with a time limit, so that a crash is told with its signal.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attention_harness import registry
from attention_harness.bounds import ErrorBound
from attention_harness.cases import inputs
from attention_harness.cases.cases import parse
from attention_harness.checks import CHECKS, Subject
from attention_harness.checks.form import to_array, wrong_form
from attention_harness.commands import console
from attention_harness.commands.replay.script import SAVED, save
from attention_harness.execution import in_process, pool
from attention_harness.execution.limits import ITEM_SECONDS
from attention_harness.execution.lost import Lost
from attention_harness.execution.plan import Item, plan_items
from attention_harness.execution.process_state import process_state
from attention_harness.execution.run import run_checks, verdicts_of
from attention_harness.execution.runner import lost_verdicts
from attention_harness.execution.worker import implementation
from attention_harness.model.case import Case
from attention_harness.model.errors import HarnessError
from attention_harness.model.printable import printable
from attention_harness.model.verdict import NONCONFORMING, NOT_CHECKED, Verdict
from attention_harness.mutation import diagnosis
from attention_harness.registry import mechanisms

ROWS, COLUMNS = 24, 72
"""Cells that a map has at most; more rows or columns are drawn in blocks."""

LEVELS = (
    (0.5, "within half of the error bound"),
    (1.0, "within it"),
    (10.0, "up to 10 times"),
    (1e3, "up to 1000 times"),
)
DRAWN = frozenset({"accuracy", "weights", "example"})  # what judges the elements that a map shows
MARKS = {True: " ░▒▓█", False: " .-+#"}  # in a terminal that can show them, and elsewhere


Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Map:
    """Shares of the error bound, the worst of each block. rows, columns: what they are, and how many make one block."""

    title: str
    rows: tuple[str, int]
    columns: tuple[str, int]
    values: tuple[tuple[float, ...], ...]


@dataclass(frozen=True, slots=True)
class Worst:
    """The worst element of the output or of the weights."""

    what: str
    where: tuple[int, ...]
    got: float
    expected: float
    error: float
    error_bound: float
    error_ratio: float


@dataclass(frozen=True, slots=True)
class Replayed:
    """What a replay found. facts: of each input, in words."""

    verdicts: tuple[Verdict, ...]
    facts: tuple[tuple[str, str], ...] = ()
    worst: Worst | None = None
    maps: tuple[Map, ...] = ()
    causes: tuple[diagnosis.Diagnosis, ...] = field(default=())

    def to_json(self) -> dict[str, Any]:
        """Return plain data; a number that is not finite is a string."""
        told = {name: _plain(value) for name, value in asdict(self).items()}
        return told | {"verdicts": [verdict.to_json() for verdict in self.verdicts]}


def replay(options: argparse.Namespace) -> int:
    """Run one case again, tell and save; 0 when it was asked and conforms."""
    [own] = registry.select([options.implementation], options.load)
    [item] = plan_items([own], [parse(options.case)])
    asked = _asked(item, options.check)
    if options.save:
        _need_new_file(options.save)
    seconds = options.timeout or ITEM_SECONDS
    found = run(asked, options.load, seconds=seconds, memory=options.memory)
    if not options.no_diagnosis:
        causes = tuple(diagnosis.diagnoses(found.verdicts, options.load, memory=options.memory))
        found = Replayed(found.verdicts, found.facts, found.worst, found.maps, causes)
    if options.json:
        print(json.dumps(found.to_json(), indent=1, allow_nan=False))
    else:
        print(printable("\n".join(text(item, found, drawn=_can_draw()))))
    if options.save:
        for path in save(options.save, own, item.case, options.check or _to_save(found.verdicts)):
            console.line(f"wrote {path}")
    statuses = {verdict.status for verdict in found.verdicts}
    return 0 if statuses - set(NOT_CHECKED) and not statuses & set(NONCONFORMING) else 1


def _asked(item: Item, name: str | None) -> Item:
    """Return the item with one check alone, if one is named."""
    checks = tuple(check for check in item.checks if name in (None, check.name))
    if not checks:
        if name not in [check.name for check in CHECKS]:
            raise registry.unknown("check", str(name), [check.name for check in CHECKS])
        raise registry.unknown("check of this case", str(name), [check.name for check in item.checks])
    return Item(item.implementation, item.case, checks, item.skip)


def _need_new_file(path: Path) -> None:
    """Refuse where a script cannot be written, before a replay that may take minutes."""
    beside = path.with_suffix(".npz")
    wrong = {
        "exists already": path.is_symlink() or path.exists(),
        f"{beside.name}, for what does not fit into it, exists already": beside.is_symlink() or beside.exists(),
        "does not end in .py": path.suffix != ".py",
        f"{path.parent} is no directory": not path.parent.is_dir(),
    }
    for what, is_so in wrong.items():
        if is_so:
            raise HarnessError(f"--save {path}: {what}; give the name of a new file that ends in .py")


def _to_save(verdicts: Sequence[Verdict]) -> str:
    """Return the check that a script shows: the first that failed, of those that it can show if there is one."""
    wrong = [verdict.check for verdict in verdicts if verdict.status in NONCONFORMING]
    return next((check for check in wrong if check in SAVED), wrong[0] if wrong else SAVED[0])


def run(item: Item, load: Sequence[Path] = (), *, seconds: float = ITEM_SECONDS, memory: int = 0) -> Replayed:
    """Return the verdicts of an item and where its errors lie; of one whose process died, the verdicts alone."""
    if item.skip is not None:
        return Replayed(tuple(run_checks(item)))
    names = tuple(check.name for check in item.checks)
    try:
        asked = (item.implementation.name, tuple(load), item.case.id, names)
        return pool.run_alone(_work, *asked, seconds=seconds + item.allowance, memory=memory)
    except Lost as lost:
        return Replayed(tuple(lost_verdicts(item, lost)), tuple(_facts(item.case)))


def _work(name: str, load: tuple[Path, ...], case_id: str, checks: tuple[str, ...]) -> Replayed:
    before = process_state()
    [item] = plan_items([implementation(name, load)], [parse(case_id)])
    asked = tuple(check for check in item.checks if check.name in checks)
    verdicts = tuple(verdicts_of(Item(item.implementation, item.case, asked, item.skip), before))
    try:
        facts = tuple(_facts(item.case))
        worst, maps = (
            _picture(in_process.subject(item.implementation, item.case)) if DRAWN.intersection(checks) else (None, ())
        )
    except MemoryError:  # a verdict says so, also of what follows
        facts, worst, maps = (), None, ()
    except BaseException:  # it raises
        worst, maps = None, ()
    return Replayed(verdicts, facts, worst, maps)


def _facts(case: Case) -> Iterator[tuple[str, str]]:
    """Yield what went in: each tensor's dtype, shape, place in memory and range, then what is no tensor."""
    for name, tensor in inputs.tensors(case).items():
        numbers = inputs.exact({name: tensor})[name]
        finite = numbers[np.isfinite(numbers)]
        span = f"{float(finite.min()):.4g} to {float(finite.max()):.4g}" if finite.size else "no finite number"
        if numbers.dtype == bool:
            span = f"{int(numbers.sum())} of {numbers.size} true"
        place = f"strides {tuple(tensor.stride())}" + (f" from {n}" if (n := tensor.storage_offset()) else "")
        yield name, f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}, {place}, {span}"
    yield "content", f"{case.content}, {case.layout} in memory, seed {case.seed}"
    yield "options", ", ".join(f"{name} {value}" for name, value in case.options.items()) or "none"


# --- where the errors lie


def _picture(subject: Subject) -> tuple[Worst | None, tuple[Map, ...]]:
    """Return the worst element and its maps: of the weights where those were returned and err more, else the output."""
    known = mechanisms()[subject.case.mechanism]
    found = []
    for what, tensor, error_bound, axes in zip(
        ("output", "weights"),
        (subject.first.output, subject.first.weights),
        subject.error_bound(),
        (known.output, known.scores),
        strict=True,
    ):
        if tensor is None or error_bound is None or wrong_form(tensor, subject.case, error_bound.value.shape, what):
            continue
        error_ratio, error = _shares(to_array(tensor), error_bound)
        if error_ratio.size:
            found.append((what, to_array(tensor), error_bound, axes, error_ratio, error))
    if not found:
        return None, ()
    what, got, error_bound, axes, error_ratio, error = max(found, key=lambda one: float(one[4].max()))
    where = tuple(int(i) for i in np.unravel_index(np.argmax(error_ratio), error_ratio.shape))
    numbers = (float(array[where]) for array in (got, error_bound.value, error, error_bound.bound, error_ratio))
    return Worst(what, where, *numbers), tuple(_maps(what, axes, error_ratio, where))


def _shares(got: Array, error_bound: ErrorBound) -> tuple[Array, Array]:
    """Return each element's error over its bound, and the error; infinite where what is not a number differs."""
    error = np.abs(got - error_bound.value)
    error[np.isnan(got) & np.isnan(error_bound.value)] = 0.0
    error[~np.isfinite(error)] = np.inf
    with np.errstate(over="ignore"):
        error_ratio = np.divide(
            error, error_bound.bound, out=np.where(error > 0, np.inf, 0.0), where=error_bound.bound > 0
        )
    return error_ratio, error


def _maps(what: str, axes: tuple[str, ...], error_ratio: Array, where: tuple[int, ...]) -> Iterator[Map]:
    leading = error_ratio.shape[:-2]
    if math.prod(leading) > 1:
        each = error_ratio.max((-2, -1)).reshape(leading[0], -1)
        yield _blocks(f"{what}: the worst of each batch element and head", ("batch", "head"), each)
    inside = ", ".join(f"{axis} {n}" for axis, n in zip(axes[:-2], where, strict=False))
    columns = "key" if what == "weights" or axes[-1] in ("Lk", "P") else "column"
    title = f"{what}" + (f" at {inside}" if inside else "")
    yield _blocks(title, ("row" if axes[-2] != "Lq" else "query", columns), error_ratio[where[:-2]])


def _blocks(title: str, names: tuple[str, str], error_ratio: Array) -> Map:
    """Return a matrix as a map, the largest of each block where there are too many rows or columns."""
    steps = [-(-length // most) for length, most in zip(error_ratio.shape, (ROWS, COLUMNS), strict=True)]
    for axis, step in enumerate(steps):
        error_ratio = np.maximum.reduceat(error_ratio, np.arange(0, error_ratio.shape[axis], step), axis=axis)
    rows, columns = ((name, step) for name, step in zip(names, steps, strict=True))
    return Map(title, rows, columns, tuple(tuple(map(float, row)) for row in error_ratio))


# --- in words


def text(item: Item, found: Replayed, *, drawn: bool) -> Iterator[str]:
    """Yield the lines that tell a replay. drawn: the terminal shows block characters."""
    yield f"{item.implementation.name} on {item.case.id}"
    for name, fact in found.facts:
        yield f"  {name:10} {fact}"
    for verdict in found.verdicts:
        where = f" at {list(verdict.where)}" if verdict.where and verdict.reason else ""
        error_ratio = (
            f" {verdict.error_ratio:.3g} of the error bound"
            if verdict.error_ratio is not None and not verdict.reason
            else ""
        )
        yield f"{verdict.status.upper()} {verdict.check}{where}{error_ratio}" + (
            f": {verdict.reason}" if verdict.reason else ""
        )
    worst = found.worst
    if worst:
        yield (
            f"worst element of the {worst.what} {list(worst.where)}: got {worst.got:.9g}, expected "
            f"{worst.expected:.9g}, |error| {worst.error:.3g}, error bound {worst.error_bound:.3g}, "
            f"error ratio {worst.error_ratio:.3g}"
        )
    if worst and worst.error_ratio > 1:
        for one in found.maps:
            yield from _drawing(one, MARKS[drawn])
        yield _legend(MARKS[drawn])
    elif worst:
        yield "no element exceeds its error bound, so there is no map to draw"
    for cause in found.causes:
        yield from (f"matches: {match}" for match in cause.matches)
        if cause.note:
            yield cause.note


def _drawing(one: Map, marks: str) -> Iterator[str]:
    (down, high), (across, wide) = one.rows, one.columns
    size = " by ".join(f"{n} {name}" for n, name in ((high, down), (wide, across)))
    blocks = f"; a mark is {size}" if high * wide > 1 else ""
    yield f"{one.title}: {down} down, {across} across{blocks}"
    for number, row in enumerate(one.values):
        yield f"  {number * high:4} |" + "".join(_mark(error_ratio, marks) for error_ratio in row) + "|"


def _mark(error_ratio: float, marks: str) -> str:
    if not math.isfinite(error_ratio):
        return "!"
    return marks[next((n for n, (limit, _) in enumerate(LEVELS) if error_ratio <= limit), len(LEVELS))]


def _legend(marks: str) -> str:
    told = [f"'{mark}' {words}" for mark, (_, words) in zip(marks, LEVELS, strict=False)]
    return "error ratio: " + ", ".join([*told, f"'{marks[len(LEVELS)]}' more", "'!' not finite or none allowed"])


def _can_draw() -> bool:
    return sys.stdout.isatty() and "utf" in (sys.stdout.encoding or "").lower()


def _plain(value: Any) -> Any:
    """Return JSON's own values."""
    if isinstance(value, dict):
        return {name: _plain(own) for name, own in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(own) for own in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
