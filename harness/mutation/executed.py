"""Which statements of eager's source a call executes, and which of them a patch changes.

Where no changed statement runs, the patched source computes what eager computes: nothing there can tell them apart.
"""

from __future__ import annotations

import ast
import bisect
import contextlib
import difflib
import functools
import sys
import types
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from attention_harness.mutation.patched import Mutant, Patched, first_lines, source_of_eager

RIGHT = Mutant("none", "none", ())
"""Eager as it is, made as a mutant is."""

Statements = int
"""A set of statements: the bit of each, counted from the top of the source."""

EVERY: Statements = -1


class Recorded:
    """The statements that have run. statements: EVERY where something else has taken the trace away."""

    statements: Statements = 0


@contextlib.contextmanager
def recorded() -> Iterator[Recorded]:
    """Record which statements of eager this thread executes."""
    before_first = {str(path): lines for path, lines in first_lines().items()} | {RIGHT.file: 0}
    found, at = Recorded(), _statement_of_line()

    def line(frame: types.FrameType, event: str, argument: Any) -> Any:
        found.statements |= 1 << at[before_first[frame.f_code.co_filename] + frame.f_lineno]
        return line

    def entered(frame: types.FrameType, event: str, argument: Any) -> Any:
        return line(frame, event, argument) if frame.f_code.co_filename in before_first else None

    before = sys.gettrace()
    sys.settrace(entered)
    try:
        yield found
    finally:
        if sys.gettrace() is not entered:
            found.statements = EVERY
        sys.settrace(before)


@functools.lru_cache(maxsize=1000)
def changed(patched: Patched) -> Statements:
    """Return statements of which one runs wherever the patch matters.

    EVERY where it changes what runs at import, but for new functions and classes, which others have to call.
    """
    old, new = source_of_eager().splitlines(), patched.source().splitlines()
    found: Statements = 0
    for kind, first, last, start, end in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if kind != "equal":
            if not all(map(_defines, new[start:end])):
                return EVERY
            touched = _entered(old, first, new[start:end]) or _around(first, last)
            if any(_statements()[one].at_import for one in touched):
                return EVERY
            found |= functools.reduce(lambda all_of_them, one: all_of_them | 1 << one, touched, 0)
    return found


def _defines(line: str) -> bool:
    """Return whether a line can be part of a function or class, or begin or decorate one."""
    return not line or line.startswith((" ", "def ", "class ", "@", "#", ")"))


def _entered(old: Sequence[str], first: int, new: Sequence[str]) -> list[int]:
    """Return the statement after so many lines, if what is put there is entered where that would be; else none.

    So it is where a statement of the same block begins there, before which or in place of which the new lines stand.
    """
    place = bisect.bisect_left(_statements(), first + 1, key=lambda one: one.line)
    if place == len(_statements()) or _statements()[place].line != first + 1:
        return []
    block = _indent(old[first])
    first_new, *others = [_indent(line) for line in new if line.strip()] or [block]
    return [place] if first_new == block and all(one >= block for one in others) else []


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _around(first: int, last: int) -> list[int]:
    """Return the statements before and after a change of the lines after the first and up to the last.

    At the edge of a function it is the whole function, in which what is new may stand anywhere.
    """
    statements = _statements()
    before = max(bisect.bisect_right(statements, first, key=lambda one: one.line) - 1, 0)
    after = bisect.bisect_left(statements, last + 1, key=lambda one: one.line)
    if len({one.part for one in statements[before : after + 1]}) == 1 and after < len(statements):
        return list(range(before, after + 1))
    parts = {one.part for one in statements[before:after]}
    return [number for number, one in enumerate(statements) if one.part in parts]


class _Statement(NamedTuple):
    """line: the first of it. part: the number of the function, class or other statement of the module that it is in.

    at_import: whether that is no function
    """

    line: int
    part: int
    at_import: bool


@functools.cache
def _statements() -> list[_Statement]:
    """Return the statements of eager's source, from the top."""
    found: set[_Statement] = set()
    for part, node in enumerate(ast.parse(source_of_eager()).body):
        for one in ast.walk(node):
            if isinstance(one, ast.stmt):
                decorators = getattr(one, "decorator_list", ())
                line = min(each.lineno for each in (one, *decorators))
                found.add(_Statement(line, part, not isinstance(node, ast.FunctionDef)))
    return sorted(found)


@functools.cache
def _statement_of_line() -> list[int]:
    """Return the number of the statement that each line belongs to."""
    statements = _statements()
    places = (bisect.bisect_right(statements, line, key=lambda one: one.line) for line in range(_lines()))
    return [max(place - 1, 0) for place in places]


def _lines() -> int:
    return source_of_eager().count("\n") + 2
