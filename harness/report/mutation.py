"""What a report says of mutants, equivalent variants, and the smallest errors that cases can see."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence

from attention_harness.model.mutation_results import Power, Sensitivity
from attention_harness.report import words

KINDS = ("amplitude", "temperature", "weight", "dropped")
"""The errors of a `Sensitivity`."""
SENSITIVITY_HEADER = ("dtype", "content", "cases", "where weights matter", *KINDS)


def score(found: Power) -> str:
    """Return the mutation score, and what became of the equivalent variants, in a sentence each."""
    variants = words.counted(found.variants, "equivalent variant")
    return (
        f"{words.number(found.caught)} of {words.counted(found.planted, 'mutant')} killed, "
        f"{words.number(len(found.accused))} of {variants} accused, over {words.counted(found.checks, 'check')}. "
        "Of a mechanism: of the mutants that show there, those that a verdict there kills."
    )


def gaps(found: Power) -> dict[str, list[str]]:
    """Return what the suite did wrong, by name: nothing of it may be left out."""
    wrong = {
        "Survived": list(found.missed),
        "Accused, although equivalent": list(found.accused),
        "Killed in other mechanisms alone": [f"{mutant} in {mechanism}" for mechanism, mutant in found.unseen],
    }
    return {what: names for what, names in wrong.items() if names}


def score_table(found: Power) -> Iterator[list[str]]:
    """Yield for each class of mutants, and for all: its name, "killed of all", and the same in each mechanism."""
    for kind, by_mechanism in found.table.items():
        yield [kind, _of(found.mutants[kind]), *(_of(by_mechanism.get(name)) for name in found.mechanisms)]
    yield ["all", _of((found.caught, found.planted)), *map(_of, found.mechanisms.values())]


def _of(counts: tuple[int, int] | None) -> str:
    return words.NOTHING if counts is None else f"{counts[0]} of {counts[1]}"


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


def _thresholds(values: Sequence[float | None]) -> str:
    seen = [math.inf if value is None else value for value in values]
    both = (statistics.median_high(seen), max(seen)) if seen else ()
    return ", ".join("none" if math.isinf(value) else f"{value:.2g}" for value in both) or words.NOTHING
