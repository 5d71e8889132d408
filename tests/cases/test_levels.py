"""Every mechanism, dtype, layout, distribution, mask form, causal corner and valid_lens form appears in the matrix."""

from __future__ import annotations

import pytest

from attention_harness.cases import inputs
from attention_harness.cases.matrix import TIERS, matrix
from attention_harness.cases.space import factors
from attention_harness.model.dtypes import DTYPES
from attention_harness.model.errors import HarnessError
from attention_harness.options import required
from attention_harness.reference.core import visible_keys
from attention_harness.registry import mechanisms

FORMS = {
    "mask": {None, "full", "batch", "head", "query", "batch_query"},
    "bias": {None, "full", "query"},
    "valid_lens": {None, "batch", "query"},
    "causal": {None, "top_left", "bottom_right"},
    "scale": {None, 0.375, "learned"},
}


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize(
    ("field", "levels"),
    [
        ("mechanism", set(mechanisms())),
        ("dtype", set(DTYPES)),
        ("layout", {"contiguous", "transposed", "expanded", "offset"}),
        ("content", {"ordinary", "large", "shifted", "peaked", "nearly_equal", "outlier", "tiny"}),
    ],
)
def test_every_level_of_a_field(tier, field, levels):
    """The quick tier is small and still holds every level of these."""
    assert set() == levels - {getattr(case, field) for case in matrix(tier)}


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("option", FORMS)
def test_every_form_of_an_option(tier, option):
    """Every form of every option is in every tier."""
    assert set() == FORMS[option] - {case.options.get(option) for case in matrix(tier)}
    assert FORMS[option] == set(factors()[option])


@pytest.mark.parametrize("tier", TIERS)
def test_every_option_of_every_mechanism(tier):
    """An option that a mechanism declares is asked of that very mechanism."""
    asked = {(case.mechanism, option) for case in matrix(tier) for option in required(case)}
    declared = {(name, option) for name, known in mechanisms().items() for option in known.options}
    assert declared == asked


@pytest.mark.parametrize("tier", TIERS)
def test_every_choice_and_example(tier):
    """Every variant of a formula and every worked example of the notes has a case."""
    chosen = {(c.mechanism, name, c.options[name]) for c in matrix(tier) for name in mechanisms()[c.mechanism].choices}
    declared = {(m.name, name, v) for m in mechanisms().values() for name, vs in m.choices.items() for v in vs}
    assert declared == chosen
    examples = {(m.name, f"example.{example.name}") for m in mechanisms().values() for example in m.examples}
    assert set() == examples - {(case.mechanism, case.content) for case in matrix(tier)}


SHAPES = {
    "more queries than keys": lambda s: s.get("Lq", 0) > s.get("Lk", 99) > 0,
    "more keys than queries": lambda s: 0 < s.get("Lq", 99) < s.get("Lk", 0),
    "values wider than keys": lambda s: s.get("Dv", 0) > s.get("D", 99),
    "keys wider than values": lambda s: 0 < s.get("Dv", 99) < s.get("D", 0),
    "as many heads as batches": lambda s: s.get("B") == s.get("H", 0) > 1,
    "as many queries as channels": lambda s: s.get("Lq") == s.get("D", 0) > 1,
    "grouped heads": lambda s: 1 < s.get("Hk", 99) < s.get("H", 0),
    "one head": lambda s: s.get("H") == 1,
    "one query": lambda s: s.get("Lq") == 1 < s.get("Lk", 0),
    "one key": lambda s: s.get("Lk") == 1 < s.get("Lq", 0),
    "no query": lambda s: s.get("Lq") == 0,
    "no key": lambda s: s.get("Lk") == 0,
    "width 1": lambda s: s.get("D") == 1,
    "keys beyond a block of 128": lambda s: s.get("Lk", 0) > 128,
}


@pytest.mark.parametrize("shape", SHAPES)
def test_shapes_that_hide_mutants(shape):
    """Shapes in which a mixed-up axis cannot go unnoticed are in the default matrix."""
    assert any(SHAPES[shape](case.sizes) for case in matrix("default"))


def test_fully_masked_rows_and_full_rows():
    """Some masks and lengths hide all of a row, some nothing of it."""
    masks = [inputs.tensors(case)["mask"] for case in matrix("default") if "mask" in case.options]
    assert any((~mask.any(-1)).any() for mask in masks)
    assert any(mask.all(-1).any() for mask in masks)
    lens = [(inputs.tensors(c)["valid_lens"], c) for c in matrix("default") if "valid_lens" in c.options]
    assert any((given == 0).any() for given, _ in lens)
    assert any((given == case.sizes.get("Lk", case.sizes.get("L"))).any() for given, case in lens)


def test_no_case_hides_everything():
    """Of every case but those with an empty length some query sees a key: an output of zeros alone asks nothing."""
    asked = [c for c in matrix("default") if mechanisms()[c.mechanism].scores and min(c.sizes.values()) > 0]
    assert len(asked) > 200
    blind = []
    for case in asked:
        given = inputs.exact(inputs.tensors(case))
        shape = inputs.shape_of(mechanisms()[case.mechanism].scores, case.sizes)
        if not visible_keys(shape, **inputs.option_values(case, given)).any():
            blind.append(case.id)
    assert [] == blind


def test_unknown_tier():
    """A tier that does not exist is one line that names those that do."""
    with pytest.raises(HarnessError, match="no tier 'slow'; known: quick, default, thorough"):
        matrix("slow")
