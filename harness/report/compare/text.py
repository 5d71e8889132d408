"""Changes -> text for a terminal, and Markdown for a pull request: short, the rest counted or folded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from attention_harness.report import words
from attention_harness.report.compare.changes import NEWLY_WRONG, Changes, CostChange

Row = tuple[str, str, str, str]
"""A change in words: its kind, the implementation, where, and what changed."""

_NAMED = (NEWLY_WRONG, "new and wrong", "otherwise wrong", "newly right")  # the other kinds of verdicts are counted
_SHOWN = 10  # lines of a kind in a terminal, and rows that stand open in Markdown
RULES = (
    "An error ratio counts where it moved by more than 2 times and by more than 0.1; a time where its "
    "ratio to the baseline moved by more than 5 % beyond both intervals; a peak by more than 10 % and 4 MiB. A time "
    "or a peak is a regression only when it was measured again and agrees."
)


def text(changes: Changes, confirm: str) -> str:
    """Return the changes as lines; `confirm` is what to do about suspects."""
    lines, kinds = [headline(changes, confirm)], dict[str, list[Row]]()
    for row in named(changes):
        kinds.setdefault(row[0], []).append(row)
    for kind, found in kinds.items():
        lines.append(f"{kind}: {len(found)}")
        lines += [f"  {implementation}, {where}: {what}" for _, implementation, where, what in found[:_SHOWN]]
        if len(found) > _SHOWN:
            lines.append(f"  {len(found) - _SHOWN} more; --markdown and --json have all")
    return "\n".join([*lines, *limits(changes)])


def markdown(changes: Changes, confirm: str) -> str:
    """Return the changes for a pull request's comment."""
    parts, rows = [f"**attention-harness: {headline(changes, confirm)}**"], named(changes)
    if rows:
        parts.append(_table(rows[:_SHOWN]))
    if rows[_SHOWN:]:
        parts.append(_folded(f"{len(rows) - _SHOWN} more changes", _table(rows[_SHOWN:])))
    parts.append(_folded("What was compared, and the rules", "\n".join(limits(changes))))
    return "\n\n".join(parts) + "\n"


def headline(changes: Changes, confirm: str) -> str:
    """Return the answer in a few words."""
    if count := len(changes.regressions):
        return words.counted(count, "regression")
    if suspected := sum(one.worse for one in changes.suspects):
        return f"no confirmed regression; {suspected} suspected: {confirm}"
    if changes.unconfirmed:
        return f"no confirmed regression; {len(changes.unconfirmed)} could not be confirmed"
    if not any(changes.compared.values()):
        return "nothing could be compared"
    untold = not changes.compared["times"] and (changes.barriers or changes.refused)
    return "no regression in verdicts; no time could be compared" if untold else "no regression"


def named(changes: Changes) -> list[Row]:
    """Return what is named, the most urgent first."""
    verdicts = sorted((one for one in changes.verdicts if one.kind in _NAMED), key=lambda one: _NAMED.index(one.kind))
    rows = [
        (one.kind, one.implementation, f"{one.check}, {one.case}", f"{one.before or '-'} -> {one.after}; {one.reason}")
        for one in verdicts
    ]
    rows += map(_cost, changes.costs)
    for moved in sorted(changes.accuracy, key=lambda one: one.before - one.after):
        kind = "less accurate" if moved.after > moved.before else "more accurate"
        what = f"error ratio {moved.before:.3g} -> {moved.after:.3g}"
        rows.append((kind, moved.implementation, f"{moved.check}, {moved.case}", what))
    return rows


def _cost(one: CostChange) -> Row:
    where = one.workload if one.direction == "forward" else f"{one.workload}, {one.direction}"
    where += f", {one.threads} threads" if one.threads > 1 else ""
    state = f" ({one.state}{', ' + one.reason if one.reason else ''})"
    if one.quantity == "memory":
        what = f"{words.size(one.before)} -> {words.size(one.after)}{state}"
        return "more memory" if one.worse else "less memory", one.implementation, where, what
    around = f"[{one.low - 1:+.1%}, {one.high - 1:+.1%}]" if one.low is not None and one.high is not None else ""
    what = f"{one.change - 1:+.1%} {around}, ratio to the baseline {one.before:.3f} -> {one.after:.3f}{state}"
    return "slower" if one.worse else "faster", one.implementation, where, what


def limits(changes: Changes) -> list[str]:
    """Return what was compared and what was not, kinds of changes that are counted alone, and the rules."""
    compared = changes.compared
    counts = Counter((one.kind, one.implementation) for one in changes.verdicts if one.kind not in _NAMED)
    lines = [f"{kind}: {count} of {implementation}" for (kind, implementation), count in counts.items()]
    lines.append(f"compared: {compared['verdicts']} verdicts, {compared['times']} times, {compared['peaks']} peaks")
    if changes.barriers:
        lines.append("times and memory are NOT compared: " + "; ".join(changes.barriers))
    lines += [f"{count} times not compared: {why}" for why, count in changes.refused.items()]
    return [*lines, *changes.notes, RULES]


def _table(rows: Sequence[Row]) -> str:
    lines = ["| change | implementation | where | what |", "|---|---|---|---|"]
    return "\n".join([*lines, *("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows)])


def _folded(summary: str, body: str) -> str:
    return f"<details><summary>{summary}</summary>\n\n{body}\n\n</details>"
