"""Cases drawn at random beyond the matrix, and failing ones shrunk to a smallest case.

Case k of a seed depends on the seed and k alone, so that a longer run begins with the cases of a shorter one.
"""

from __future__ import annotations

import hashlib
import itertools
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self, TypeVar

import numpy as np

from attention_harness.cases import ids, space
from attention_harness.cases.space import Variant
from attention_harness.execution.limits import Limits
from attention_harness.execution.plan import Item, plan_items
from attention_harness.execution.runner import item_worker
from attention_harness.model.case import Case
from attention_harness.model.dtypes import DTYPES
from attention_harness.model.errors import HarnessError
from attention_harness.model.verdict import Status, Verdict
from attention_harness.options import OPTIONS
from attention_harness.registry import Implementation, mechanism, mechanisms

T = TypeVar("T")

TRIES, SECONDS, GROUPS = 400, 60.0, 5  # what shrinking may cost: for each group of failures, and how many groups
SHRUNK = (Status.FAIL, Status.ERROR, Status.CRASH)  # every try of a timeout would cost its whole time limit

_LIMITS = Limits()
_BORDERS = (15, 16, 17, 31, 32, 33, 63, 64, 65)  # both sides of the blocks that kernels work in
_SMALL, _LONGEST, _LONGEST_HALF, _LONGEST_DROPOUT = 9, 70, 33, 6
_DRAWS = 2000  # for one case that is taken: a declaration of one dtype and one option takes one in some hundreds
_COUNTS = ("B", "H", "Hk")
_LENGTHS = ("Lq", "Lk", "L", "P")


# --- drawing


def drawn(
    seed: int, count: int, names: Collection[str] = (), takes: Callable[[Case], bool] = lambda case: True
) -> Iterator[Case]:
    """Yield the first `count` cases of a seed, of the named mechanisms alone if any is named, that somebody takes.

    Raises HarnessError where hardly any case is taken.
    """
    wanted = [mechanism(name).name for name in names]
    found = 0
    for k in itertools.count():
        if found == count:
            return
        case = draw(seed, k)
        if (not wanted or case.mechanism in wanted) and takes(case):
            found += 1
            yield case
        elif k > _DRAWS * (found + 1):
            raise HarnessError(
                f"of {k} drawn cases {found} are taken: declare more of dtypes and options, or ask for single cases "
                "with --case"
            )


def draw(seed: int, k: int) -> Case:
    """Return case k of a seed."""
    dice = _Dice(f"{seed}|{k}")
    variant = dice.of(space.variants())
    half = dice.below(2) == 0
    dtype = dice.of([name for name in space.factors()["dtype"] if DTYPES[name].single != half])
    content = "ordinary" if dice.below(3) == 0 else dice.of(space.factors()["content"])
    layout = "contiguous" if dice.below(2) == 0 else dice.of(space.factors()["layout"])
    options: dict[str, Any] = {}
    dropped = False
    for option in OPTIONS.values():
        known = [form for form in (*option.forms, *option.more_forms) if variant.takes(option.name, form)]
        rare = not option.forms  # looked at over many calls: only where a call is quick
        if known and dice.below(24 if rare else 3) == 0:
            options[option.name] = dice.of(known)
            dropped |= rare
    longest = _LONGEST_DROPOUT if dropped else _LONGEST_HALF if half else _LONGEST
    sizes = _sizes(dice, variant, longest)
    options |= variant.choices
    return Case(variant.mechanism.name, sizes, dtype, options, content, layout, dice.below(10**6))


def _sizes(dice: _Dice, variant: Variant, longest: int) -> dict[str, int]:
    """Return a length for every axis: mostly small, often at the border of a block, rarely none."""
    sizes = {}
    for axis in variant.mechanism.axes:
        if axis in _COUNTS:
            sizes[axis] = 1 + dice.below(4)
        else:
            near = [border for border in _BORDERS if border <= longest]
            kind = dice.below(4) if near else 0
            upper = min(longest, _SMALL) if kind < 2 else longest
            sizes[axis] = dice.of(near) if kind == 2 else 1 + dice.below(upper)
    for whole, part in variant.mechanism.requires:
        sizes[whole] = sizes[part] * (1 + dice.below(3))
    if dice.below(24) == 0:
        empty = dice.of([axis for axis in sizes if axis in space.MAY_BE_EMPTY])
        sizes[empty] = 0
    return sizes


class _Dice:
    """Whole numbers from a text, the same on every machine."""

    def __init__(self, text: str) -> None:
        key = hashlib.sha256(f"fuzz|{text}".encode()).digest()[:16]
        self._stream = np.random.Philox(key=int.from_bytes(key, "little"))

    def below(self, limit: int) -> int:
        """Return a number of 0 to limit - 1."""
        return int(self._stream.random_raw()) % limit

    def of(self, among: Sequence[T]) -> T:
        """Return one of them."""
        return among[self.below(len(among))]


# --- shrinking


def complexity(case: Case) -> tuple[int, ...]:
    """Return natural numbers of which `simpler` lowers at least one and raises none: so shrinking ends.

    The number of options, the rank of their forms, content, layout, dtype and draw, then every size.
    """
    choices = mechanisms()[case.mechanism].choices
    options = {name: form for name, form in case.options.items() if name not in choices}
    forms = sum(_rank(form, OPTIONS[name].forms) for name, form in options.items())
    plain = (case.content != "ordinary", case.layout != "contiguous")
    return (len(options), forms, *map(int, plain), list(DTYPES).index(case.dtype), case.draw, *case.sizes.values())


def _rank(form: Any, forms: Sequence[Any]) -> int:
    return forms.index(form) if form in forms else len(forms)


def simpler(case: Case) -> Iterator[Case]:
    """Yield the case with one thing simpler, the largest steps first: every one is lower by `complexity`."""
    choices = mechanisms()[case.mechanism].choices
    free = [name for name in case.options if name not in choices]
    for name in free:
        yield replace(case, options={other: form for other, form in case.options.items() if other != name})
    for axes in _axes(case):
        for divisor in (0, 4, 2, 1):
            shorter = {axis: _shortened(case.sizes[axis], divisor) for axis in axes}
            if any(shorter[axis] < case.sizes[axis] for axis in axes):
                yield from _valid(replace(case, sizes={**case.sizes, **shorter}))
    for change in ({"content": "ordinary"}, {"layout": "contiguous"}, {"draw": 0}, {"draw": 1}):
        yield from _lower(case, replace(case, **change))
    for dtype in DTYPES:
        yield from _lower(case, replace(case, dtype=dtype))
    for name in free:
        for form in OPTIONS[name].forms:
            yield from _lower(case, replace(case, options={**case.options, name: form}))


def _axes(case: Case) -> Iterator[tuple[str, ...]]:
    """Yield axes to shorten: each alone, and together those that have to stay multiples of each other."""
    yield from ((axis,) for axis in case.sizes)
    yield from mechanisms()[case.mechanism].requires
    yield tuple(axis for axis in case.sizes if axis in _LENGTHS)


def _shortened(length: int, divisor: int) -> int:
    """Return 1 for the divisor 0, one less for 1, and a part otherwise; never below 1, never more than it was."""
    shorter = {0: 1, 1: length - 1}.get(divisor, length // max(divisor, 1))
    return min(length, max(1, shorter))


def _lower(case: Case, other: Case) -> Iterator[Case]:
    if complexity(other) != complexity(case) and all(
        new <= old for new, old in zip(complexity(other), complexity(case), strict=True)
    ):
        yield from _valid(other)


def _valid(case: Case) -> Iterator[Case]:
    try:
        yield ids.parse(case.id)
    except HarnessError:
        return


def smallest(case: Case, fails: Callable[[Case], bool], tries: int = TRIES, seconds: float = SECONDS) -> Case:
    """Return the case that greedy descent ends at: no simpler one fails, or tries or seconds are used up."""
    began, asked = time.monotonic(), {case}
    descending = True
    while descending:
        descending = False
        for other in simpler(case):
            if other in asked:
                continue
            if len(asked) > tries or time.monotonic() - began > seconds:
                return case
            asked.add(other)
            if fails(other):
                case, descending = other, True
                break
    return case


@dataclass(frozen=True, slots=True)
class Smallest:
    """The smallest case found on which an implementation still fails a check, and how many failures it stands for."""

    verdict: Verdict
    failures: int

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return {"failures": self.failures, "verdict": self.verdict.to_json()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Rebuild what `to_json` returned."""
        return cls(Verdict.from_json(data["verdict"]), int(data["failures"]))


def shrunk(
    implementation: Implementation,
    verdict: Verdict,
    *,
    load: Sequence[Path] = (),
    tries: int = TRIES,
    seconds: float = SECONDS,
    limits: Limits = _LIMITS,
) -> Verdict:
    """Return the verdict on a smallest case that fails the same check with the same status.

    Every case is asked in a worker process: one that crashes is an answer like any other.

    seconds   after which no further case is asked, and the most that one may take
    limits    of one case
    """
    found = {verdict.case: verdict}
    with item_worker(load, Limits(min(seconds, limits.seconds), limits.memory)) as ask:

        def fails(case: Case) -> bool:
            if implementation.refuses(case):
                return False
            [item] = plan_items([implementation], [case])
            for answer in ask(item):
                if (answer.check, answer.status) == (verdict.check, verdict.status):
                    found[answer.case] = answer
                    return True
            return False

        return found[smallest(ids.parse(verdict.case), fails, tries, seconds).id]


class Groups:
    """The failures that can be shrunk, by implementation, check and status: the simplest of each, and how many."""

    def __init__(self) -> None:
        self.found: dict[tuple[str, str, Status], tuple[int, Verdict, int]] = {}

    def add(self, verdict: Verdict) -> None:
        """Count a verdict, and keep it where it is the simplest of its group; of equals the first."""
        if verdict.status not in SHRUNK:
            return
        key = (verdict.implementation, verdict.check, verdict.status)
        simple = sum(complexity(Case.from_id(verdict.case)))
        least, kept, count = self.found.get(key, (simple + 1, verdict, 0))
        self.found[key] = (*((simple, verdict) if simple < least else (least, kept)), count + 1)


def shrink(
    items: Sequence[Item],
    groups: Groups,
    load: Sequence[Path] = (),
    done: Sequence[Smallest] = (),
    limits: Limits = _LIMITS,
) -> Iterator[Smallest]:
    """Yield a smallest failure for each implementation and check, for the first few of them that are not done."""
    known = {item.implementation.name: item.implementation for item in items}
    shrunk_before = {(own.verdict.implementation, own.verdict.check, own.verdict.status) for own in done}
    for key, (_, simplest, count) in itertools.islice(groups.found.items(), GROUPS):
        if key not in shrunk_before:
            yield Smallest(shrunk(known[key[0]], simplest, load=load, limits=limits), count)
