"""A case is its id, and a declaration that cannot be meant is refused in words."""

from __future__ import annotations

import dataclasses

import pytest

from attention_harness.model.capabilities import Arithmetic, Capabilities
from attention_harness.model.case import AXES, Case
from attention_harness.model.errors import HarnessError

CASE = Case("cosine", {"D": 8, "Lq": 5, "B": 2, "H": 4, "Hk": 2, "Lk": 7, "Dv": 6}, options={"mask": "full"})


def test_an_id_holds_everything():
    """Sizes stand in one order, options in theirs, the device only where it is not the CPU."""
    assert "cosine-B2H4Hk2Lq5Lk7D8Dv6-float32-mask=full-ordinary-contiguous" == CASE.id == str(CASE)
    assert CASE.id + "@cuda" == CASE.on("cuda").id
    assert CASE.on("cuda").on("cpu") == CASE
    assert CASE.on("cuda") != CASE
    assert len({CASE, dataclasses.replace(CASE), Case.from_id(CASE.id)}) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"dtype": "bfloat16", "layout": "offset", "content": "recorded.minilm_layer0", "draw": 12},
        {"options": {}},
        {"options": {"mask": "full", "causal": "top_left", "scale": 0.375, "score": "cosine"}},
        {"options": {"scale": 1e-07}},
        {"options": {"scale": -2.0, "dropout": 0.1}},
        {"device": "cuda"},
    ],
)
def test_an_id_comes_back_as_the_case(changes):
    """Field by field, the scale as a number even where its text has a sign in it."""
    case = dataclasses.replace(CASE, **changes)
    again = Case.from_id(case.id)
    for field in dataclasses.fields(Case):
        assert getattr(case, field.name) == getattr(again, field.name), field.name


def test_every_size_letter_is_read_back():
    """No letter is taken for another."""
    sizes = {axis: n for n, axis in enumerate(AXES)}
    assert sizes == dict(Case.from_id(Case("cosine", sizes).id).sizes)


def test_a_case_is_frozen_to_its_depth():
    """Neither a field nor what lies in it can be changed."""
    with pytest.raises(AttributeError):
        CASE.draw = 1
    with pytest.raises(TypeError):
        CASE.sizes["B"] = 1
    with pytest.raises(TypeError):
        CASE.options["mask"] = "head"


@pytest.mark.parametrize(
    ("declared", "complaint"),
    [
        ({"mechanisms": "cosine"}, "mechanisms must be a tuple of names, got 'cosine'"),
        ({"mechanisms": ()}, "mechanisms must be a tuple of names, got ()"),
        ({"dtypes": "float32"}, "dtypes must be a tuple of names, got 'float32'"),
        ({"dtypes": ()}, "dtypes must be a tuple of names, got ()"),
        ({"dtypes": ("float",)}, "unknown dtype 'float'; known: float32, float64, bfloat16, float16"),
        ({"devices": ()}, "devices must be a tuple of names"),
        ({"devices": ("gpu",)}, "unknown device 'gpu'; known: cpu, cuda"),
        ({"options": "mask"}, "options must be a tuple of names, got 'mask'"),
        ({"fully_masked_rows": "garbage"}, "fully_masked_rows 'garbage' is none of zero, nan, mean"),
        ({"gradients": "yes"}, "gradients must be True or False, got 'yes'"),
        ({"repeatable": 1}, "repeatable must be True or False, got 1"),
        ({"arithmetic": "loose"}, "arithmetic must be an Arithmetic(...), got 'loose'"),
    ],
)
def test_a_declaration_that_cannot_be_meant(declared, complaint):
    """The message names the field, what it got and what it takes."""
    with pytest.raises(HarnessError) as caught:
        Capabilities(**{"mechanisms": ("cosine",)} | declared)
    assert str(caught.value).startswith("capabilities: ")
    assert complaint in str(caught.value)


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ({"accumulator": "fp32"}, "accumulator 'fp32' is none of float32, float64, bfloat16, float16"),
        ({"block": 0}, "block must be a whole number of 1 or more, got 0"),
        ({"block": 2.5}, "block must be a whole number of 1 or more, got 2.5"),
        ({"block": True}, "block must be a whole number of 1 or more, got True"),
        ({"gradient_block": -1}, "gradient_block must be a whole number of 0 or more, got -1"),
        ({"gradient_block": "all"}, "gradient_block must be a whole number of 0 or more, got 'all'"),
        ({"exp_ulp": -1.0}, "exp_ulp must be a number from 0 to 64, got -1.0"),
        ({"exp_ulp": 65}, "exp_ulp must be a number from 0 to 64, got 65"),
        ({"exp_ulp": float("nan")}, "exp_ulp must be a number from 0 to 64, got nan"),
        ({"exp_ulp": None}, "exp_ulp must be a number from 0 to 64, got None"),
        ({"split_keys": "no"}, "split_keys must be True or False, got 'no'"),
    ],
)
def test_an_arithmetic_that_cannot_be_meant(wrong, complaint):
    """One field, what it takes and what it got."""
    with pytest.raises(HarnessError) as caught:
        Arithmetic(**wrong)
    assert f"arithmetic: {complaint}" == str(caught.value)


def test_an_arithmetic_at_its_limits():
    """What the messages call allowed is."""
    for name, value in (("block", 1), ("gradient_block", 0), ("exp_ulp", 0), ("exp_ulp", 64.0)):
        assert value == getattr(Arithmetic(**{name: value}), name)


def test_options_stand_in_one_order():
    """Cases of the same options are equal, in whichever order they were given; a text in another order is refused."""
    every = {"score": "cosine", "dropout": 0.5, "scale": 2.0, "causal": "top_left", "valid_lens": "batch"}
    every |= {"bias": "full", "mask": "full", "positions": "none"}
    case = dataclasses.replace(CASE, options=every)
    assert sorted(every) == list(case.options)
    assert case == dataclasses.replace(CASE, options=dict(sorted(every.items())))
    with pytest.raises(HarnessError, match="its canonical form is 'cosine-"):
        Case.from_id(case.id.replace("dropout=0.5+mask=full", "mask=full+dropout=0.5"))
