"""Changes -> text for a terminal, and Markdown for a pull request: short, the rest folded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from attention_harness.report import words
from attention_harness.report.changes import NEWLY_WRONG, AccuracyChange, Changes, CostChange, VerdictChange

_ORDER = (NEWLY_WRONG, "new and wrong", "otherwise wrong", "newly right")
_SHOWN = 10  # rows of a table that stand open in Markdown, and lines of a kind in a terminal
RULES = (
    "An error ratio counts where it moved by more than 2 times and by more than 0.1; a time where its "
    "ratio to the baseline moved by more than 5 % beyond both intervals; a peak by more than 10 % and 4 MiB. A time "
    "or a peak is a regression only when it was measured again and agrees."
)


def text(changes: Changes, confirm: str) -> str:
    """Return the changes as lines; `confirm` is what to do about suspects."""
    lines = [_verdict_line(changes, confirm)]
    for kind, found in _by_kind(changes.verdicts).items():
        lines.append(f"{kind}: {len(found)}")
        if kind in _ORDER:
            lines += [f"  {_named(one)}: {one.before or '-'} -> {one.after}; {one.reason}" for one in found[:_SHOWN]]
            lines += _more(len(found))
        else:
            counts = Counter(one.implementation for one in found)
            lines += [f"  {name}: {count}" for name, count in counts.most_common(_SHOWN)]
            lines += _more(len(counts))
    lines += [f"{_accuracy(one)}: {_named(one)}" for one in _worst(changes.accuracy)[:_SHOWN]]
    lines += _more(len(changes.accuracy))
    lines += [f"{_cost(one)}: {one.implementation} on {_cell(one)}" for one in changes.costs]
    lines += _limits(changes)
    return "\n".join(lines)


def _more(count: int) -> list[str]:
    """Return the line that counts what is not shown, if anything is left out."""
    return [f"  {count - _SHOWN} more; --markdown and --json have all"] if count > _SHOWN else []


def markdown(changes: Changes, confirm: str) -> str:
    """Return the changes for a pull request's comment."""
    parts = [f"**attention-harness: {_verdict_line(changes, confirm)}**"]
    urgent = [one for kind in _ORDER for one in changes.verdicts if one.kind == kind]
    rows = [
        (one.kind, f"`{one.implementation}`", f"{one.check} on `{one.case}`", f"{one.before or '-'} → {one.after}")
        for one in urgent
    ]
    rows += [(_cost_word(one), f"`{one.implementation}`", _cell(one), _cost(one)) for one in changes.costs]
    rows += [
        ("accuracy", f"`{one.implementation}`", f"{one.check} on `{one.case}`", _accuracy(one))
        for one in _worst(changes.accuracy)
    ]
    if rows:
        parts.append(_table(rows[:_SHOWN]))
    if rows[_SHOWN:]:
        parts.append(_folded(f"{len(rows) - _SHOWN} more changes", _table(rows[_SHOWN:])))
    quiet = [(kind, len(found)) for kind, found in _by_kind(changes.verdicts).items() if kind not in _ORDER]
    counted = "; ".join(f"{count} {kind}" for kind, count in quiet)
    parts.append(_folded("What was compared, and the rules", "\n".join(filter(None, [counted, *_limits(changes)]))))
    return "\n\n".join(parts) + "\n"


def _verdict_line(changes: Changes, confirm: str) -> str:
    count = len(changes.regressions)
    if count:
        return f"{count} regression{'s' if count > 1 else ''}"
    worse = [one for one in changes.suspects if one.worse]
    if worse:
        return f"no confirmed regression; {len(worse)} suspected: {confirm}"
    if open_ones := changes.unconfirmed:
        return f"no confirmed regression; {len(open_ones)} could not be confirmed"
    compared = changes.compared
    if not any(compared.values()):
        return "nothing could be compared"
    untold = not compared["times"] and (changes.barriers or changes.refused)
    return "no regression in verdicts; no time could be compared" if untold else "no regression"


def _by_kind(verdicts: Iterable[VerdictChange]) -> dict[str, list[VerdictChange]]:
    found: dict[str, list[VerdictChange]] = {}
    for one in verdicts:
        found.setdefault(one.kind, []).append(one)
    first = [kind for kind in _ORDER if kind in found]
    return {kind: found[kind] for kind in (*first, *sorted(set(found) - set(first)))}


def _worst(accuracy: Sequence[AccuracyChange]) -> list[AccuracyChange]:
    return sorted(accuracy, key=lambda one: one.before - one.after)


def _named(one: VerdictChange | AccuracyChange) -> str:
    return f"{one.implementation}, {one.check}, {one.case}"


def _accuracy(one: AccuracyChange) -> str:
    word = "less accurate" if one.after > one.before else "more accurate"
    return f"{word}: error ratio {one.before:.3g} -> {one.after:.3g}"


def _cell(one: CostChange) -> str:
    direction = "" if one.direction == "forward" else f", {one.direction}"
    return f"{one.workload}{direction}" + (f", {one.threads} threads" if one.threads > 1 else "")


def _cost_word(one: CostChange) -> str:
    worse, better = ("slower", "faster") if one.quantity == "time" else ("more memory", "less memory")
    return worse if one.worse else better


def _cost(one: CostChange) -> str:
    state = f" ({one.state}{', ' + one.reason if one.reason else ''})"
    if one.quantity == "memory":
        return f"{_cost_word(one)}: {words.size(one.before)} -> {words.size(one.after)}{state}"
    around = f"[{one.low - 1:+.1%}, {one.high - 1:+.1%}]" if one.low is not None and one.high is not None else ""
    ratios = f"ratio to the baseline {one.before:.3f} -> {one.after:.3f}"
    return f"{_cost_word(one)}: {one.change - 1:+.1%} {around}, {ratios}{state}"


def _limits(changes: Changes) -> list[str]:
    compared = changes.compared
    lines = [f"compared: {compared['verdicts']} verdicts, {compared['times']} times, {compared['peaks']} peaks"]
    if changes.barriers:
        lines.append("times and memory are NOT compared: " + "; ".join(changes.barriers))
    lines += [f"{count} times not compared: {why}" for why, count in changes.refused.items()]
    return [*lines, *changes.notes, RULES]


def _table(rows: Iterable[Sequence[str]]) -> str:
    lines = ["| change | implementation | where | what |", "|---|---|---|---|"]
    return "\n".join([*lines, *("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows)])


def _folded(summary: str, body: str) -> str:
    return f"<details><summary>{summary}</summary>\n\n{body}\n\n</details>"
