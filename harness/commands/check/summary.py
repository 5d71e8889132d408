"""What `check` prints at the end: counts of each implementation, its behaviours, and the sum that has to add up."""

from __future__ import annotations

from collections.abc import Iterable

from attention_harness.commands.tally import Tally
from attention_harness.model import units
from attention_harness.model.printable import printable
from attention_harness.model.verdict import NONCONFORMING, NOT_CHECKED, Status, Verdict

_REASONS = 4  # why something was not checked: so many for each implementation


def summary(counted: Tally, planned: int) -> str:
    """Return one line for each implementation, and the sum that has to add up."""
    lines = []
    width = max(map(len, counted.counts), default=0)
    for name, count in counted.counts.items():
        error_ratio = f"; worst error ratio {units.error_ratio(counted.worst[name])}" if name in counted.worst else ""
        lines.append(f"{name:{width}}  " + ", ".join(f"{n} {status}" for status, n in count.items()) + error_ratio)
        own = [(n, status, reason) for (who, status, reason), n in counted.reasons.most_common() if who == name]
        lines += [f"    {n} {status}: {reason}" for n, status, reason in own[:_REASONS]]
        if len(own) > _REASONS:
            rest = sum(n for n, _, _ in own[_REASONS:])
            lines.append(f"    {rest} more, for {len(own) - _REASONS} other reasons; --out and --json keep each")
    total = counted.total
    skipped = " + ".join(f"{total[status]} {status}" for status in NOT_CHECKED)
    lines.append(f"checked {counted.checked} + {skipped} = {total.total()} of {planned} planned")
    bad = sum(total[status] for status in NONCONFORMING)
    if counted.checked == 0:
        lines.append("nothing was checked")
    else:
        whole = bad == 0 and total.total() == planned
        lines.append("conforms" if whole else f"does not conform: {bad} of {counted.checked}")
    return printable("\n".join(lines))


def behaviours(verdicts: Iterable[Verdict]) -> str:
    """Return a table for each implementation: behaviour, what was measured and is declared; "" when none was asked."""
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
    lines.append("Where nothing is claimed nothing is required, but that hidden finite numbers never matter.")
    return printable("\n".join(lines)) if len(rows) > 1 else ""


def drawn(seed: int, count: int) -> str:
    """Return the line that says which cases were drawn, and how to go on."""
    return f"fuzz: {count} cases of seed {seed}; the same and as many more: --seed {seed} --fuzz {2 * count}"
