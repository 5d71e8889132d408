"""The declarations under which mutants are judged: as a user writes them, and as narrow as they come.

A user's kernel declares one mechanism, the options that the mechanism takes, and a dtype or two. Declaring more only
adds cases, so that what is killed under the narrowest declarations, of one dtype each, is killed under every wider one.
"""

from __future__ import annotations

import functools
import math
import types
from collections.abc import Iterable
from dataclasses import dataclass, replace

from attention_harness.cases.ids import parse
from attention_harness.cases.projection import cases_for
from attention_harness.checks.behaviour.anchor import anchor
from attention_harness.model.case import Case
from attention_harness.mutation.patched import eager
from attention_harness.registry import Implementation, mechanism


@dataclass(frozen=True, slots=True)
class Suite:
    """The cases that a mutant is judged on: those of a tier under each declaration, or the named ones.

    mechanisms   those that are judged; all of them by default
    by_hand      False leaves out the rows that were written by hand, with some fault in sight
    without      levels that are left out, as `factor=level`: contents, layouts, forms of options
    """

    tier: str = "default"
    ids: tuple[str, ...] = ()
    mechanisms: tuple[str, ...] = ()
    by_hand: bool = True
    without: tuple[str, ...] = ()

    def cases(self, name: str) -> tuple[Case, ...]:
        """Return the cases of a mechanism: first the quick ones, which see every level, and unlike ones first."""
        if self.mechanisms and name not in self.mechanisms:
            return ()
        if self.ids:
            return tuple(case for case in map(parse, self.ids) if case.mechanism == name)
        return _of_tier(self, name)


@functools.lru_cache(maxsize=64)
def _of_tier(suite: Suite, name: str) -> tuple[Case, ...]:
    found: dict[Case, None] = {}
    quick: set[Case] = set()
    for dtype in eager().capabilities.dtypes:
        declared = narrowed(eager(), name, dtype)
        measured = anchor(declared)
        quick |= {measured, *cases_for(declared.capabilities, "quick")}
        found |= dict.fromkeys((measured, *cases_for(declared.capabilities, suite.tier, suite.by_hand)))

    left_out = set(suite.without)
    taken = [case for case in found if not left_out & levels(case)]
    return (*_unlike_first(case for case in taken if case in quick), *_unlike_first(c for c in taken if c not in quick))


@functools.cache
def anchors(name: str) -> frozenset[Case]:
    """Return the cases of a mechanism on which behaviours are measured, one for each dtype."""
    return frozenset(anchor(narrowed(eager(), name, dtype)) for dtype in eager().capabilities.dtypes)


def _unlike_first(cases: Iterable[Case]) -> list[Case]:
    """Return cases with the smallest of each set of options and dtype first, then the next of each, and so on."""
    turn: dict[tuple[str, ...], int] = {}
    ordered: list[tuple[int, int, Case]] = []
    for work, case in sorted(((_work(case), case) for case in cases), key=lambda pair: pair[0]):
        kind = (case.dtype, *case.options)
        ordered.append((turn.setdefault(kind, 0), work, case))
        turn[kind] += 1
    return [case for *_, case in sorted(ordered, key=lambda one: one[:2])]


def _work(case: Case) -> int:
    return math.prod(max(length, 1) for length in case.sizes.values())


def levels(case: Case) -> set[str]:
    """Return the content, the layout and the options of a case, as `factor=level`."""
    found = {"content": case.content, "layout": case.layout} | {n: str(form) for n, form in case.options.items()}
    return {f"{factor}={level}" for factor, level in found.items()}


def narrowed(implementation: Implementation, name: str, dtype: str) -> Implementation:
    """Return an implementation that declares one mechanism, its options and one dtype, and is the same otherwise."""
    known = mechanism(name)
    declares = implementation.capabilities
    options = tuple(option for option in declares.options if option in known.options)
    module = types.ModuleType(implementation.module.__name__)
    module.__dict__.update(implementation.module.__dict__)
    module.__dict__["CAPABILITIES"] = replace(declares, mechanisms=(name,), dtypes=(dtype,), options=options)
    return replace(implementation, module=module)
