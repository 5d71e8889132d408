"""An id names one case and the same case for ever; whatever is not an id is refused in one line."""

from __future__ import annotations

import hashlib
import itertools
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attention_harness.cases import inputs
from attention_harness.cases.anchors import example_cases, recorded_cases
from attention_harness.cases.ids import parse
from attention_harness.cases.matrix import TIERS, listed, matrix
from attention_harness.model.case import Case
from attention_harness.model.errors import HarnessError
from attention_harness.registry import mechanisms

PLAIN = "scaled_dot_product-B2H3Hk3Lq5Lk7D16Dv8-float32-plain-ordinary-contiguous"

# The rows that stood in the list when they were counted: a changed, moved or lost one is a changed case, and every
# saved run, known failure and replay command of it goes stale.
FROZEN, DIGEST = 1559, "4e6f12b618c65834"


def test_the_list_only_grows():
    """The rows that stood there when the hash was taken stand there still, in the same order."""
    first = "\n".join(map(" ".join, listed()[:FROZEN]))
    assert DIGEST == hashlib.sha256(first.encode()).hexdigest()[:16]
    assert len(listed()) == len({name for _, name in listed()})


@pytest.mark.parametrize("tier", TIERS)
def test_every_id_parses_back(tier):
    """An id rebuilds its case, field by field, and no two cases share one."""
    fields = ("mechanism", "sizes", "dtype", "options", "content", "layout", "draw", "device")
    for case in matrix(tier):
        again = parse(case.id)
        assert case.id == again.id
        assert [getattr(case, name) for name in fields] == [getattr(again, name) for name in fields]
    assert len(matrix(tier)) == len({case.id for case in matrix(tier)})


def test_tiers_grow():
    """Quick is a fraction of the default, which is a fraction of thorough."""
    quick, default, thorough = (len(matrix(tier)) for tier in TIERS)
    assert 2 * quick < default
    assert 2 * default < thorough


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (("scaled", "skaled"), "no mechanism 'skaled_dot_product'. Did you mean 'scaled_dot_product'"),
        (("float32", "float8"), "unknown dtype 'float8'; known: float32"),
        (("contiguous", "sparse"), "unknown layout 'sparse'; known: contiguous"),
        (("ordinary", "dull"), "unknown content 'dull'; known: ordinary"),
        (("ordinary", "example.none"), "no example 'none'"),
        (("ordinary", "recorded.none"), "no recording 'none'; known: minilm"),
        (("plain", "mask=round"), "option mask=round is not known to scaled_dot_product"),
        (("plain", "mask=full+mask=full"), "option 'mask=full' is not name=value, once"),
        (
            ("plain", "scale=inf"),
            "option scale=inf is not known to scaled_dot_product; expected a finite number",
        ),
        (("plain", "tilt=1.0"), "option tilt=1.0 is not known"),
        (("plain", "dropout=1.0"), "option dropout=1.0 is not known"),
        (("plain", "scale=learnt"), "expected a finite number or learned"),
        (("plain", "grouped_heads=yes"), "option grouped_heads=yes is not known"),
        (
            ("plain", "valid_lens=1,2"),
            "option valid_lens=1,2 is not known to scaled_dot_product; expected batch",
        ),
        (("H3Hk3", "H3Hk2"), "H must be a multiple of Hk"),
        (("H3Hk3", "H3Hk0"), "H must be a multiple of Hk"),
        (("Dv8", ""), "has the sizes B H Lq D Hk Lk Dv, got B H Hk Lq Lk D"),
        (("Dv8", "Dw8"), "has the sizes B H Lq D Hk Lk Dv, got B H Hk Lq Lk D Dw"),
        (("B2", "B02"), "its canonical form is 'scaled_dot_product-B2H3"),
        (("contiguous", "contiguous@tpu"), "unknown device 'tpu'; known: cpu, cuda"),
        (("contiguous", "contiguous@cuda:1"), "unknown device 'cuda:1'; known: cpu, cuda"),
        (("contiguous", "contiguous@cpu"), "its canonical form is 'scaled_dot_product-B2H3"),
        (("D16", "D0"), "D must be 1 or more; only B, Lq, Lk, L, P may be 0"),
        (("Dv8", "Dv0"), "Dv must be 1 or more"),
        (("H3Hk3", "H0Hk3"), "H must be 1 or more"),
        (("contiguous", "contiguous-draw0"), "option 'plain-ordinary' is not name=value"),
        (("contiguous", "contiguous-draw01"), "option 'plain-ordinary' is not name=value"),
        (("-contiguous", ""), "expected mechanism-sizes-dtype-options-content-layout[-drawN][@device]"),
    ],
)
def test_a_malformed_id_says_what_is_wrong(change, complaint):
    """The complaint names the part, and what would be right."""
    with pytest.raises(HarnessError) as caught:
        parse(PLAIN.replace(*change))
    assert complaint in str(caught.value)


ORDER = ("bias=query", "causal=top_left", "mask=full", "scale=0.5", "valid_lens=batch")


@pytest.mark.parametrize("options", list(itertools.combinations(ORDER, 2)), ids=str)
def test_options_have_one_order(options):
    """The other order is refused with the id that was meant, which is one."""
    wrong, right = (PLAIN.replace("plain", "+".join(order)) for order in (options[::-1], options))
    with pytest.raises(HarnessError) as caught:
        parse(wrong)
    assert str(caught.value) == f"malformed case id {wrong!r}; its canonical form is {right!r}"
    assert right == parse(right).id
    values = dict(item.split("=") for item in options[::-1])
    values |= {"scale": 0.5} if "scale" in values else {}
    assert right == replace(parse(PLAIN), options=values).id


def test_choices_stand_among_the_options():
    """A mechanism's own choices are ordered with them."""
    with pytest.raises(HarnessError, match=r"its canonical form is '.*-mask=full\+positions=none-"):
        parse("self_attention-B2L5E16-float32-positions=none+mask=full-ordinary-contiguous")


def test_a_further_draw_is_another_case_of_the_same_problem():
    """Its number stands behind the layout; the first has none."""
    again = replace(parse(PLAIN), draw=7)
    assert f"{PLAIN}-draw7" == again.id
    assert again == parse(again.id)
    assert f"{PLAIN}-draw7@cuda" == again.on("cuda").id


MAY_BE_EMPTY = {"B", "Lq", "Lk", "L", "P"}


@pytest.mark.parametrize("mechanism", mechanisms())
def test_only_batches_and_lengths_may_be_0(mechanism):
    """Every other axis needs a length; these axes may be empty, and then the case has inputs."""
    case = next(case for case in matrix("quick") if case.mechanism == mechanism and case.content == "ordinary")
    for axis in case.sizes:
        empty = replace(case, sizes=dict(case.sizes) | {axis: 0}, options={**case.options})
        if axis in MAY_BE_EMPTY:
            assert empty == parse(empty.id)
            assert inputs.tensors(empty)
        else:
            with pytest.raises(HarnessError, match=rf"{axis} must be 1 or more|must be a multiple of {axis}$"):
                parse(empty.id)


GIVEN = [*example_cases(), *recorded_cases()]


@pytest.mark.parametrize("case", GIVEN, ids=str)
def test_what_is_given_stands_for_one_problem_alone(case):
    """An example or a recording has its own sizes and options in any dtype and plain layout; all else is refused."""
    for other in ({"dtype": "float16"}, {"device": "cuda"}, {"layout": "transposed"}, {"layout": "offset"}):
        assert parse(replace(case, **other).id) == replace(case, **other)
    known = mechanisms()[case.mechanism]
    more = {axis: length + length for axis, length in case.sizes.items()}  # doubled: multiples stay multiples
    changes = [{"sizes": dict(case.sizes) | {axis: 2 * length}} for axis, length in case.sizes.items() if axis != "Hk"]
    changes += [{"sizes": more}, {"layout": "expanded"}]
    changes += [{"options": {n: v for n, v in case.options.items() if n != left}} for left in ("mask", "valid_lens")]
    if "scale" in known.options:
        changes.append({"options": {**case.options, "scale": 0.5}})
    if known.scores:
        changes.append({"options": {**case.options, "bias": "query"}})
    own = next(given for given in GIVEN if (given.mechanism, given.content) == (case.mechanism, case.content))
    for change in changes:
        if (other := replace(case, **change)) != case:
            with pytest.raises(HarnessError) as caught:
                parse(other.id)
            complaint = f"{other.id}: {case.content} stands for one problem alone: {own.id}, in any dtype and device"
            assert complaint == str(caught.value)


def test_a_recording_belongs_to_its_mechanism():
    """Another mechanism of the same axes does not take it."""
    case = replace(recorded_cases()[0], mechanism="dot_product")
    with pytest.raises(HarnessError, match=rf": {case.content} is not an input of dot_product$"):
        parse(case.id)


def test_what_a_mechanism_lacks_is_refused():
    """A formula of one choice needs it named; masks by head need heads; an operator without scores takes no mask."""
    for text, complaint in (
        ("projected-B2Lq5Lk7D16Dv8Eq18Ek11Ev8-float32-plain-ordinary-contiguous", "projected needs score="),
        ("self_attention-B2L5E16-float32-mask=head+positions=none-ordinary-contiguous", "has no heads"),
        ("positional_encoding-B2L5E16-float32-mask=full-ordinary-contiguous", "does not take mask"),
        (
            "location-B2Lq5P7Dq16Dk9Dv8O9-float32-causal=top_left-ordinary-contiguous",
            "not take causal_top_left",
        ),
    ):
        with pytest.raises(HarnessError) as caught:
            parse(text)
        assert complaint in str(caught.value)


def assert_case_or_complaint(text: str) -> None:
    """The one thing that holds of every text."""
    case, complaint = None, ""
    try:
        case = parse(text)
    except HarnessError as error:
        complaint = str(error)
    if case is None:
        assert len(complaint.splitlines()) == 1
    else:
        assert isinstance(case, Case)
        assert case.id == text


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.text(st.one_of(st.characters(), st.sampled_from("-+=@0123456789BHLkqDv.\n"))))
def test_any_text(text):
    """Any text is a case of that id, or one line."""
    assert_case_or_complaint(text)


IDS = [case.id for case in matrix("quick")]
PIECES = st.one_of(
    st.sampled_from([piece for text in IDS for piece in text.replace("+", "-").split("-")]),
    st.text(max_size=3),
    st.sampled_from(["-", "+", "=", "@", "\n", "\x85", "٣", "1" * 5000, "scale=1e999", "scale=nan", "-1", "@cuda"]),
)


@settings(max_examples=600, deadline=None, derandomize=True)
@given(
    st.sampled_from(IDS),
    st.lists(st.tuples(st.floats(0, 1), st.integers(0, 12), PIECES), min_size=1, max_size=3),
)
def test_a_mutated_id(text, edits):
    """So is an id of which pieces were cut out, put in or replaced."""
    for where, cut, put in edits:
        start = int(where * len(text))
        text = text[:start] + put + text[start + cut :]
    assert_case_or_complaint(text)
