"""Which options each implementation declares, and what the checks found of each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from attention_harness.model.case import Case
from attention_harness.model.errors import HarnessError
from attention_harness.model.run_facts import Support
from attention_harness.model.verdict import NONCONFORMING, Status, Verdict
from attention_harness.options import capabilities, required
from attention_harness.registry import Declared

Table = dict[str, dict[str, Support]]
"""Implementation -> option, under the name by which it is declared -> what is known of it."""


def table(implementations: Iterable[Declared], verdicts: Iterable[Verdict]) -> Table:
    """Return what is declared and was found of every option. A verdict counts for each option that its case has."""
    counts: dict[str, Counter[tuple[str, str]]] = {}
    needed: dict[str, tuple[str, ...]] = {}
    for verdict in verdicts:
        if kind := _kind(verdict.status):
            if verdict.case not in needed:
                needed[verdict.case] = _options_of(verdict.case)
            found = counts.setdefault(verdict.implementation, Counter())
            found.update((option, kind) for option in needed[verdict.case])
    return {
        one.name: {
            option: Support(
                option in one.capabilities.options,
                **{kind: counts.get(one.name, Counter())[option, kind] for kind in ("passed", "wrong", "known")},
            )
            for option in capabilities()
        }
        for one in implementations
    }


def _kind(status: Status) -> str:
    """Return as what a verdict counts; "" where nothing was checked."""
    if status in NONCONFORMING:
        return "wrong"
    return {Status.PASS: "passed", Status.KNOWN_FAILURE: "known"}.get(status, "")


def _options_of(case: str) -> tuple[str, ...]:
    """Return the options of a case by its id; none where the id is of another version and cannot be read."""
    try:
        return required(Case.from_id(case))
    except (HarnessError, KeyError, ValueError):
        return ()
