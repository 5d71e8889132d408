"""What `check` prints at the end: counts of each implementation, its behaviours, and the sum that has to add up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from attention_harness.model import units
from attention_harness.model.causes import by_cause, cause
from attention_harness.model.printable import one_line, printable
from attention_harness.model.verdict import NONCONFORMING, NOT_CHECKED, Status, Verdict

_GROUPS = 4  # causes of failure, and reasons of what was not checked: so many for each implementation
_EXAMPLES = 3  # cases that are named of each cause
_LONGEST = 400  # characters of a reason


def conforms(verdicts: Iterable[Verdict]) -> bool:
    """Return whether a check said something, all of them conform, and nothing was left out that should be asked."""
    found = list(verdicts)
    informative = any(verdict.status not in NOT_CHECKED and not verdict.uninformative for verdict in found)
    return informative and {verdict.status for verdict in found}.isdisjoint((*NONCONFORMING, Status.NOT_ASKED))


def summary(verdicts: Sequence[Verdict], planned: int, implementations: Iterable[str] = ()) -> str:
    """Return the counts of each implementation, and the sum that has to add up; those named first keep their order."""
    by_name: dict[str, list[Verdict]] = {name: [] for name in implementations}
    for verdict in verdicts:
        by_name.setdefault(verdict.implementation, []).append(verdict)
    width = max(map(len, by_name), default=0)
    lines = [line for name, found in by_name.items() for line in _implementation(f"{name:{width}}", found)]
    total = Counter(verdict.status for verdict in verdicts)
    vacuous = sum(verdict.uninformative for verdict in verdicts)
    checked = total.total() - vacuous - sum(total[status] for status in NOT_CHECKED)
    always = (Status.UNSUPPORTED, Status.UNAVAILABLE)
    skipped = " + ".join(f"{total[status]} {status}" for status in NOT_CHECKED if total[status] or status in always)
    apart = f" + {vacuous} uninformative" if vacuous else ""
    lines.append(f"checked {checked}{apart} + {skipped} = {total.total()} of {planned} planned")
    if vacuous:
        lines.append(f"uninformative: {vacuous} passes that zeros or means would get too; --out and --json mark each")
    wrong = sum(total[status] for status in NONCONFORMING)
    if wrong:
        lines.append(f"does not conform: {wrong} of {checked}")
    elif missing := planned - total.total():
        lines.append(f"incomplete: {missing} planned verdicts are missing")
    elif not_asked := total[Status.NOT_ASKED]:
        lines.append(f"incomplete: {not_asked} not asked")
    else:
        lines.append("conforms" if checked else "nothing was checked")
    return printable("\n".join(lines))


def _implementation(name: str, verdicts: Sequence[Verdict]) -> Iterator[str]:
    """Yield a line of counts, then the most frequent causes of failure and reasons of what was not checked."""
    counts = Counter(verdict.status for verdict in verdicts)
    ratios = [v.error_ratio for v in verdicts if v.error_ratio is not None and v.status is not Status.KNOWN_FAILURE]
    worst = f"; worst error ratio {units.error_ratio(max(ratios))}" if ratios else ""
    vacuous = sum(verdict.uninformative for verdict in verdicts)
    apart = f" ({vacuous} uninformative)" if vacuous else ""
    yield f"{name}  " + ", ".join(f"{n} {status}" for status, n in counts.items()) + apart + worst
    failures = by_cause(verdict for verdict in verdicts if verdict.status in NONCONFORMING)
    for found in failures[:_GROUPS]:
        yield from _of_one_cause(found)
    yield from _others([len(found) for found in failures[_GROUPS:]], "causes")
    skipped = Counter((v.status, v.reason) for v in verdicts if v.status in NOT_CHECKED).most_common()
    yield from (f"    {n} {status}: {reason}" for (status, reason), n in skipped[:_GROUPS])
    yield from _others([n for _, n in skipped[_GROUPS:]], "reasons")


def _of_one_cause(failures: Sequence[Verdict]) -> Iterator[str]:
    """Yield how many failures have one cause, and the first of their cases."""
    first, (*_, what) = failures[0], cause(failures[0])
    checks = list(dict.fromkeys(verdict.check for verdict in failures))
    of_reason = what != f"check {first.check}"
    where = f" (of {len(checks)} checks)" if len(checks) > 1 else f" (check {first.check})"
    yield f"    {len(failures)} {first.status}: " + (one_line(first.reason)[:_LONGEST] + where if of_reason else what)
    cases = list(dict.fromkeys(verdict.case for verdict in failures))
    yield from (f"        {case}" for case in cases[:_EXAMPLES])
    if len(cases) > _EXAMPLES:
        yield f"        and {len(cases) - _EXAMPLES} more cases"


def _others(counts: Sequence[int], kind: str) -> Iterator[str]:
    if counts:
        yield f"    {sum(counts)} more, of {len(counts)} other {kind}; --out and --json have each"


def behaviours(verdicts: Iterable[Verdict]) -> str:
    """Return a table of implementation, behaviour, what was measured and is declared; "" when none was measured."""
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
    lines.append("Where nothing is declared, one thing alone is required: hidden finite numbers never matter.")
    return printable("\n".join(lines)) if len(rows) > 1 else ""
