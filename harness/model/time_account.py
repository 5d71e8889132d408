"""Count the wall time of this process by account: implementations, reference and bounds, or this harness itself."""

from __future__ import annotations

import contextlib
import time
from collections import defaultdict
from collections.abc import Iterator

IMPLEMENTATION, REFERENCE, HARNESS = "implementation", "reference", "harness"
"""An implementation's imports count as its time."""
DIAGNOSIS = "diagnosis"
"""What follows the checks of a run; it is counted by the run itself."""

_spent: defaultdict[str, float] = defaultdict(float)
_inside: list[float] = []


@contextlib.contextmanager
def spent(on: str) -> Iterator[None]:
    """Count the wall time of a block on an account, without that of blocks inside it, which count on theirs.

    It decorates a function as well.
    """
    began = time.perf_counter()
    _inside.append(0.0)
    try:
        yield
    finally:
        took = time.perf_counter() - began
        _spent[on] += took - _inside.pop()
        if _inside:
            _inside[-1] += took


def taken() -> dict[str, float]:
    """Return the seconds of each account since the last call of this function, and begin anew."""
    found = dict(_spent)
    _spent.clear()
    return found
