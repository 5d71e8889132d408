"""From the arguments of `choose` to a case, and to the one that conformance is checked on."""

from __future__ import annotations

import math

import pytest

from attention_harness.cases.ids import parse
from attention_harness.commands.choose_problem import GATE_SCORES, case_of, gated_on
from attention_harness.commands.main import parse as parse_arguments
from attention_harness.model.case import Case
from attention_harness.model.errors import HarnessError
from attention_harness.options import OPTIONS
from attention_harness.registry import mechanism, mechanisms

SIZES = {"B": 2, "H": 2, "Hk": 2, "Lq": 8, "Lk": 8, "D": 4, "Dv": 4}
NEEDS = {"multi_head": ["--size", "H=4"], "projected": ["--option", "score=cosine"]}
NEEDS["self_attention"] = ["--option", "positions=none"]


def case_named(*words: str):
    """Return the case of a command line."""
    return case_of(parse_arguments(["choose", *words]))


@pytest.mark.parametrize("name", sorted(mechanisms()))
def test_every_mechanism_has_a_shape(name):
    """The shape is that of its first tensor, and every other size follows or is asked for."""
    first = mechanism(name).inputs[0].axes
    case = case_named(name, "--shape", "x".join(["8"] * len(first)), *NEEDS.get(name, []))
    assert case == parse(case.id)
    assert {8} == {case.sizes[axis] for axis in first}


def test_the_words_of_a_model():
    """Grouped heads, a cache, a corner and a dtype."""
    words = ("--shape", "1x32x1x128", "--size", "Hk=8", "--size", "Lk=4096", "--dtype", "bfloat16")
    case = case_named("scaled_dot_product", *words, "--causal", "bottom_right")
    assert "scaled_dot_product-B1H32Hk8Lq1Lk4096D128Dv128-bfloat16-causal=bottom_right-ordinary-contiguous" == case.id


def test_a_corner_that_does_not_matter_need_not_be_said():
    """Equal lengths: both corners are one. Other lengths: it is asked for."""
    assert "top_left" == case_named("dot_product", "--shape", "1x2x8x4", "--causal").options["causal"]
    with pytest.raises(HarnessError, match="say which: --causal top_left, --causal bottom_right"):
        case_named("dot_product", "--shape", "1x2x8x4", "--size", "Lk=9", "--causal")


@pytest.mark.parametrize("name", [name for name, one in OPTIONS.items() if one.forms and not one.training])
def test_every_option_has_an_argument(name):
    """Of its own name, with each of its forms as an id spells it; nothing here names one."""
    for form in OPTIONS[name].forms:
        takes = [one for one in reversed(mechanisms().values()) if OPTIONS[name].capability(form) in one.options]
        known = next((one for one in takes if not one.choices), [*takes, mechanism("scaled_dot_product")][0])
        spelled = Case(known.name, SIZES, options={name: form}).id.partition(f"{name}=")[2].split("-ordinary")[0]
        words = ("--shape", "x".join(["8"] * len(known.inputs[0].axes)), *NEEDS.get(known.name, []))
        assert form == case_named(known.name, *words, f"--{name.replace('_', '-')}", spelled).options[name]


def test_options_have_a_usual_form():
    """Without a form each takes its first."""
    case = case_named(
        "scaled_dot_product", "--shape", "2x2x8x4", "--mask", "--bias", "head", "--valid-lens", "--scale", "0.5"
    )
    assert {"mask": "full", "bias": "head", "valid_lens": "batch", "scale": 0.5} == dict(case.options)


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ("needs --shape 1x8x256x64: the axes B H Lq D of its query", ["scaled_dot_product"]),
        ("give 4 numbers such as 1x8x256x64", ["scaled_dot_product", "--shape", "1x8x64"]),
        ("give 4 numbers", ["scaled_dot_product", "--shape", "1x8xax64"]),
        ("needs --size H=N", ["multi_head", "--shape", "1x8x64"]),
        ("dot_product has the sizes B H", ["dot_product", "--shape", "1x2x8x4", "--size", "E=3"]),
        ("expected NAME=VALUE", ["dot_product", "--shape", "1x2x8x4", "--size", "Dv"]),
        ("additive has the sizes", ["additive", "--shape", "1x2x8x4", "--size", "Hk=2"]),
        ("H must be a multiple of Hk", ["dot_product", "--shape", "1x3x8x4", "--size", "Hk=2"]),
        ("option mask=wide is not known", ["dot_product", "--shape", "1x3x8x4", "--mask", "wide"]),
        ("needs score=", ["projected", "--shape", "1x8x4"]),
        ("Did you mean 'dot_product'", ["dot_porduct", "--shape", "1x3x8x4"]),
        ("leave out --shape, --causal", ["dot_product-B1", "--shape", "1x3x8x4", "--causal"]),
    ],
)
def test_a_mistake_says_what_is_expected(message, words):
    """Each names the axis, option or number that is wrong."""
    with pytest.raises(HarnessError, match=message):
        case_named(*words)


def test_a_case_describes_itself():
    """An id in place of a mechanism."""
    text = "dot_product-B1H1Hk1Lq4Lk4D8Dv8-float32-plain-ordinary-contiguous"
    assert text == case_named(text).id


@pytest.mark.parametrize(
    "words",
    [
        ["scaled_dot_product", "--shape", "1x32x2048x128", "--causal"],
        ["scaled_dot_product", "--shape", "1x32x1x128", "--size", "Lk=1000000"],
        ["scaled_dot_product", "--shape", "700x64x512x64", "--size", "Lk=1000"],
        ["positional_encoding", "--shape", "64x4096x512"],
    ],
)
def test_conformance_is_asked_at_a_length_that_it_can_be(words):
    """Lengths are halved, equal ones stay equal; dtype, options, heads and widths are the problem's own."""
    case = case_named(*words)
    gated = gated_on(case)
    axes = mechanism(case.mechanism).scores or mechanism(case.mechanism).output
    assert math.prod(gated.sizes[axis] for axis in axes) <= GATE_SCORES
    assert gated == parse(gated.id)
    lengths = ("B", "Lq", "Lk", "L")
    kept = {axis: length for axis, length in case.sizes.items() if axis not in lengths}
    assert kept == {axis: length for axis, length in gated.sizes.items() if axis not in lengths}
    assert (case.dtype, case.options) == (gated.dtype, gated.options)
    if case.sizes.get("Lq") == case.sizes.get("Lk"):
        assert gated.sizes.get("Lq") == gated.sizes.get("Lk")


def test_a_small_problem_is_asked_itself():
    """Nothing is shortened without need."""
    case = case_named("scaled_dot_product", "--shape", "1x8x256x64")
    assert case == gated_on(case)
