"""Kinds of case on which an implementation was lost so often in a row that no further one is tried."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from attention_harness.execution.plan import Item
from attention_harness.model.verdict import Status
from attention_harness.options import required

_OPTIONS, _MECHANISM = "options", "mechanism"
IN_A_ROW = {
    (_OPTIONS, Status.CRASH): 3,
    (_OPTIONS, Status.TIMEOUT): 2,
    (_MECHANISM, Status.CRASH): 12,
    (_MECHANISM, Status.TIMEOUT): 4,
}
"""Losses after which a kind is given up: cases with the same options, or of the same mechanism. Timeouts take long."""

Kind = tuple[str, ...]


class GivingUp:
    """What becomes of the items of a run, and which kinds of case are therefore given up."""

    def __init__(self) -> None:
        self._streaks: Counter[Kind] = Counter()
        self._given_up: dict[Kind, str] = {}

    def record(self, item: Item, lost: Status | None) -> None:
        """Count an item that was lost by a crash or a timeout, or None: that was answered."""
        for level, kind in _kinds(item):
            if lost is None:
                del self._streaks[kind]
                continue
            self._streaks[kind] += 1
            count = self._streaks[kind]
            if count >= IN_A_ROW.get((level, lost), count + 1) and kind not in self._given_up:
                _, _, mechanism, *options = kind
                what = f"{mechanism} with {', '.join(options)}" if options else mechanism
                what += " without options" if level == _OPTIONS and not options else ""
                self._given_up[kind] = f"given up: {count} cases in a row of {what} ended in a {lost}"

    def reason(self, item: Item) -> str:
        """Return why an item is not tried, or ""."""
        return next((self._given_up[kind] for _, kind in _kinds(item) if kind in self._given_up), "")


def _kinds(item: Item) -> Iterator[tuple[str, Kind]]:
    name, mechanism = item.implementation.name, item.case.mechanism
    yield _OPTIONS, (_OPTIONS, name, mechanism, *required(item.case))
    yield _MECHANISM, (_MECHANISM, name, mechanism)
