"""Who may be timed: what does not conform on a case is refused with its verdict, the baseline like all others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from harness import execution
from harness.conformance import plan
from harness.registry import Implementation
from harness.results import Writer
from harness.values import NONCONFORMING, NOT_CHECKED, Case, Status, Verdict

Refusals = dict[tuple[str, str], str]
_NOT_TIMED = (*NONCONFORMING, *NOT_CHECKED, Status.KNOWN_FAILURE)


def refusals(
    implementations: Sequence[Implementation],
    cases: Iterable[Case],
    load: Sequence[Path] = (),
    *,
    tell: Callable[[Verdict], None] = lambda verdict: None,
    writer: Writer | None = None,
) -> Refusals:
    """Return (implementation, case id) -> "" or the first verdict for which it must not be timed, in every check."""
    found: Refusals = {}
    for item, verdicts in execution.run(plan(implementations, cases), load=load):
        if writer:
            writer.add(*verdicts)
        key = (item.implementation.name, item.case.id)
        for verdict in verdicts:
            bad = verdict.status in _NOT_TIMED
            if bad and verdict.status not in NOT_CHECKED:
                tell(verdict)
            found[key] = found.get(key) or (f"{verdict.status}: {verdict.check}: {verdict.reason}" if bad else "")
    return found


def gate(found: Refusals) -> Callable[[Implementation, Case, str], str]:
    """Return the gate of `cells.run` that lets through what was checked and conforms."""
    return lambda implementation, case, direction: found.get((implementation.name, case.id), "it was not checked")
