"""Makes the covering rows: for each set of at most two options, rows that cover every pair of levels there.

Each form of an option also stands beside every size past one tile, and each further form in a plain row.

A pair counts where it can show, in every dtype. Many errors cannot show at a length of 1, in a single batch element or
in a single head, and no case in half precision is long: such a level covers its own pairs, and no others beside it. Nor
do two options show beside each other where a key decides each row.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from attention_harness.cases.rows import Row, groups_heads, rows
from attention_harness.cases.space import BATCHES, GROUPED, SIZED, TRAINED, factors, go_together
from attention_harness.model.dtypes import DTYPES
from attention_harness.options import OPTIONS

Pair = frozenset[tuple[str, Any]]

INPUTS = (*SIZED, "content", "layout")
PAST_A_TILE = (
    {"lengths": (3, 521), "widths": (8, 6), "batches": (5, 2, 2)},
    {"lengths": (257, 9), "widths": (8, 6), "batches": (2, 2, 2)},
    {"lengths": (5, 7), "widths": (129, 65), "batches": (2, 7, 7)},
)
"""Sizes past one tile or split, in every direction: many keys and batch elements, queries, widths and heads.

Half precision is slow: the other sizes are small, so that `projection` asks these rows there too.
"""

PLAIN = {"lengths": (7, 5), "widths": (6, 8), "batches": (3, 2, 2)}
"""Small sizes, all unlike, with more than one batch element, head, query and key."""

DECIDED = ("far_below",)
"""Contents under which a key decides each row, whatever most options change."""


def option_levels() -> dict[str, tuple[Any, ...]]:
    """Return the forms of every option that rows combine; grouped heads are levels of the batches."""
    found = {o.name: o.forms or o.more_forms[:1] for o in OPTIONS.values() if o.forms or o.more_forms}
    return {"batches": GROUPED} | found


def further(present: Iterable[Row]) -> Iterator[Row]:
    """Yield the rows to add to these, so that every set of at most two options covers its pairs."""
    listed = list(present)
    used: Counter[Any] = Counter()
    yield from _covering(listed, {}, used)
    forms = [(name, form) for name, levels in option_levels().items() for form in levels]
    for one in forms:
        yield from _covering(listed, dict([one]), used)
    for one, other in itertools.combinations(forms, 2):
        if one[0] != other[0]:
            yield from _covering(listed, dict([one, other]), used)
    by_rule = {row.line for row in rows(by_hand=False)}  # one by hand may say the same, and is not of the rule
    yield from (row for row in rows_past_a_tile() if row.line not in by_rule)


def rows_past_a_tile() -> Iterator[Row]:
    """Yield a row for no option and for every form of each beside sizes past a tile; plain rows of further forms.

    A further form goes beside the first of these sizes alone.
    """
    sizes = [*PAST_A_TILE, PAST_A_TILE[0] | {"lengths": PAST_A_TILE[0]["lengths"][::-1]}]
    yield from (Row(**past) for past in sizes)
    for option in OPTIONS.values():
        if option.training:
            continue
        for form in option.forms:
            yield from (Row(**past, options={option.name: form}) for past in PAST_A_TILE)
        for form in option.more_forms:
            yield Row(**PLAIN, options={option.name: form})
            yield Row(**PAST_A_TILE[0], options={option.name: form})


def _covering(listed: list[Row], fixed: dict[str, Any], used: Counter[Any]) -> Iterator[Row]:
    """Yield rows with these options that cover the pairs that none of the listed rows with just these covers."""
    levels = _levels(fixed)
    same = [row for row in listed if _fixed(row) == fixed]
    missing = dict.fromkeys(_wanted(fixed, levels))
    for row in same:
        used.update(_counted(row.levels))
        for pair in covered(row.levels):
            missing.pop(pair, None)
    while missing:
        row = _best(fixed, levels, missing, used)
        if not missing.keys() & set(covered(row.levels)):
            raise ValueError(f"no row covers {dict(next(iter(missing)))}: choose other levels")
        used.update(_counted(row.levels))
        for pair in covered(row.levels):
            missing.pop(pair, None)
        yield row


def _fixed(row: Row) -> dict[str, Any]:
    """Return what makes a row one of its set: its options, and its batches where they group heads."""
    return ({"batches": row.batches} if groups_heads(row.batches) else {}) | dict(row.options)


def _levels(fixed: Mapping[str, Any]) -> dict[str, tuple[Any, ...]]:
    """Return the levels of the inputs' factors that go with these options."""
    every = factors()
    found = {name: tuple(level for level in every[name] if level is not None) for name in INPUTS}
    found["batches"] = tuple(level for level in BATCHES if not groups_heads(level))
    if len(fixed) > 1:
        found["content"] = tuple(content for content in found["content"] if content not in DECIDED)
    if any(name in OPTIONS and OPTIONS[name].training for name in fixed):  # judged over many calls: few and small
        found |= {name: tuple(values) for name, values in TRAINED.items()}
    return found | {name: (level,) for name, level in fixed.items()}


def _wanted(fixed: Mapping[str, Any], levels: Mapping[str, tuple[Any, ...]]) -> Iterator[Pair]:
    """Yield the pairs: among the inputs' levels without options, else of each option with each level, or of the two."""
    if len(fixed) == 2:
        yield frozenset(fixed.items())
        return
    names = list(levels)
    for one, other in itertools.combinations(names, 2):
        if not fixed or one in fixed or other in fixed:
            yield from (frozenset({(one, a), (other, b)}) for a in levels[one] for b in levels[other])


def _counted(levels: Mapping[str, Any]) -> Iterator[Any]:
    """Yield the levels of a row and their pairs: what is used least comes next."""
    yield from levels.items()
    yield from map(frozenset, itertools.combinations(levels.items(), 2))


def covered(levels: Mapping[str, Any]) -> Iterator[Pair]:
    """Yield the pairs of levels that a row covers."""
    weak = {item for item in levels.items() if stands_alone(*item)}
    decided = levels["content"] in DECIDED
    for pair in itertools.combinations(levels.items(), 2):
        if weak <= set(pair) and not (decided and all(name in OPTIONS for name, _ in pair)):
            yield frozenset(pair)


def stands_alone(factor: str, level: Any) -> bool:
    """Whether a level covers no pairs but its own: one query, one key, one batch element, one head, or a long one."""
    if factor == "lengths":
        return min(level) < 2 or not all(go_together(level, dtype) for dtype in DTYPES)
    return factor == "batches" and min(level[:2]) < 2


def _best(
    fixed: Mapping[str, Any], levels: Mapping[str, tuple[Any, ...]], missing: Iterable[Pair], used: Counter[Any]
) -> Row:
    """Return a row with the first missing pair; each further level covers most, and is the least used of those."""
    made = dict(fixed) | dict(next(iter(missing)))
    left = set(missing)
    for name in levels:
        if name in made:
            continue

        def gain(level: Any, name: str = name) -> tuple[int, int, int]:
            pairs = [frozenset({(name, level), item}) for item in made.items()]
            return sum(pair in left for pair in pairs), -sum(used[pair] for pair in pairs), -used[name, level]

        fitting = [level for level in levels[name] if not stands_alone(name, level)]
        made[name] = max(fitting, key=gain)
    options = {name: form for name, form in made.items() if name not in INPUTS}
    return Row(**{name: made[name] for name in INPUTS}, options=options)
