"""A declaration is judged on everything that it declares, and on no less when it declares more."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from attention_harness import registry
from attention_harness.cases.distributions import DISTRIBUTIONS
from attention_harness.cases.layouts import LAYOUTS
from attention_harness.cases.matrix import matrix
from attention_harness.cases.problems import problems
from attention_harness.cases.projection import cases_for, onto
from attention_harness.cases.rows import Row, rows
from attention_harness.cases.space import LENGTHS, Variant, go_together, variants
from attention_harness.execution.plan import plan_items
from attention_harness.model import requirements
from attention_harness.model.capabilities import Arithmetic, Capabilities
from attention_harness.model.errors import HarnessError
from attention_harness.options import OPTIONS, capabilities
from attention_harness.registry import mechanisms, refuses
from tools import covering

COVERED = {row.line: frozenset(covering.covered(row.levels)) for row in rows()}
DTYPES = ("float64", "float32", "bfloat16", "float16")
FEW = settings(
    max_examples=5, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.explicit, Phase.generate]
)

declarations = st.builds(
    lambda mechanism, dtypes, options: Capabilities((mechanism,), tuple(dtypes), options=tuple(options)),
    st.sampled_from(sorted(mechanisms())),
    st.lists(st.sampled_from(DTYPES), min_size=1, max_size=2, unique=True),
    st.lists(st.sampled_from(capabilities()), max_size=4, unique=True),
)


@FEW
@given(declarations, declarations)
def test_adding_to_a_declaration_removes_no_case(one, other):
    """Mechanisms, dtypes and options of two declarations together: every case of each is still there."""
    both = Capabilities(
        tuple(dict.fromkeys(one.mechanisms + other.mechanisms)),
        tuple(dict.fromkeys(one.dtypes + other.dtypes)),
        options=tuple(dict.fromkeys(one.options + other.options)),
    )
    assert set() == {*cases_for(one), *cases_for(other)} - {*cases_for(both)}


@FEW
@given(declarations)
def test_every_case_is_declared(declared):
    """Nothing is planned that the declaration leaves out."""
    assert [] == [case.id for case in cases_for(declared) if refuses(declared, case)]


def _asked(variant: Variant, dtype: str, declared: Capabilities) -> list[Row]:
    return [row for row in rows() if onto(row, variant, dtype, declared) is not None]


def _declared_levels(variant: Variant, dtype: str, declared: Capabilities) -> dict[str, tuple]:
    """Return the levels that the mechanism knows, by factor: written from the declaration alone."""
    found = covering._levels({})
    found["lengths"] = tuple(level for level in found["lengths"] if go_together(level, dtype))
    for name, option in OPTIONS.items():
        forms = [form for form in option.forms if variant.takes(name, form)]
        found[name] = tuple(form for form in forms if option.capability(form) in declared.options)
    return found


@FEW
@given(declarations, st.data())
def test_every_pair_of_declared_levels_is_asked_where_it_can_show(declared, data):
    """Each pair stands in a row that has no third, degenerate level."""
    variant = data.draw(st.sampled_from([one for one in variants() if one.mechanism.name in declared.mechanisms]))
    dtype = data.draw(st.sampled_from(declared.dtypes))
    levels = _declared_levels(variant, dtype, declared)
    asked = set().union(*(COVERED[row.line] for row in _asked(variant, dtype, declared)))
    for (one, some), (other, others) in itertools.combinations(levels.items(), 2):
        for a, b in itertools.product(some, others):
            assert frozenset({(one, a), (other, b)}) in asked, f"{one}={a} beside {other}={b} is never asked"


@FEW
@given(declarations, st.data())
def test_every_level_is_asked_in_four_cases_that_differ(declared, data):
    """Forms of options, contents, layouts, and lengths in which something can show."""
    variant = data.draw(st.sampled_from([one for one in variants() if one.mechanism.name in declared.mechanisms]))
    dtype = data.draw(st.sampled_from(declared.dtypes))
    counts: Counter = Counter()
    for case in {onto(row, variant, dtype, declared): row for row in _asked(variant, dtype, declared)}.items():
        counts.update(case[1].levels.items())
    for name, levels in _declared_levels(variant, dtype, declared).items():
        short = [level for level in levels if counts[name, level] < 4]
        assert [] == short, f"{name}: asked in fewer than four cases of {variant.name} in {dtype}"


def test_the_list_is_complete():
    """`python tools/extend_matrix.py` has nothing to append."""
    assert [] == [row.line for row in covering.further(rows())]


@pytest.mark.parametrize("what", ["option", "form", "content", "layout", "lengths"])
def test_a_new_level_appends_rows_and_changes_none(what, monkeypatch):
    """The rows that stand in the list stay; those that come name the new level."""
    before = rows()
    if what == "content":
        monkeypatch.setitem(DISTRIBUTIONS, "synthetic", {})
    elif what == "layout":
        monkeypatch.setitem(LAYOUTS, "synthetic", LAYOUTS["contiguous"])
    elif what == "lengths":
        monkeypatch.setattr("attention_harness.cases.space.LENGTHS", (*LENGTHS, (11, 13)))
    else:
        name = "synthetic" if what == "option" else "bias"
        monkeypatch.setattr(
            covering, "option_levels", lambda: covering_levels | {name: (*covering_levels.get(name, ()), "synthetic")}
        )
    new = list(covering.further(before))
    assert new
    marks = {"synthetic", (11, 13)}
    assert [] == [row.line for row in new if not marks & set(row.levels.values())]


covering_levels = covering.option_levels()


def test_requirements_are_met_and_change_what_they_must():
    """Kernels that ask for equal widths, square lengths and multiples get cases of their kind, none of length 0."""
    rules = ("Eq == E", "Ek == E", "Ev == E", "O == E", "E % 64 == 0", "Lq == Lk", "Lq >= 1")
    declared = Capabilities(("multi_head",), options=("mask",), requires=rules)
    cases = [case for case in cases_for(declared) if case.content in DISTRIBUTIONS]
    assert len(cases) > 50
    for case in cases:
        sizes = case.sizes
        assert sizes["Eq"] == sizes["Ek"] == sizes["Ev"] == sizes["O"] == sizes["E"]
        assert (0, 0) == (sizes["E"] % 64, sizes["E"] % sizes["H"])
        assert 1 <= sizes["Lq"] == sizes["Lk"]
    assert {case.options.get("mask") for case in cases} >= {None, "full", "batch", "query"}
    refused = Capabilities(("multi_head",), options=("mask",))
    odd = next(case for case in cases_for(refused) if case.sizes["Eq"] != case.sizes["E"])
    assert "requires Eq == E" == refuses(declared, odd)


@pytest.mark.parametrize(
    ("rules", "sizes", "mended"),
    [
        (("D % 8 == 0",), {"D": 9}, {"D": 16}),
        (("D % 8 == 0", "D <= 128"), {"D": 129}, {"D": 128}),
        (("Lq >= 1", "Lk >= 1"), {"Lq": 0, "Lk": 5}, {"Lq": 1, "Lk": 5}),
        (("Dv == D",), {"D": 5, "Dv": 6}, {"D": 5, "Dv": 5}),
        (("D == 64",), {"D": 5}, {"D": 64}),
        (("Eq == E",), {"D": 5}, {"D": 5}),
        (("D >= 8", "D <= 4"), {"D": 5}, None),
    ],
)
def test_mending(rules, sizes, mended):
    assert mended == requirements.mended(rules, sizes)


@pytest.mark.parametrize("rule", ["D % 8", "D > 4", "lq == 1", "D == D D", "", "D % 0 == 0", "__import__('os')"])
def test_what_is_no_rule_is_refused_when_it_is_declared(rule):
    with pytest.raises(HarnessError, match="is no rule on sizes"):
        Capabilities(("cosine",), requires=(rule,))


@pytest.mark.parametrize(("tier", "least", "most"), [("quick", 0, 0), ("default", 1 / 32, 1 / 8), ("thorough", 1, 1)])
def test_what_takes_seconds_to_prepare_is_asked_a_sample_of_the_rows(tier, least, most):
    """Of the default tier about one row in 16; the quick tier asks the matrix alone, the thorough one everything."""
    declared = Capabilities(("cosine",), ("float32", "bfloat16"), options=("mask", "bias"))
    every = {*cases_for(declared, tier)} - {*matrix(tier)}
    sampled = {*cases_for(replace(declared, builds=True), tier)} - {*matrix(tier)}
    assert sampled <= every
    assert least <= len(sampled) / len(every) <= most


def test_lengths_around_a_declared_block_are_asked():
    """One less, as many, one more, and one more than two of the declared block, for keys and for queries."""
    declared = Capabilities(("scaled_dot_product",), arithmetic=Arithmetic(block=48))
    cases = cases_for(declared)
    for axis in ("Lq", "Lk"):
        assert {47, 48, 49, 97} <= {case.sizes[axis] for case in cases}


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_sizes_past_a_tile_are_asked(dtype):
    """Of keys, of queries, of widths, of batch and heads; more than 2^16 scores a head in float32."""
    sizes = [case.sizes for case in cases_for(Capabilities(("scaled_dot_product",), (dtype,)))]
    assert {32, 33, 64, 65, 80, 96, 128, 129, 192, 256} <= {one["D"] for one in sizes} & {one["Dv"] for one in sizes}
    assert max(one["Lk"] for one in sizes) > (4096 if dtype == "float32" else 512)
    assert max(one["Lq"] for one in sizes) > 256
    assert max(one["B"] * one["H"] for one in sizes) > 65535
    assert {5, 7} <= {one["B"] for one in sizes}
    if dtype == "float32":
        assert max(one["Lq"] * one["Lk"] for one in sizes) > 2**16


def test_a_row_of_very_large_tensors_is_judged_by_output_and_gradients_alone():
    """For time, too; others get every check."""
    [eager] = registry.select(["eager"])
    narrow, wide = (case for case in problems() if case.id.startswith(("multi_head-B2H2Lq7Lk5", "multi_head-B1H8Lq17")))
    [row] = plan_items([eager], [], lambda one: [wide])
    assert ["accuracy", "gradient", "purity"] == sorted(check.name for check in row.checks)
    [row] = plan_items([eager], [], lambda one: [narrow])
    assert "second_call" in {check.name for check in row.checks}


def test_problems_are_asked_in_every_declared_dtype():
    """Each that the declaration takes, mended by its rules; the shapes of benchmark workloads are among them."""
    declared = Capabilities(("scaled_dot_product",), ("bfloat16", "float64"), options=("causal_top_left",))
    cases = cases_for(declared)
    every = {replace(one, dtype=dtype) for one in problems() for dtype in declared.dtypes}
    taken = {case for case in every if not refuses(declared, case)}
    assert 16 < len(taken)
    assert taken < set(cases)
    assert {one.sizes["D"] for one in cases_for(replace(declared, requires=("D % 32 == 0",)))} >= {64, 96, 128}
    grouped = replace(declared, options=(*declared.options, "grouped_heads"))
    assert any(one.sizes["Hk"] == 8 and one.sizes["H"] == 32 for one in cases_for(grouped))


def test_problems_are_ids_in_single_precision_each_once():
    assert len(set(problems())) == len(problems())
    assert {"float32"} == {one.dtype for one in problems()}
    assert {"same", "narrow", "wide"} < {one.content for one in problems()}


COINCIDENCES = ["Lk=D", "Lq=D", "Lk=Dv", "Lq=Dv", "Lq=Lk", "Lq=B", "Lk=B", "Lq=H", "Lk=H", "B=D", "H=D", "B=H"]


@pytest.mark.parametrize("pair", COINCIDENCES)
def test_two_sizes_coincide_and_no_others(pair):
    """So that what reads a shape by its lengths alone reads it wrongly there, and nothing else hides it."""
    axes = ("B", "H", "Lq", "Lk", "D", "Dv")
    cases = cases_for(Capabilities(("scaled_dot_product",), options=("mask",)))
    sizes = [[case.sizes[axis] for axis in axes] for case in cases]
    alone = [one for one in sizes if len(set(one)) == len(axes) - 1 and min(one) > 1]
    first, second = (axes.index(axis) for axis in pair.split("="))
    assert any(one[first] == one[second] for one in alone)


def test_a_row_of_very_many_scores_is_judged_by_its_output_alone():
    """For time; the same case gets every check where somebody names it."""
    [eager] = registry.select(["eager"])
    declared = Capabilities(("scaled_dot_product",), gradients=True)
    case = max(cases_for(declared), key=lambda one: one.sizes["Lq"] * one.sizes["Lk"])
    [row] = plan_items([eager], [], lambda one: [case])
    [named] = plan_items([eager], [case])
    assert {check.name for check in row.checks} < {check.name for check in named.checks}
    assert "accuracy" in {check.name for check in row.checks}
    assert "gradient" in {check.name for check in named.checks}


def test_squares_that_requires_makes_are_bounded():
    """One query against 8,192 keys would become 2^26 scores a head: past 4,096 keys one head is asked, and not more."""
    declared = Capabilities(("scaled_dot_product",), requires=("Lq == Lk",))
    sizes = [case.sizes for case in cases_for(declared)]
    assert all(one["Lq"] == one["Lk"] for one in sizes)
    assert max(one["B"] * one["H"] * one["Lq"] * one["Lk"] for one in sizes) <= 4_100**2
    assert max(one["Lk"] for one in sizes) > 4_096
