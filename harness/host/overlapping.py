"""Calls from several threads that overlap, also where their steps are too short for the operating system to do it."""

from __future__ import annotations

import random
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import FrameType
from typing import Any, TypeVar

Given = TypeVar("Given")
Found = TypeVar("Found")

_PAUSES = 8  # of one call
_PAUSE = 3e-4  # seconds: time for some calls of other threads
_MOST = 16  # calls of another thread meanwhile


def overlapping(call: Callable[[Given], Found], problems: Sequence[Given], rounds: int) -> list[list[Found]]:
    """Return what calls on each problem return, each problem in a thread of its own, without autograd.

    In each round one thread, each in its turn, makes a single call that pauses between some lines of Python, drawn at
    random, and the others call again and again meanwhile: what a call writes in one line and reads in another meets
    whole calls of the others between them. What a call raises is raised.
    """
    import torch

    together = threading.Barrier(len(problems))
    returned = [threading.Event() for _ in range(rounds)]

    def repeated(number: int) -> list[Found]:
        found, pauses = [], _Pauses(random.Random(number))
        with torch.no_grad():  # a thread begins with gradients
            for turn, done in enumerate(returned):
                together.wait()
                try:
                    if turn % len(problems) == number:
                        found.append(pauses.during(call, problems[number]))
                        done.set()
                    else:
                        for _ in range(_MOST):
                            found.append(call(problems[number]))
                            if done.is_set():
                                break
                except BaseException:
                    done.set()
                    together.abort()
                    raise
        return found

    with ThreadPoolExecutor(len(problems)) as threads:
        answers = [threads.submit(repeated, number) for number in range(len(problems))]
    raised = [error for error in (answer.exception() for answer in answers) if error is not None]
    for error in sorted(raised, key=lambda error: isinstance(error, threading.BrokenBarrierError)):
        raise error  # the others only stopped waiting for it
    return [answer.result() for answer in answers]


class _Pauses:
    """Pauses of a thread between random lines of Python, spread over a call as long as the one before."""

    def __init__(self, draw: random.Random) -> None:
        self._draw = draw
        self._length = 0  # lines of the call before
        self._lines = 0
        self._next = 0
        self._left = 0

    def during(self, call: Callable[[Given], Found], problem: Given) -> Found:
        """Return what a call returns that pauses."""
        self._length, self._lines, self._next, self._left = self._lines, 0, 0, _PAUSES
        self._draw_next()
        before = sys.gettrace()
        sys.settrace(self._line)
        try:
            return call(problem)
        finally:
            sys.settrace(before)

    def _draw_next(self) -> None:
        self._next += self._draw.randint(1, 2 * max(self._length // _PAUSES, 1))

    def _line(self, frame: FrameType, event: str, _: Any) -> Any:
        self._lines += 1
        if self._lines >= self._next and self._left:
            self._left -= 1
            self._draw_next()
            time.sleep(_PAUSE)
        return self._line
