"""Count the wall time of this process by account: implementations, reference and bounds, or this harness itself."""

from __future__ import annotations

import contextlib
import functools
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import ParamSpec, TypeVar

IMPLEMENTATION, REFERENCE, HARNESS = "implementation", "reference", "harness"
"""An implementation's imports count as its time."""

_spent: defaultdict[str, float] = defaultdict(float)
_inside: list[float] = []

P = ParamSpec("P")
R = TypeVar("R")


@contextlib.contextmanager
def spent(on: str) -> Iterator[None]:
    """Count the wall time of a block on an account, without that of blocks inside it, which count on theirs."""
    began = time.perf_counter()
    _inside.append(0.0)
    try:
        yield
    finally:
        took = time.perf_counter() - began
        _spent[on] += took - _inside.pop()
        if _inside:
            _inside[-1] += took


def counted(on: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Return a decorator that counts the time of a function on an account."""

    def decorated(function: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(function)
        def call(*arguments: P.args, **keywords: P.kwargs) -> R:
            with spent(on):
                return function(*arguments, **keywords)

        return call

    return decorated


def taken() -> dict[str, float]:
    """Return the seconds of each account since the last call of this function, and begin anew."""
    found = dict(_spent)
    _spent.clear()
    return found
