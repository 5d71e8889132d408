"""Which options implementations declare, and what the checks found of each."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping

from attention_harness.model.case import Case
from attention_harness.model.errors import HarnessError
from attention_harness.model.support import Support, SupportTable
from attention_harness.model.verdict import NONCONFORMING, Status, Verdict
from attention_harness.options import capabilities, required


def table(declared: Mapping[str, Collection[str]], verdicts: Iterable[Verdict]) -> SupportTable:
    """Return what is declared and was found of every option, in the implementations that `declared` names.

    declared: implementation -> the options that it declares
    verdicts: each check once. A verdict counts for every option of its case; one whose case id this version cannot read
        counts for none.
    """
    counts: defaultdict[str, Counter[tuple[str, str]]] = defaultdict(Counter)
    needed: dict[str, tuple[str, ...]] = {}
    for verdict in verdicts:
        if kind := _counted_as(verdict):
            if verdict.case not in needed:
                needed[verdict.case] = _options_of(verdict.case)
            counts[verdict.implementation].update((option, kind) for option in needed[verdict.case])
    kinds = ("passed", "nonconforming", "known_failures")
    return {
        name: {
            option: Support(option in options, **{kind: counts[name][option, kind] for kind in kinds})
            for option in capabilities()
        }
        for name, options in declared.items()
    }


def _counted_as(verdict: Verdict) -> str:
    """Return as what a verdict counts; "" where nothing was checked, and for a pass that says nothing."""
    if verdict.status in NONCONFORMING:
        return "nonconforming"
    if verdict.uninformative:
        return ""
    return {Status.PASS: "passed", Status.KNOWN_FAILURE: "known_failures"}.get(verdict.status, "")


def _options_of(case: str) -> tuple[str, ...]:
    """Return the options of a case by its id."""
    try:
        return required(Case.from_id(case))
    except (HarnessError, KeyError, ValueError):  # a line of `declaration`, or an id of another version
        return ()
