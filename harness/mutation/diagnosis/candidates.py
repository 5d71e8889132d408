"""Cases that a diagnosis tries: those that failed, as unlike each other as can be, and cases near them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from attention_harness.cases.distributions import DISTRIBUTIONS
from attention_harness.cases.ids import parse
from attention_harness.cases.layouts import LAYOUTS
from attention_harness.model.case import Case
from attention_harness.model.causes import without_numbers
from attention_harness.model.verdict import Status, Verdict
from attention_harness.options import required
from attention_harness.registry import Declared, mechanisms

_FAILED = 6
_LONGER = {"B": 1, "Lq": 2, "Lk": 3, "L": 2, "P": 3}


def unlike(failures: Iterable[Verdict]) -> list[Case]:
    """Return a few of the cases that failed: a small precise one, then each with the most that is new.

    The first is one whose numbers are wrong, if there is any: numbers rule out most mutants, and cost little.
    """
    features: dict[Case, set[object]] = {}
    for verdict in failures:
        if verdict.status in (Status.FAIL, Status.ERROR):
            case = parse(verdict.case)
            parts = {case.mechanism, case.dtype, case.content, case.layout, *required(case), verdict.check}
            features.setdefault(case, set()).update(parts, {(verdict.check, without_numbers(verdict.reason))})
    left = sorted(features, key=lambda case: ("accuracy" not in features[case], *_cost(case)))
    chosen: list[Case] = []
    seen: set[object] = set()
    while left and len(chosen) < _FAILED:
        best = max(left, key=lambda case: len(features[case] - seen)) if chosen else left[0]
        left.remove(best)
        chosen.append(best)
        seen |= features[best]
    return chosen


def near(implementation: Declared, failed: Sequence[Case], further: Sequence[Case]) -> Iterator[Case]:
    """Yield cases that the implementation takes: first of the mechanisms that failed, the cheap ones first."""
    mechanisms_first = {case.mechanism for case in failed}
    cases = dict.fromkeys((*_neighbours(failed), *further))
    for case in sorted(cases, key=lambda case: (case.mechanism not in mechanisms_first, *_cost(case))):
        here = case if case.device != "cpu" else case.on(implementation.device)
        if not implementation.refuses(here):
            yield here


def _cost(case: Case) -> tuple[bool, int]:
    """Return a key that sorts cases whose roundings are small first, the small ones before the large."""
    return case.dtype not in ("float64", "float32"), math.prod(max(length, 1) for length in case.sizes.values())


def _neighbours(cases: Sequence[Case]) -> Iterator[Case]:
    """Yield cases that differ from a case in one thing: an option less, other numbers, memory or sizes."""
    for case in cases:
        yield replace(case, dtype="float64")
        yield replace(case, dtype="float32")
        if case.content not in DISTRIBUTIONS:  # a recording has its own sizes and numbers
            continue
        yield replace(case, sizes={axis: n + _LONGER.get(axis, 0) for axis, n in case.sizes.items()})
        yield replace(case, draw=case.draw + 1)
        yield from (replace(case, content=content) for content in DISTRIBUTIONS)
        yield from (replace(case, layout=layout) for layout in LAYOUTS)
        choices = mechanisms()[case.mechanism].choices
        for name in [name for name in case.options if name not in choices]:
            yield replace(case, options={option: v for option, v in case.options.items() if option != name})
