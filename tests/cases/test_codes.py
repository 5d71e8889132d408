"""Tensors that are handed over as codes: the formula has the numbers they stand for; checks that need others rest."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from attention_harness.cases import inputs
from attention_harness.cases.ids import parse
from attention_harness.checks import BY_NAME
from attention_harness.checks.expected import arguments, arrays_of
from attention_harness.model.case import Case
from attention_harness.mutation.patched import eager
from attention_harness.options.quantised import BLOCK, OPTION, factors
from attention_harness.reference.scaled_dot_product import scaled_dot_product

FORMS = (*OPTION.forms, *OPTION.more_forms)
SHAPES = {"tensor": (1,), "head": (2, 4), "block": (2, 4, 3)}


def case_of(form: str, content: str = "ordinary", dtype: str = "float32") -> Case:
    """Return a case of two blocks and one position."""
    return parse(f"scaled_dot_product-B2H4Hk2Lq33Lk31D8Dv6-{dtype}-quantised={form}-{content}-contiguous")


@pytest.mark.parametrize("form", FORMS)
def test_what_is_handed_over(form):
    """Codes in their dtype, scales in float32 or better, of the declared shapes; the last codes are used."""
    code, shared = form.split("_")
    made = inputs.tensors(case_of(form))
    largest = {"int8": 127.0, "e4m3": 448.0, "e5m2": 57344.0}[code]
    assert made["query_scale"].shape == SHAPES[shared]
    assert made["query"].dtype == made["value"].dtype != torch.float32
    for name in ("query", "key", "value"):
        assert made[name].float().abs().max() == largest, name
    assert made["query_scale"].dtype == torch.float32
    assert inputs.tensors(case_of(form, dtype="float64"))["query_scale"].dtype == torch.float64


@pytest.mark.parametrize("form", FORMS)
def test_the_formula_attends_to_what_codes_stand_for(form):
    """Written out element by element."""
    case = case_of(form)
    tensors, options = arguments(case, arrays_of(case))
    numbers = {}
    for name, codes in tensors.items():
        scale = options[f"{name}_scale"]
        numbers[name] = np.zeros(codes.shape)
        for b, h, place, d in np.ndindex(codes.shape):
            of_group = {1: (0,), 2: (b, h), 3: (b, h, place // BLOCK)}[scale.ndim]
            numbers[name][b, h, place, d] = float(codes[b, h, place, d]) * scale[of_group]
    plain = {name: x for name, x in options.items() if not name.endswith("_scale")}
    assert np.array_equal(scaled_dot_product(**tensors, **options)[0], scaled_dot_product(**numbers, **plain)[0])


def test_groups_have_unlike_scales():
    """So that another group's scale shows: four in five of those beside each other differ by a twentieth and more."""
    for name, scale in inputs.exact(inputs.tensors(case_of("int8_block"))).items():
        if name.endswith("_scale"):
            for axis in (-1, -2):
                assert (np.abs(np.diff(np.log(scale), axis=axis)) > 0.05).mean() > 0.8, (name, axis)


@pytest.mark.parametrize("content", ["same", "tiny", "large", "unlike"])
def test_contents_of_other_sizes_are_finite(content):
    """One tensor that is given for several inputs has one scale."""
    made = inputs.tensors(
        replace(case_of("e4m3_head", content), sizes={**case_of("e4m3_head").sizes, "Hk": 4, "Lk": 33})
    )
    assert all(torch.isfinite(x.float()).all() for x in made.values())
    if content == "same":
        assert made["query"] is made["key"]
        assert made["query_scale"] is made["key_scale"]


def test_rows_cut_from_blocks_keep_their_scales():
    """A block of queries of a long problem is multiplied by the scales of its own positions."""
    scale = np.arange(1.0, 4.0).reshape(1, 1, 3)
    cut = OPTION.brought["query_scale"].cut(scale, slice(10, 35), 40)
    assert np.array_equal(factors(cut, 25)[0, 0, :, 0], factors(scale, 40)[0, 0, 10:35, 0])


def test_checks_that_need_other_numbers_rest():
    """No gradient, no relation and no transformation; the output, the weights and later calls are judged."""
    judged = {name for name, check in BY_NAME.items() if check.applies(eager(), case_of("int8_block"))}
    assert judged == {"accuracy", "weights", "purity", "second_call"}
