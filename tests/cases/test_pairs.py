"""Every feasible pair of levels of two factors is in the default matrix, counted without the library that makes it."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator
from typing import Any

from harness.cases import BATCHES, FACTORS, LENGTHS, WIDTHS, constraints, matrix, variants
from harness.values import Case

OPTIONS = ("mask", "bias", "valid_lens", "causal", "scale")
Levels = dict[str, Any]
Pair = tuple[tuple[str, Any], tuple[str, Any]]
KNOWN = {"-".join((variant.mechanism.name, *variant.choices.values())): variant for variant in variants()}


def variant_of(case: Case) -> str:
    return "-".join((case.mechanism, *(case.options[name] for name in case.options if name not in OPTIONS)))


@functools.cache
def triples(name: str, sizes: tuple[tuple[str, int], ...]) -> list[tuple[Any, Any, Any]]:
    """Return the lengths, widths and batches that give these sizes: more than one where the mechanism lacks an axis."""
    variant = KNOWN[name]
    plain = dict.fromkeys(FACTORS) | {"dtype": "float32", "content": "ordinary", "layout": "contiguous"}
    products = itertools.product(LENGTHS, WIDTHS, BATCHES)
    return [
        (lengths, widths, batches)
        for lengths, widths, batches in products
        if variant.groups(batches)
        and sizes
        == tuple(variant.case(plain | {"lengths": lengths, "widths": widths, "batches": batches}, 0).sizes.items())
    ]


def rows(case: Case) -> Iterator[Levels]:
    """Yield the levels of every factor that the case may have been made from."""
    variant = variant_of(case)
    fixed: Levels = {"variant": variant, "dtype": case.dtype, "content": case.content, "layout": case.layout}
    fixed |= {option: case.options.get(option) for option in OPTIONS}
    for lengths, widths, batches in triples(variant, tuple(case.sizes.items())):
        yield fixed | {"lengths": lengths, "widths": widths, "batches": batches}


def allowed(levels: Levels) -> bool:
    levels = levels | {"variant": KNOWN[levels["variant"]]} if "variant" in levels else levels
    return all(
        allows(levels[left], levels[right])
        for (left, right), allows in constraints()
        if left in levels and right in levels
    )


def feasible(levels: Levels) -> bool:
    """Whether some level of every other factor goes with these."""
    if not allowed(levels):
        return False
    rest = next((factor for factor in all_factors() if factor not in levels), None)
    return rest is None or any(feasible(levels | {rest: level}) for level in all_factors()[rest])


def all_factors() -> dict[str, tuple[Any, ...]]:
    return {"variant": tuple(KNOWN)} | FACTORS


def feasible_pairs() -> set[Pair]:
    return {
        ((one, level), (other, another))
        for (one, levels), (other, others) in itertools.combinations(all_factors().items(), 2)
        for level, another in itertools.product(levels, others)
        if feasible({one: level, other: another})
    }


def occurring_pairs(cases: list[Case]) -> set[Pair]:
    return {
        ((one, row[one]), (other, row[other]))
        for case in cases
        for row in rows(case)
        for one, other in itertools.combinations(all_factors(), 2)
    }


def drawn() -> list[Case]:
    """Return the cases of the matrix that are neither worked examples nor recordings."""
    return [case for case in matrix("default") if case.content in FACTORS["content"]]


def test_every_feasible_pair_occurs():
    """The default matrix has strength 2, with the mechanism and its choice as one of the factors."""
    assert set() == feasible_pairs() - occurring_pairs(drawn())


def test_the_count_of_pairs_sees_a_hole():
    """Half of the matrix does not hold every pair: the count above can fail."""
    assert feasible_pairs() - occurring_pairs(drawn()[::2])


def test_no_case_breaks_a_constraint():
    """What the mechanisms do not know is in no case, whatever levels it may have been made from."""
    assert [case.id for case in drawn() if not all(map(allowed, rows(case)))] == []


def test_sizes_are_made_from_the_levels():
    """Every drawn case but those of length 0 and of the plain rows has lengths, widths and batches of the factors."""
    strange = [case.id for case in drawn() if not list(rows(case)) and min(case.sizes.values()) > 0]
    assert [case for case in strange if not case.endswith("-ordinary-contiguous-0")] == []
