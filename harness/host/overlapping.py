"""Calls from several threads that overlap, also where their steps are too short for the operating system to do it."""

from __future__ import annotations

import functools
import random
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import FrameType
from typing import Any, TypeVar

Given = TypeVar("Given")
Found = TypeVar("Found")

_PAUSES = 8  # of one call
_LONGEST_PAUSE = 0.1  # seconds for each other thread to finish a call, however busy the cores are


def overlapping(call: Callable[[Given], Found], problems: Sequence[Given], rounds: int) -> list[list[Found]]:
    """Return what calls on each problem return, each problem in a thread of its own, without autograd.

    In each round one thread, each in its turn, makes a single call that pauses between some lines of Python, drawn at
    random, and in each pause every other thread makes a call: what a call writes in one line and reads in another meets
    whole calls of the others between them. What a call raises is raised.
    """
    import torch

    together = threading.Barrier(len(problems))
    returned = [threading.Event() for _ in range(rounds)]
    others = len(problems) - 1
    asked, answered = threading.Semaphore(0), threading.Semaphore(0)  # for a call of another thread; for its end

    def repeated(number: int) -> list[Found]:
        found, pauses = [], _Pauses(random.Random(number), asked, answered, others)
        with torch.no_grad():  # a thread begins with gradients
            for turn, done in enumerate(returned):
                together.wait()
                try:
                    if turn % len(problems) == number:
                        found.append(pauses.during(call, problems[number]))
                        done.set()
                    else:
                        found.append(call(problems[number]))
                        while not done.is_set():
                            if asked.acquire(timeout=_LONGEST_PAUSE / 10):
                                found.append(call(problems[number]))
                                answered.release()
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
    """Pauses of a thread between random lines of Python, spread over a call as long as the one before.

    A pause ends with a call of each other thread. One in vain, as where a call holds a lock, halves the next.
    """

    def __init__(
        self, draw: random.Random, asked: threading.Semaphore, answered: threading.Semaphore, others: int
    ) -> None:
        self._draw = draw
        self._asked, self._answered, self._others = asked, answered, others
        self._longest = _LONGEST_PAUSE
        self._length = 0  # lines of the call before
        self._lines = 0
        self._next = 0
        self._left = 0

    def during(self, call: Callable[[Given], Found], problem: Given) -> Found:
        """Return what a call returns that pauses."""
        self._length, self._lines, self._next, self._left = self._lines, 0, 0, _PAUSES
        self._draw_next()
        before = sys.gettrace()
        sys.settrace(self._hidden)
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
            self._pause()
        return self._hidden

    @functools.cached_property
    def _hidden(self) -> Callable[[FrameType, str, Any], Any]:
        """The function that sees each line, where a compiler of frames is in the process hidden from it.

        torch.compile compiles every frame that begins below its own, that function's among them.
        """
        compiler: Any = sys.modules.get("torch._dynamo")
        return self._line if compiler is None else compiler.disable(self._line)

    def _pause(self) -> None:
        while self._answered.acquire(blocking=False):
            pass  # calls that an earlier pause had asked for
        if self._others:
            self._asked.release(self._others)
        met = all(self._answered.acquire(timeout=self._longest) for _ in range(self._others))
        self._longest = _LONGEST_PAUSE if met else self._longest / 2
