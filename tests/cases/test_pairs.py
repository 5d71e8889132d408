"""Every feasible pair of levels of two factors is in the default matrix, counted without the code that extends it."""

from __future__ import annotations

import functools
import itertools
from typing import Any

import pytest

from attention_harness.cases.coverage import Coverage
from attention_harness.cases.matrix import TIERS, matrix
from attention_harness.cases.space import PLAIN, SIZED, factors, go_together, variants
from attention_harness.model.case import Case
from attention_harness.options import OPTIONS
from attention_harness.registry import mechanisms
from tests.conftest import DEEP

FACTORS = factors()
COMBINED = [name for name in FACTORS if name in OPTIONS]
Levels = dict[str, Any]
Pair = tuple[tuple[str, Any], tuple[str, Any]]
Sizes = tuple[tuple[str, int], ...]
KNOWN = {"-".join((variant.mechanism.name, *variant.choices.values())): variant for variant in variants()}
EVERY: dict[str, tuple[Any, ...]] = {"variant": tuple(KNOWN)} | FACTORS


def sizes(name: str, **levels: Any) -> Sizes:
    return tuple(KNOWN[name].plain(**levels).sizes.items())


def variant_of(case: Case) -> str:
    choices = (case.options[name] for name in case.options if name not in OPTIONS)
    return "-".join((case.mechanism, *choices))


@functools.cache
def shows(name: str, factor: str) -> bool:
    """Whether the mechanism has an axis in which the factor shows at all."""
    return factor not in SIZED or len({sizes(name, **{factor: level}) for level in FACTORS[factor]}) > 1


@functools.cache
def triples(name: str) -> dict[Sizes, list[tuple[Any, ...]]]:
    """Return the known lengths, widths and batches by the sizes they give."""
    found: dict[Sizes, list[tuple[Any, ...]]] = {}
    for levels in itertools.product(*(KNOWN[name].levels(factor) for factor in SIZED)):
        found.setdefault(sizes(name, **dict(zip(SIZED, levels, strict=True))), []).append(levels)
    return found


def rows(case: Case) -> list[Levels]:
    """Return the levels of every factor that the case was made from: none where its sizes are no level's."""
    variant = variant_of(case)
    fixed: Levels = {"variant": variant, "dtype": case.dtype, "content": case.content, "layout": case.layout}
    fixed |= {option: case.options.get(option) for option in COMBINED}
    made = triples(variant).get(tuple(case.sizes.items()), [])
    return [fixed | dict(zip(SIZED, levels, strict=True)) for levels in made]


def allowed(levels: Levels) -> bool:
    """Whether every level is known to the variant, where one is named, and lengths are short enough for the dtype."""
    variant = KNOWN.get(levels.get("variant", ""))
    if variant is not None and not all(one in variant.levels(f) for f, one in levels.items() if f != "variant"):
        return False
    return not {"lengths", "dtype"} <= set(levels) or go_together(levels["lengths"], levels["dtype"])


def feasible_pairs() -> set[Pair]:
    return {
        ((one, level), (other, another))
        for (one, levels), (other, others) in itertools.combinations(EVERY.items(), 2)
        for level, another in itertools.product(levels, others)
        if any(allowed({one: level, other: another} | ({} if one == "variant" else {"variant": v})) for v in KNOWN)
    }


def occurring_pairs(cases: list[Case]) -> set[Pair]:
    """Return the pairs in these cases. One counts where the mechanism has axes for both, or is one of them."""
    return {
        ((one, row[one]), (other, row[other]))
        for case in cases
        for row in rows(case)
        for one, other in itertools.combinations(EVERY, 2)
        if one == "variant" or all(row[factor] is None or shows(row["variant"], factor) for factor in (one, other))
    }


def drawn() -> list[Case]:
    """Return the cases of the matrix that are neither worked examples, recordings nor about what is sampled."""
    drawn = [case for case in matrix("default") if case.content in FACTORS["content"]]
    return [case for case in drawn if not {name for name in OPTIONS if name not in COMBINED} & set(case.options)]


def test_every_feasible_pair_occurs():
    """The default matrix has strength 2, with the mechanism and its choice as one of the factors."""
    assert len(feasible_pairs()) > 2000
    assert set() == feasible_pairs() - occurring_pairs(drawn())


def test_the_count_of_pairs_sees_a_hole():
    """Without half of the matrix, or without a mechanism, pairs are missing."""
    feasible = feasible_pairs()
    assert feasible - occurring_pairs(drawn()[::2])
    for mechanism in ("scaled_dot_product", "location", "masked_softmax"):
        assert feasible - occurring_pairs([case for case in drawn() if case.mechanism != mechanism]), mechanism


@pytest.mark.parametrize("tier", TIERS if DEEP else TIERS[:2])
def test_a_list_without_any_one_row_with_a_pair_of_its_own_is_seen(tier):
    """What only one case covers is missing without it."""
    coverage, cases = Coverage(tier), matrix(tier)
    counts: dict[Any, int] = {}
    for case in cases:
        for item in coverage.covered(case):
            counts[item] = counts.get(item, 0) + 1
    wanted = coverage.wanted()
    alone = [case for case in cases if any(counts[item] == 1 and item in wanted for item in coverage.covered(case))]
    assert len(alone) > len(cases) / 10
    for case in alone[:: len(alone) // 3]:
        assert coverage.missing(one for one in cases if one != case), case.id


def test_no_case_breaks_a_constraint():
    """What the mechanisms do not know is in no case."""
    assert [case.id for case in drawn() if not all(map(allowed, rows(case)))] == []


def test_sizes_are_made_from_the_levels():
    """Every drawn case but those of length 0 and of the plain rows has lengths, widths and batches of the factors."""
    strange = [case.id for case in drawn() if not rows(case) and min(case.sizes.values()) > 0]
    plain = {tuple(variant.plain().sizes.items()) for variant in variants()}
    assert [one for one in strange if tuple(Case.from_id(one).sizes.items()) not in plain] == []


@pytest.mark.parametrize("name", KNOWN)
def test_of_levels_that_look_alike_the_first_is_known(name):
    """Known levels give sizes of their own, and what is not known looks like a known one or groups heads."""
    assert {1} == {len(levels) for levels in triples(name).values()}
    for factor in SIZED:
        first: dict[Sizes, Any] = {}
        if KNOWN[name].levels(factor) == (None,):
            assert not shows(name, factor)
            continue
        for level in (level for level in FACTORS[factor] if level is not None):
            first.setdefault(sizes(name, **{factor: level}), level)
        grouped = "grouped_heads" in KNOWN[name].mechanism.options or factor != "batches"
        assert {level for level in first.values() if grouped or level[1] == level[2]} == set(KNOWN[name].levels(factor))


@pytest.mark.parametrize("name", KNOWN)
def test_known_options_are_the_declared_ones(name):
    """A level of an option is known exactly where the mechanism declares it; by head, where its scores have heads."""
    known = KNOWN[name]
    for option in COMBINED:
        declared = {None} | {
            level
            for level in FACTORS[option]
            if level is not None
            and OPTIONS[option].capability(level) in known.mechanism.options
            and (option == "decay" or level not in ("head", "batch_query") or "H" in known.mechanism.scores)
        }
        assert declared == set(known.levels(option)), option
    for factor in ("dtype", "content", "layout"):
        assert set(FACTORS[factor]) == set(known.levels(factor)), factor


def test_plain_sizes_are_those_of_the_plain_levels():
    """The plain case of a mechanism is made of the plain lengths, widths and batches."""
    case = KNOWN["scaled_dot_product"].plain()
    assert PLAIN["lengths"] == (case.sizes["Lq"], case.sizes["Lk"])
    assert set(mechanisms()) == {variant.mechanism.name for variant in variants()}
