"""Where the errors of failing cases lie: the worst of each mechanism of each implementation, asked once more."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from attention_harness.commands.replay.session import DRAWN, run
from attention_harness.execution.limits import Limits
from attention_harness.execution.plan import Item
from attention_harness.model.error_maps import ErrorMap
from attention_harness.model.verdict import Status, Verdict

MOST = 24  # maps of a run: each is a call, and a picture in the report


def error_maps(
    verdicts: Sequence[Verdict], items: Sequence[Item], load: Sequence[Path], limits: Limits
) -> Iterator[ErrorMap]:
    """Yield the maps of the worst failing case of each implementation and mechanism."""
    asked = {(item.implementation.name, item.case.id): item for item in items}
    for verdict in list(_worst(verdicts).values())[:MOST]:
        item = asked[verdict.implementation, verdict.case]
        drawn = tuple(check for check in item.checks if check.name in DRAWN)
        found = run(
            Item(item.implementation, item.case, drawn, None), load, seconds=limits.seconds, memory=limits.memory
        )
        for one in found.maps:
            values = tuple(tuple(x if math.isfinite(x) else None for x in row) for row in one.values)
            yield ErrorMap(verdict.implementation, verdict.case, one.title, *one.rows, *one.columns, values)


def _worst(verdicts: Sequence[Verdict]) -> Mapping[tuple[str, str], Verdict]:
    """Return (implementation, mechanism) -> the failure with the largest error ratio, in the order of the plan."""
    found: dict[tuple[str, str], Verdict] = {}
    for verdict in verdicts:
        if verdict.status is not Status.FAIL or verdict.check not in DRAWN:
            continue
        key = verdict.implementation, verdict.mechanism
        if key not in found or _size(verdict) > _size(found[key]):
            found[key] = verdict
    return found


def _size(verdict: Verdict) -> float:
    return math.inf if verdict.error_ratio is None else verdict.error_ratio
