"""A run -> all that its report says.

Nothing that was not run may look as if it had been: a cell without a verdict says so, verdicts are counted against the
plan, and a skipped check keeps its reason.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import msgspec

from attention_harness.model import mutation_results
from attention_harness.model.causes import by_cause
from attention_harness.model.run_facts import ImplementationFacts, RunFacts
from attention_harness.model.shared_facts import SharedFacts, shared_facts
from attention_harness.model.support import Support, SupportTable
from attention_harness.model.verdict import NONCONFORMING, NOT_CHECKED, Status, Verdict
from attention_harness.report import words
from attention_harness.report.compare.changes import compare
from attention_harness.report.compare.text import headline, limits, named
from attention_harness.report.content import choice, growth, payback, roofline, summary, timings
from attention_harness.report.content.disagreements import Disagreements, disagreements
from attention_harness.report.content.matrix import Matrix, MatrixCell, matrix
from attention_harness.report.content.mechanisms import Chapter, Mechanism, chapters
from attention_harness.store import Run

SEVERITY = (
    Status.CRASH,
    Status.TIMEOUT,
    Status.ERROR,
    Status.FAIL,
    Status.UNEXPECTED_PASS,
    Status.KNOWN_FAILURE,
    Status.PASS,
    Status.NOT_ASKED,
    Status.UNAVAILABLE,
    Status.UNSUPPORTED,
)
OTHERS = 12  # further cases that a group of failures names


@dataclass(frozen=True, slots=True)
class Headline:
    """The answer in a sentence. tone: good, bad or open. whole: everything that was planned is there."""

    word: str
    tone: str
    sentence: str
    sum: str
    warnings: tuple[str, ...]
    whole: bool


@dataclass(frozen=True, slots=True)
class Total:
    """What became of an implementation's checks. counts: status -> how many, for every status of the report."""

    implementation: str
    summary: str
    word: str
    tone: str
    counts: Mapping[str, int]
    worst: str


@dataclass(frozen=True, slots=True)
class Group:
    """Verdicts of one cause. `worst` is shown in full, others are named."""

    worst: Verdict
    count: int
    error_ratio: str
    error: str
    error_bound: str
    where: str
    checks: str
    mechanisms: str
    others: tuple[tuple[str, str], ...]
    unnamed: int

    @property
    def status(self) -> str:
        return self.worst.status.replace("_", " ")


@dataclass(frozen=True, slots=True)
class Changed:
    """What changed since a base run: in a few words, each named change, and what limits the comparison."""

    base: str
    headline: str
    rows: tuple[tuple[str, str, str, str], ...]
    limits: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Content:
    """All that a report shows: tables made of the run, and the run for what stands in it as it is shown.

    support      option -> what is known of it in each of `support_columns`; what none declares is left out
    behaviours   behaviour -> implementation -> its verdict; measured: those implementations
    verdicts     one for each check; cause: which of `failures`, then of `known`, each belongs to
    """

    run: Run
    verdicts: Sequence[Verdict]
    headline: Headline
    statuses: tuple[tuple[str, int], ...]
    totals: tuple[Total, ...]
    matrix: Matrix
    worst: tuple[MatrixCell, ...]
    support_columns: tuple[str, ...]
    support: Mapping[str, Sequence[Support]]
    measured: tuple[str, ...]
    behaviours: Mapping[str, Mapping[str, Verdict]]
    mutation_score: mutation_results.MutationScore | None
    by_rule: Mapping[str, tuple[mutation_results.Killed, mutation_results.Killed]]
    failures: tuple[Group, ...]
    shared: tuple[SharedFacts, ...]
    known: tuple[Group, ...]
    timing: timings.Timing
    sweeps: tuple[growth.Sweep, ...]
    fronts: tuple[growth.Front, ...]
    choices: tuple[choice.Choice, ...]
    fastest: tuple[choice.Fastest, ...]
    rooflines: tuple[roofline.Roofline, ...]
    paybacks: tuple[payback.Total, ...]
    chapters: tuple[Chapter, ...]
    machine: tuple[tuple[str, str], ...]
    dates: tuple[tuple[str, str], ...]
    disagreements: Disagreements
    lines: tuple[summary.Line, ...]
    unrun: tuple[summary.Unrun, ...]
    queries: tuple[tuple[str, str], ...]
    machines: tuple[str, ...]
    changed: Changed | None = None

    @property
    def mechanisms(self) -> list[Mechanism]:
        """Every mechanism, in the order of the chapters."""
        return [one for chapter in self.chapters for one in chapter.mechanisms]


def assemble(run: Run, support: SupportTable, base: Run | None = None) -> Content:
    """Return what the report of a run says, and what changed since a base run if there is one."""
    verdicts, different = settled(run.verdicts)
    twice = f"{words.counted(different, 'check')} ran twice, with different verdicts; the worst counts."
    answer = _headline(verdicts, run.facts, (*run.notes, *([twice] if different else [])))
    declared, mechanisms = run.facts.implementations, run.facts.mechanisms
    names = _union(declared, (v.implementation for v in verdicts), (m.implementation for m in run.measurements))
    formulas = _union(mechanisms, (v.mechanism for v in verdicts))
    table = matrix(verdicts, formulas, names)
    behaviours, tried = _behaviours(verdicts), run.outcomes or run.equivalence
    timed = timings.timing(run.measurements, verdicts)
    ranked = timed.rows
    present = [status for status in SEVERITY[::-1] if any(v.status is status for v in verdicts)]
    absent = ImplementationFacts()
    totals = tuple(_total(name, declared.get(name, absent), verdicts, present, answer.whole) for name in names)
    return Content(
        run=run,
        verdicts=verdicts,
        headline=answer,
        statuses=tuple((s.replace("_", " "), sum(v.status is s for v in verdicts)) for s in Status),
        totals=totals,
        matrix=table,
        worst=tuple(cell for _, cells in table.rows for cell in cells if cell.worst),
        support_columns=tuple(support),
        support=_support_rows(support),
        measured=tuple(_union(*behaviours.values())),
        behaviours=behaviours,
        mutation_score=mutation_results.count(run.outcomes, run.equivalence) if tried else None,
        by_rule=mutation_results.rule_totals(run.by_rule),
        failures=_groups([v for v in verdicts if v.status in NONCONFORMING]),
        shared=tuple(shared_facts(verdicts)),
        known=_groups([v for v in verdicts if v.status is Status.KNOWN_FAILURE]),
        timing=timed,
        sweeps=growth.sweeps(ranked),
        fronts=growth.fronts(ranked),
        choices=choice.choices(timed),
        fastest=choice.fastest(timed),
        rooflines=roofline.rooflines(ranked),
        paybacks=payback.totals(payback.paybacks(ranked)),
        chapters=chapters(formulas, mechanisms, run.heatmaps, table, answer.whole),
        machine=tuple(words.flattened(msgspec.to_builtins(run.facts.environment))),
        dates=tuple(_dates(run.facts)),
        disagreements=disagreements(verdicts),
        lines=tuple(_line(total, declared.get(total.implementation, absent), verdicts) for total in totals),
        unrun=summary.unrun(verdicts),
        queries=summary.queries(verdicts),
        machines=summary.machines(run.facts, run.machines),
        changed=_changed(base, run) if base else None,
    )


def _line(total: Total, about: ImplementationFacts, verdicts: Sequence[Verdict]) -> summary.Line:
    found = [v for v in verdicts if v.implementation == total.implementation]
    return summary.line(total.implementation, total.word, total.tone, found, total.worst, about.unavailable)


def _changed(base: Run, head: Run) -> Changed:
    changes = compare(base, head)
    confirm = "compare --confirm measures them again"
    return Changed(str(base.directory), headline(changes, confirm), tuple(named(changes)), tuple(limits(changes)))


def _support_rows(found: SupportTable) -> dict[str, list[Support]]:
    rows = {name: [of_one.get(name, Support(False)) for of_one in found.values()] for name in _union(*found.values())}
    return {name: row for name, row in rows.items() if any(one.declared for one in row)}


def _behaviours(verdicts: Sequence[Verdict]) -> dict[str, dict[str, Verdict]]:
    found: dict[str, dict[str, Verdict]] = {}
    for verdict in verdicts:
        name = verdict.check.removeprefix("behaviour.")
        if name != verdict.check:
            found.setdefault(name, {})[verdict.implementation] = verdict
    return found


def settled(verdicts: Iterable[Verdict]) -> tuple[list[Verdict], int]:
    """Return one verdict for each check, the worst if it ran twice, and how many had different verdicts.

    A benchmark checks again what it is to time; counted twice that would hide a check that was never run.
    """
    worst: dict[tuple[str, str, str], Verdict] = {}
    different = 0
    for verdict in verdicts:
        key = (verdict.implementation, verdict.case, verdict.check)
        earlier = worst.get(key)
        different += earlier is not None and earlier.status is not verdict.status
        if earlier is None or SEVERITY.index(verdict.status) < SEVERITY.index(earlier.status):
            worst[key] = verdict
    return list(worst.values()), different


def _headline(verdicts: Sequence[Verdict], facts: RunFacts, notes: Sequence[str]) -> Headline:
    counts, planned = Counter(v.status for v in verdicts), facts.planned
    vacuous = sum(v.uninformative for v in verdicts)
    checked = len(verdicts) - vacuous - sum(counts[status] for status in NOT_CHECKED)
    whole = planned == len(verdicts) and bool(facts.finished)
    plan = "of an unknown plan" if planned is None else f"but {words.number(planned)} were planned"
    plan = " planned" if planned == len(verdicts) else f", {plan}"
    terms = [f"{words.number(checked)} checked"]
    if vacuous:
        terms.append(f"{words.number(vacuous)} uninformative, which zeros or means would pass too")
    for status in NOT_CHECKED:
        if counts[status] or status is not Status.NOT_ASKED:
            terms.append(f"{words.number(counts[status])} {status.replace('_', ' ')}")
    return Headline(
        *_answer(verdicts, checked, counts[Status.KNOWN_FAILURE], whole),
        f"{' + '.join(terms)} = {words.number(len(verdicts))}{plan}",
        (*_gaps(len(verdicts), planned, bool(facts.finished)), *notes),
        whole,
    )


def _answer(verdicts: Sequence[Verdict], checked: int, known: int, whole: bool) -> tuple[str, str, str]:
    """Return the word, the tone and the sentence of the headline."""
    wrong = [v.implementation for v in verdicts if v.status in NONCONFORMING]
    upstream = f"; {words.counted(known, 'known upstream failure')} among them" if known else ""
    implementations = len({v.implementation for v in verdicts if v.status not in NOT_CHECKED})
    over = f"{words.counted(checked, 'check')} of {words.counted(implementations, 'implementation')}"
    if wrong:
        count, names = words.number(len(wrong)), words.listed(list(dict.fromkeys(wrong)))
        return "Does not conform", "bad", f"{count} of {over} went wrong{'' if whole else ' so far'}, in {names}."
    if not checked:
        return "Nothing was checked", "open", "Nothing is shown to conform."
    if not_asked := sum(v.status is Status.NOT_ASKED for v in verdicts):
        sentence = (
            f"{over} did not go wrong{upstream}, but {words.number(not_asked)} were not asked; the notes say why."
        )
        return "Not all was asked", "open", sentence
    if not whole:
        return "Incomplete", "open", f"{over} did not go wrong{upstream}, but the run is not whole, so it is no proof."
    return "Conforms", "good", f"{over}, none of them wrong{upstream}."


def _gaps(found: int, planned: int | None, finished: bool) -> Iterable[str]:
    if planned is None:
        yield "Incomplete: the run does not say how many verdicts were planned, so what is missing is not known."
    elif found < planned:
        yield (
            f"Incomplete: {words.number(planned - found)} of {words.number(planned)} planned verdicts are missing. "
            "What is missing was not run; a cell below may rest on a part of its checks."
        )
    elif found > planned:
        yield f"Inconsistent: {words.number(found)} verdicts, but {words.number(planned)} were planned."
    if not finished:
        yield "Incomplete: the run has not recorded its end. It was interrupted, or is still going on."


def _total(
    name: str, about: ImplementationFacts, verdicts: Sequence[Verdict], present: Sequence[Status], whole: bool
) -> Total:
    found = [v for v in verdicts if v.implementation == name]
    counts = Counter(v.status for v in found)
    if len(found) == sum(counts[status] for status in NOT_CHECKED):
        word, tone = ("not checked" if found else "not run"), "open"
    elif any(counts[status] for status in NONCONFORMING):
        word, tone = "does not conform", "bad"
    else:
        word, tone = ("conforms", "good") if whole else ("none wrong so far", "open")
        if counts[Status.NOT_ASKED]:
            word, tone = "not all asked", "open"
    measured = [v.error_ratio for v in found if v.error_ratio is not None and v.status is not Status.KNOWN_FAILURE]
    absent = f"Unavailable on this machine: {about.unavailable}" if about.unavailable else ""
    shown = {status.replace("_", " "): counts[status] for status in present}
    if any(v.uninformative for v in verdicts):
        vacuous = sum(v.uninformative for v in found)
        shown = {"uninformative": vacuous} | shown | {"pass": counts[Status.PASS] - vacuous}
    worst = words.error_ratio(max(measured, key=words.worse, default=None))
    return Total(name, " ".join(filter(None, (about.summary, absent))), word, tone, shown, worst)


def _groups(verdicts: Iterable[Verdict]) -> tuple[Group, ...]:
    """Return the verdicts by cause, each cause with its worst first. The most frequent cause comes first."""
    causes = [sorted(found, key=lambda v: -words.worse(v.error_ratio)) for found in by_cause(verdicts)]
    causes.sort(key=lambda found: (-len(found), -words.worse(found[0].error_ratio)))
    return tuple(map(_group, causes))


def _group(kind: Sequence[Verdict]) -> Group:
    worst, *rest = kind
    error_bound = worst.error / worst.error_ratio if worst.error is not None and worst.error_ratio else None
    return Group(
        worst=worst,
        count=len(kind),
        error_ratio=words.error_ratio(worst.error_ratio),
        error=words.amount(worst.error),
        error_bound=words.amount(error_bound if error_bound is None or 0 <= error_bound < float("inf") else None),
        where=f"output[{', '.join(map(str, worst.where))}]" if worst.where is not None else words.NOTHING,
        checks=words.listed(_union(verdict.check for verdict in kind)),
        mechanisms=words.listed(_union(verdict.mechanism for verdict in kind)),
        others=tuple((v.case, words.error_ratio(v.error_ratio)) for v in rest[:OTHERS]),
        unnamed=max(0, len(rest) - OTHERS),
    )


def _dates(facts: RunFacts) -> Iterable[tuple[str, str]]:
    started, finished = (facts.started, facts.finished or "")
    yield "started", started or "not recorded"
    yield "finished", finished or "not recorded"
    try:
        took = (datetime.fromisoformat(finished) - datetime.fromisoformat(started)).total_seconds()
    except (ValueError, TypeError):  # absent, or one with and one without a time zone
        took = None
    if took is not None:
        yield "took", words.seconds(took)
    yield "tier", words.plain(facts.tier)


def _union(*names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(name for group in names for name in group))
