"""One case again: every check's verdict, where the errors lie, what went in, and what may have caused them.

The implementation runs in a worker process with a time limit, so that a crash is reported with its signal.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from attention_harness import registry
from attention_harness.cases import inputs
from attention_harness.cases.ids import parse
from attention_harness.checks import CHECKS
from attention_harness.commands import console
from attention_harness.commands.replay.error_map import MARKS, Map, Worst, drawing, legend, picture
from attention_harness.commands.replay.script import SAVED, need_new_file, save
from attention_harness.execution import declarations, pool
from attention_harness.execution.limits import ITEM_SECONDS
from attention_harness.execution.lost import Lost
from attention_harness.execution.plan import Item, plan_item
from attention_harness.execution.run import run_checks
from attention_harness.execution.runner import lost_verdicts
from attention_harness.execution.worker import apart, verdicts_apart
from attention_harness.model import units
from attention_harness.model.case import Case
from attention_harness.model.diagnosis import Diagnosis
from attention_harness.model.printable import printable
from attention_harness.model.verdict import NONCONFORMING, NOT_CHECKED, Verdict
from attention_harness.mutation.diagnosis import diagnose_run
from attention_harness.store.encoding import document

DRAWN = frozenset({"accuracy", "weights", "example"})  # what judges the elements that a map shows


@dataclass(frozen=True, slots=True)
class Replayed:
    """What a replay found. facts: of each input, in words."""

    verdicts: tuple[Verdict, ...]
    facts: tuple[tuple[str, str], ...] = ()
    worst: Worst | None = None
    maps: tuple[Map, ...] = ()
    causes: tuple[Diagnosis, ...] = ()


def replay(options: argparse.Namespace) -> int:
    """Run one case again, print and save; 0 when it was checked and conforms."""
    [chosen] = declarations.select([options.implementation], options.load)
    item = plan_item(chosen, parse(options.case))
    selected = _with_check(item, options.check)
    if options.save:
        need_new_file(options.save)
    seconds = options.timeout or ITEM_SECONDS
    found = run(selected, options.load, seconds=seconds, memory=options.memory)
    if not options.no_diagnosis:
        found = replace(found, causes=tuple(diagnose_run(found.verdicts, options.load, memory=options.memory)))
    if options.json:
        print(document(found))
    else:
        print(printable("\n".join(text(item, found, drawn=_can_draw()))))
    if options.save:
        save(options.save, chosen, item.case, options.check or _to_save(found.verdicts))
        console.line(f"wrote {options.save}")
    statuses = {verdict.status for verdict in found.verdicts}
    return 0 if statuses - set(NOT_CHECKED) and not statuses & set(NONCONFORMING) else 1


def _with_check(item: Item, name: str | None) -> Item:
    """Return the item with one check alone, if one is named."""
    checks = tuple(check for check in item.checks if name in (None, check.name))
    if not checks:
        if name not in [check.name for check in CHECKS]:
            raise registry.unknown("check", str(name), [check.name for check in CHECKS])
        raise registry.unknown("check of this case", str(name), [check.name for check in item.checks])
    return Item(item.implementation, item.case, checks, item.skip)


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
        arguments = (item.implementation.name, tuple(load), item.case.id, names)
        return pool.run_alone(_work, *arguments, seconds=seconds + item.allowance, memory=memory)
    except Lost as lost:
        return Replayed(tuple(lost_verdicts(item, lost)), tuple(_facts(item.case)))


def _work(name: str, load: tuple[Path, ...], case_id: str, checks: tuple[str, ...]) -> Replayed:
    one = apart(name, load)
    item = plan_item(one, parse(case_id))
    selected = tuple(check for check in item.checks if check.name in checks)
    verdicts = tuple(verdicts_apart(Item(item.implementation, item.case, selected, item.skip), one))
    try:
        facts = tuple(_facts(item.case))
        worst, maps = picture(apart(name, load).subject(item.case)) if DRAWN.intersection(checks) else (None, ())
    except MemoryError:  # a verdict says so, also of what follows
        facts, worst, maps = (), None, ()
    except Exception:  # it raises
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
    yield "content", f"{case.content}, {case.layout} in memory, draw {case.draw}"
    yield "options", ", ".join(f"{name} {value}" for name, value in case.options.items()) or "none"


# --- in words


def text(item: Item, found: Replayed, *, drawn: bool) -> Iterator[str]:
    """Yield the lines of a replay. drawn: the terminal shows block characters."""
    yield f"{item.implementation.name} on {item.case.id}"
    for name, fact in found.facts:
        yield f"  {name:10} {fact}"
    for verdict in found.verdicts:
        where = f" at {list(verdict.where)}" if verdict.where and verdict.reason else ""
        what = f": {verdict.reason or verdict.finding}"
        if not verdict.reason and not verdict.finding:
            what = "" if verdict.error_ratio is None else f", error ratio {units.error_ratio(verdict.error_ratio)}"
        yield f"{verdict.status.upper()} {verdict.check}{where}{what}"
    worst = found.worst
    if worst:
        yield (
            f"worst element of the {worst.what} {list(worst.where)}: got {worst.got:.9g}, expected "
            f"{worst.expected:.9g}, |error| {worst.error:.3g}, error bound {worst.error_bound:.3g}, "
            f"error ratio {units.error_ratio(worst.error_ratio)}"
        )
    if worst and worst.error_ratio > 1:
        for one in found.maps:
            yield from drawing(one, MARKS[drawn])
        yield legend(MARKS[drawn])
    elif worst:
        yield "no element exceeds its error bound, so there is no map to draw"
    for cause in found.causes:
        yield from cause.lines


def _can_draw() -> bool:
    return sys.stdout.isatty() and "utf" in (sys.stdout.encoding or "").lower()
