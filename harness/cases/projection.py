"""The cases that a declaration is judged on: the matrix, the covering rows and the problems, projected onto it.

Every row is asked of every declared mechanism in every declared dtype, as far as its options are declared: what a
mechanism does not know of a row is dropped, and sizes that a declaration's `requires` rules out are mended. Adding a
mechanism, an option or a dtype to a declaration therefore adds cases and removes none.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from attention_harness.cases.distributions import DISTRIBUTIONS
from attention_harness.cases.matrix import matrix
from attention_harness.cases.problems import problems
from attention_harness.cases.rows import Row, groups_heads, rows
from attention_harness.cases.space import MAY_BE_EMPTY, Variant, go_together, variants
from attention_harness.model import requirements
from attention_harness.model.capabilities import Capabilities
from attention_harness.model.case import Case
from attention_harness.options import OPTIONS
from attention_harness.reference.specification import Mechanism
from attention_harness.registry import mechanism, refuses

_HALF_PRECISION_WORK = 2**18  # products of numbers in half precision are slow on a CPU
_MOST_SCORES = 4_100**2  # of a case that `requires` makes square: past 4,096 keys in one head, some seconds
_BLOCKS = (-1, 0, 1)
_BUILT = {"quick": 0, "default": 16, "thorough": 1}
"""One case in so many is asked of what takes seconds to prepare (`builds`), by its fingerprint; 0: none."""


@functools.cache
def cases_for(capabilities: Capabilities, tier: str = "default", by_hand: bool = True) -> tuple[Case, ...]:
    """Return the cases of a tier that a declaration takes, each once; the matrix comes first.

    by_hand: False leaves out the problems, and the rows that were written by hand and not found by a rule
    """
    device = capabilities.devices[0]
    found: dict[Case, None] = {}
    for case in matrix(tier, by_hand):
        if case.mechanism in capabilities.mechanisms:
            fitting = mended(case, capabilities)
            if fitting is not None and not refuses(capabilities, fitting.on(device)):
                found[fitting] = None
    one_in = _BUILT[tier] if capabilities.builds else 1
    for case in _projected(capabilities, tier, by_hand) if one_in else ():
        if case.fingerprint % one_in == 0 and not refuses(capabilities, case.on(device)):
            found[case] = None
    return tuple(found)


def _projected(capabilities: Capabilities, tier: str, by_hand: bool) -> Iterator[Case]:
    """Yield the cases of the rows and of the problems."""
    declared = [variant for variant in variants() if variant.mechanism.name in capabilities.mechanisms]
    listed = (*rows(by_hand), *_around_the_block(capabilities))
    if tier == "quick":
        yield from _few(declared, listed, capabilities)
        return
    for variant, dtype, row in itertools.product(declared, capabilities.dtypes, listed):
        if (case := onto(row, variant, dtype, capabilities)) is not None:
            yield case
    for problem, dtype in itertools.product(problems() if by_hand else (), capabilities.dtypes):
        case = mended(replace(problem, dtype=dtype), capabilities)
        if case is not None and case.mechanism in capabilities.mechanisms:
            yield case


def _few(declared: Sequence[Variant], listed: Sequence[Row], capabilities: Capabilities) -> Iterator[Case]:
    """Yield a case for every level of the inputs, and one for every form of an option of every mechanism."""
    seen: set[tuple[str, ...]] = set()
    for variant, row in itertools.product(declared, listed):
        new = {
            (variant.mechanism.name if name in OPTIONS else "", name, str(form)) for name, form in row.levels.items()
        }
        if new <= seen:
            continue
        turn = len(seen)
        for dtype in (*capabilities.dtypes[turn % len(capabilities.dtypes) :], *capabilities.dtypes):
            if (case := onto(row, variant, dtype, capabilities)) is not None:
                seen |= new
                yield case
                break


def onto(row: Row, variant: Variant, dtype: str, capabilities: Capabilities) -> Case | None:
    """Return the case of a row for a mechanism and a dtype; None where what the row asks for is not declared."""
    taken = all(
        variant.takes(name, form) and OPTIONS[name].capability(form) in capabilities.options
        for name, form in row.options.items()
    )
    if not taken or not _fits(row, dtype):
        return None
    if groups_heads(row.batches) and "Hk" not in variant.mechanism.axes:
        return None
    levels = dict.fromkeys(OPTIONS) | row.levels | {"dtype": dtype}
    return mended(variant.case(levels), capabilities)


def _fits(row: Row, dtype: str) -> bool:
    """Whether a row is small enough for a dtype."""
    return go_together(row.lengths, dtype) or (
        math.prod(row.lengths) * sum(row.widths) * math.prod(row.batches[:2]) <= _HALF_PRECISION_WORK
    )


def _around_the_block(capabilities: Capabilities) -> Iterator[Row]:
    """Yield rows with lengths at both sides of one and two of the blocks that a declaration names."""
    block = capabilities.arithmetic.block
    for keys in (*(block + by for by in _BLOCKS), 2 * block + 1):
        if keys > 1:
            yield Row((5, keys), (8, 6), (2, 2, 2))
            yield Row((keys, 7), (8, 6), (2, 2, 2))


def _scores(known: Mechanism, sizes: Mapping[str, int]) -> int:
    """Return how many scores a problem has."""
    return math.prod(sizes[axis] for axis in known.scores)


def mended(case: Case, capabilities: Capabilities) -> Case | None:
    """Return the case with sizes that the declaration's `requires` allows; None where there are none near."""
    if not capabilities.requires or case.content not in DISTRIBUTIONS:  # an example or recording has its own sizes
        return case
    known = mechanism(case.mechanism)
    rules = (*capabilities.requires, *(f"{whole} % {part} == 0" for whole, part in known.requires))
    sizes = requirements.mended(rules, case.sizes)
    if sizes is not None and _scores(known, sizes) > max(_MOST_SCORES, _scores(known, case.sizes)):
        alone = {axis: 1 for axis in ("B", "H", "Hk") if axis in sizes}
        sizes = requirements.mended(rules, sizes | alone)
        if sizes is not None and _scores(known, sizes) > _MOST_SCORES:
            return None
    if sizes is None or any(length == 0 and axis not in MAY_BE_EMPTY for axis, length in sizes.items()):
        return None
    return replace(case, sizes=sizes)
