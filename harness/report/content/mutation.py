"""What a report says of mutants, equivalent variants, and the smallest errors that cases can see."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence

from attention_harness.model.mutation_results import KINDS, Killed, MutationScore, Sensitivity
from attention_harness.report import words

SENSITIVITY_HEADER = ("dtype", "content", "cases", "where weights matter", *KINDS)


def score(found: MutationScore) -> str:
    """Return the mutation score, and what became of the equivalent variants, in a sentence each."""
    variants = words.counted(found.variants, "equivalent variant")
    return (
        f"{words.number(found.mutants.killed)} of {words.counted(found.mutants.of, 'mutant')} killed, "
        f"{words.number(len(found.accused))} of {variants} accused, over {words.counted(found.checks, 'check')}. "
        "Of a mechanism: of the mutants that show there, those that a verdict there kills."
    )


def score_lines(found: MutationScore) -> Iterator[str]:
    """Yield the killed mutants by class and by mechanism, and every survivor and every accused variant by name."""
    yield from (f"{name:14} {one.killed:4} of {one.of:4} killed" for name, one in found.classes.items())
    yield from (f"{name:20} {one.killed:4} of {one.of:4} that show there" for name, one in found.mechanisms.items())
    yield from (f"NOT KILLED in {one.mechanism}, only elsewhere: {one.mutant}" for one in found.killed_elsewhere)
    yield from (f"SURVIVED {mutant}" for mutant in found.survived)
    yield from (f"ACCUSED {name}, an equivalent variant" for name in found.accused)
    yield f"killed {found.mutants} mutants in {found.mutant_checks} checks"
    yield f"accused {len(found.accused)} of {found.variants} equivalent variants in {found.variant_checks} checks"


def generalisation_lines(found: MutationScore) -> Iterator[str]:
    """Yield the mutants that are killed by family, each judged by cases that were not written for it; and survivors."""
    for name, one in found.classes.items():
        yield f"{name:14} {one.killed:4} of {one.of:4} killed unseen, {one.share:7.1%}"
    yield from (f"SURVIVED UNSEEN {mutant}" for mutant in found.survived)
    yield f"killed {found.mutants} mutants, {found.mutants.share:.1%}, each without the cases written for its family"


def rule_lines(totals: Mapping[str, tuple[Killed, Killed]], cites: Mapping[str, str]) -> Iterator[str]:
    """Yield by rule the mutants that it kills, the equivalent variants that it accuses, and where it is published."""
    yield f"{'rule':18} {'mutants killed':>16} {'variants accused':>18}"
    yield from (f"{rule:18} {killed!s:>16} {accused!s:>18}" for rule, (killed, accused) in totals.items())
    yield from (f"{rule}: {text}" for rule, text in cites.items())


def gaps(found: MutationScore) -> dict[str, list[str]]:
    """Return what the suite did wrong, by name: nothing of it may be left out."""
    wrong = {
        "Survived": list(found.survived),
        "Accused, although equivalent": list(found.accused),
        "Killed in other mechanisms alone": [f"{one.mutant} in {one.mechanism}" for one in found.killed_elsewhere],
    }
    return {what: names for what, names in wrong.items() if names}


def score_table(found: MutationScore) -> Iterator[list[str]]:
    """Yield for each class of mutants, and for all: its name, "killed of all", and the same in each mechanism."""
    for kind, by_mechanism in found.table.items():
        yield [kind, _of(found.classes[kind]), *(_of(by_mechanism.get(name)) for name in found.mechanisms)]
    yield ["all", _of(found.mutants), *map(_of, found.mechanisms.values())]


def _of(counts: Killed | None) -> str:
    return str(counts or words.NOTHING)


def sensitivity_table(found: Sequence[Sensitivity]) -> Iterator[list[str]]:
    """Yield by dtype, and by content within each: how many cases, in how many weights matter, and by kind the smallest
    error that is seen, as median and worst of the cases that know such an error.
    """
    groups: dict[tuple[str, str], list[Sensitivity]] = {}
    for one in found:
        for content in ("all", one.content.partition(".")[0]):
            groups.setdefault((one.dtype, content), []).append(one)
    for dtype, content in sorted(groups, key=lambda group: (group[0], group[1] != "all", group[1])):
        cases = groups[dtype, content]
        weighing = [one for one in cases if one.keys >= 2]
        cells = (_thresholds([getattr(one, k) for one in (cases if k == "amplitude" else weighing)]) for k in KINDS)
        yield [dtype, content, str(len(cases)), str(len(weighing)), *cells]


def sensitivity_lines(found: Sequence[Sensitivity], inherent: Sequence[str]) -> Iterator[str]:
    """Yield the table of thresholds, and every case that sees nothing useful. inherent: reasons that are no defect."""
    yield f"{'smallest error seen: median, worst':47}" + "".join(f"{kind:>22}" for kind in KINDS)
    for dtype, content, cases, weighing, *cells in sensitivity_table(found):
        yield f"{dtype:9} {content:14} {cases:>4} cases {weighing:>4} weigh " + "".join(f"{c:>22}" for c in cells)
    yield from (f"uninformative: {one.case}: zeros or means would pass" for one in found if one.uninformative)
    weak = [one for one in found if one.weak]
    yield from (f"weak: {one.case}: {one.weak}" for one in weak)
    about_lengths = sum(one.weak in inherent for one in weak)
    yield f"weak: {len(weak)} of {len(found)} cases, {about_lengths} of them since they are about lengths and masks"


def _thresholds(values: Sequence[float | None]) -> str:
    seen = [math.inf if value is None else value for value in values]
    both = (statistics.median_high(seen), max(seen)) if seen else ()
    return ", ".join("none" if math.isinf(value) else f"{value:.2g}" for value in both) or words.NOTHING
