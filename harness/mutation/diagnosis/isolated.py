"""The diagnosis of a run: what failed is diagnosed in a worker process, so that no implementation ends the run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from attention_harness.bounds import PAIRS
from attention_harness.cases.ids import parse
from attention_harness.checks.behaviour.visibility import OTHER
from attention_harness.checks.size import is_large
from attention_harness.execution import pool
from attention_harness.execution.lost import Lost
from attention_harness.execution.worker import apart
from attention_harness.model.case import Case
from attention_harness.model.diagnosis import Diagnosis
from attention_harness.model.errors import describe
from attention_harness.model.verdict import NONCONFORMING, Status, Verdict
from attention_harness.mutation.diagnosis.search import Found, diagnose

_LIMIT = 120.0
"""Seconds after which a diagnosis is given up; one case of a compiled function may take long."""


def diagnose_run(
    verdicts: Iterable[Verdict], load: Sequence[Path] = (), further: Iterable[Case] = (), memory: int = 0
) -> Iterator[Diagnosis]:
    """Yield a diagnosis for each implementation that failed.

    load: the files given to `--load`. further: cases to tell mutants apart by. memory: limit of the worker, in bytes.
    """
    ids = tuple(case.id for case in further)  # a worker would compute the matrix again
    by_implementation: dict[str, list[Verdict]] = {}
    for verdict in verdicts:
        if verdict.status in NONCONFORMING:
            by_implementation.setdefault(verdict.implementation, []).append(verdict)
    for name, failures in by_implementation.items():
        wrong = [verdict for verdict in failures if verdict.status in (Status.FAIL, Status.ERROR)]
        small = [verdict for verdict in wrong if not is_large(parse(verdict.case))]
        note, others = _known_causes(failures, small)
        if wrong and not small:
            yield Diagnosis(name, (), f"not diagnosed: it fails on more than {PAIRS:,} scores alone, too many to try")
        elif others:
            yield _in_worker(name, others, load, ids, memory, note)
        elif note:
            yield Diagnosis(name, (), note)


def _known_causes(failures: Sequence[Verdict], small: Sequence[Verdict]) -> tuple[str, list[Verdict]]:
    """Return what is said of the failures without a mutant, or "", and those that mutants may explain."""
    notes = []
    lost = next((verdict.status for verdict in failures if verdict.status in (Status.CRASH, Status.TIMEOUT)), None)
    if lost:
        notes.append(f"it also ends in a {lost}, which no mutant explains: replay such a case")
    others = []
    for verdict in small:
        if verdict.check == "behaviour.fully_masked_rows" and verdict.finding and OTHER not in verdict.finding:
            promise = f"a row that sees no key is {verdict.finding} and declared {verdict.declared}"
            notes.append(f"{promise}: mend one or the other")
        else:
            others.append(verdict)
    return "; ".join(notes), others


def _in_worker(
    name: str, failures: Sequence[Verdict], load: Sequence[Path], further: tuple[str, ...], memory: int, note: str
) -> Diagnosis:
    arguments = (name, tuple(load), tuple(failures), further, not note)
    try:
        found = pool.run_alone(_work, *arguments, seconds=_LIMIT, memory=memory)
    except Lost as lost:
        return Diagnosis(name, (), "; ".join(filter(None, (note, f"not diagnosed: {lost}"))))
    except Exception as error:  # raised in the worker: the verdicts stand without a diagnosis
        return Diagnosis(name, (), "; ".join(filter(None, (note, f"not diagnosed: {describe(error)}"))))
    return Diagnosis(name, found.matches, note, found.mutants, found.cases, found.out_of_time)


def _work(
    name: str, load: tuple[Path, ...], failures: tuple[Verdict, ...], further: tuple[str, ...], neighbours: bool
) -> Found:
    cases = list(map(parse, further))
    return diagnose(apart(name, load), failures, further=cases, neighbours=neighbours)
