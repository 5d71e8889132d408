"""Every feasible pair of levels of two factors is in the default matrix, counted without the library that makes it."""

from __future__ import annotations

import functools
import itertools
from typing import Any

import pytest

from attention_harness.cases.cases import FACTORS, constraints, matrix, variants
from attention_harness.model.case import Case

OPTIONS = ("mask", "bias", "valid_lens", "causal", "scale")
SIZED = ("lengths", "widths", "batches")
PLAIN = {"lengths": (5, 7), "widths": (16, 8), "batches": (2, 3, 3), "dtype": "float32"}
PLAIN |= {"content": "ordinary", "layout": "contiguous"} | dict.fromkeys(OPTIONS)
Levels = dict[str, Any]
Pair = tuple[tuple[str, Any], tuple[str, Any]]
Sizes = tuple[tuple[str, int], ...]
KNOWN = {"-".join((variant.mechanism.name, *variant.choices.values())): variant for variant in variants()}
EVERY: dict[str, tuple[Any, ...]] = {"variant": tuple(KNOWN)} | FACTORS


def sizes(name: str, **levels: Any) -> Sizes:
    return tuple(KNOWN[name].case(PLAIN | levels, 0).sizes.items())


def variant_of(case: Case) -> str:
    choices = (case.options[name] for name in case.options if name not in (*OPTIONS, "dropout"))
    return "-".join((case.mechanism, *choices))


@functools.cache
def shows(name: str, factor: str) -> bool:
    """Whether the mechanism has an axis in which the factor shows at all."""
    return factor not in SIZED or len({sizes(name, **{factor: level}) for level in FACTORS[factor]}) > 1


@functools.cache
def triples(name: str) -> dict[Sizes, list[tuple[Any, ...]]]:
    """Return the known lengths, widths and batches by the sizes they give."""
    found: dict[Sizes, list[tuple[Any, ...]]] = {}
    for levels in itertools.product(*(sorted(KNOWN[name].levels(factor)) for factor in SIZED)):
        found.setdefault(sizes(name, **dict(zip(SIZED, levels, strict=True))), []).append(levels)
    return found


def rows(case: Case) -> list[Levels]:
    """Return the levels of every factor that the case was made from: none where its sizes are no level's."""
    variant = variant_of(case)
    fixed: Levels = {"variant": variant, "dtype": case.dtype, "content": case.content, "layout": case.layout}
    fixed |= {option: case.options.get(option) for option in OPTIONS}
    made = triples(variant).get(tuple(case.sizes.items()), [])
    return [fixed | dict(zip(SIZED, levels, strict=True)) for levels in made]


@functools.cache
def excluded() -> frozenset[Pair]:
    """Return the pairs that a constraint forbids, either way round."""
    found = set()
    for (left, right), allows in constraints():
        for one, other in itertools.product(EVERY[left], EVERY[right]):
            given = [KNOWN[level] if factor == "variant" else level for factor, level in ((left, one), (right, other))]
            if not allows(*given):
                found |= {((left, one), (right, other)), ((right, other), (left, one))}
    return frozenset(found)


def allowed(levels: Levels) -> bool:
    return excluded().isdisjoint(itertools.combinations(levels.items(), 2))


def feasible(levels: Levels) -> bool:
    """Whether some level of every other factor goes with these."""
    rest = next((factor for factor in EVERY if factor not in levels), None)
    if rest is None:
        return True
    fitting = (
        level
        for level in EVERY[rest]
        if not any(((factor, other), (rest, level)) in excluded() for factor, other in levels.items())
    )
    return any(feasible(levels | {rest: level}) for level in fitting)


@functools.cache
def feasible_pairs() -> frozenset[Pair]:
    return frozenset(
        ((one, level), (other, another))
        for (one, levels), (other, others) in itertools.combinations(EVERY.items(), 2)
        for level, another in itertools.product(levels, others)
        if allowed({one: level, other: another}) and feasible({one: level, other: another})
    )


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
    """Return the cases of the matrix that are neither worked examples, recordings nor about dropout."""
    drawn = [case for case in matrix("default") if case.content in FACTORS["content"]]
    return [case for case in drawn if "dropout" not in case.options]


def test_every_feasible_pair_occurs():
    """The default matrix has strength 2, with the mechanism and its choice as one of the factors."""
    assert len(feasible_pairs()) > 2000
    assert set() == feasible_pairs() - occurring_pairs(drawn())


def test_the_count_of_pairs_sees_a_hole():
    """Without half of the matrix, or without any one mechanism, pairs are missing."""
    assert feasible_pairs() - occurring_pairs(drawn()[::2])
    for mechanism in {case.mechanism for case in drawn()}:
        assert feasible_pairs() - occurring_pairs([case for case in drawn() if case.mechanism != mechanism]), mechanism


def test_no_case_breaks_a_constraint():
    """What the mechanisms do not know is in no case."""
    assert [case.id for case in drawn() if not all(map(allowed, rows(case)))] == []


def test_sizes_are_made_from_the_levels():
    """Every drawn case but those of length 0 and of the plain rows has lengths, widths and batches of the factors."""
    strange = [case.id for case in drawn() if not rows(case) and min(case.sizes.values()) > 0]
    assert [case for case in strange if not case.endswith("-ordinary-contiguous-0")] == []


@pytest.mark.parametrize("name", KNOWN)
def test_of_levels_that_look_alike_the_first_is_known(name):
    """Known levels give sizes of their own, and what is not known looks like a known one or groups heads."""
    assert {1} == {len(levels) for levels in triples(name).values()}
    for factor in SIZED:
        first: dict[Sizes, Any] = {}
        if KNOWN[name].levels(factor) == {None}:
            assert not shows(name, factor)
            continue
        for level in (level for level in FACTORS[factor] if level is not None):
            first.setdefault(sizes(name, **{factor: level}), level)
        grouped = "grouped_heads" in KNOWN[name].mechanism.options or factor != "batches"
        assert {level for level in first.values() if grouped or level[1] == level[2]} == KNOWN[name].levels(factor)


@pytest.mark.parametrize("name", KNOWN)
def test_known_options_are_the_declared_ones(name):
    """A level of an option is known exactly where the mechanism declares it; by head, where its scores have heads."""
    known = KNOWN[name]
    for option in OPTIONS:
        declared = {None} | {
            level
            for level in FACTORS[option]
            if (f"causal_{level}" if option == "causal" else option) in known.mechanism.options
            and (level != "head" or "H" in known.mechanism.scores)
        }
        assert declared == known.levels(option), option
    for factor in ("dtype", "content", "layout"):
        assert set(FACTORS[factor]) == known.levels(factor), factor
