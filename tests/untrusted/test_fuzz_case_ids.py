"""A case id is rebuilt exactly or refused in a line, before anything is allocated."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from attention_harness.cases import inputs
from attention_harness.cases.ids import parse
from attention_harness.model.errors import HarnessError
from tests.registry.sources import TINY
from tests.untrusted.inside import HOSTILE, few_cases, profile

PIECES = re.compile(r"[A-Za-z_]+|\d+|.")


@st.composite
def ids(draw: st.DrawFn) -> str:
    """Draw the id of a real case with some of its pieces left out, doubled, or replaced."""
    pieces = PIECES.findall(draw(st.sampled_from([case.id for case in few_cases()])))
    other = st.one_of(
        st.sampled_from([*PIECES.findall(TINY), "999999999", "0", "-1", "nan", "inf", "1e400", "٣", "@", "=", "+", ""]),
        st.text(max_size=4),
    )
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, len(pieces) - 1))
        pieces[place : place + 1] = draw(st.sampled_from([[], [pieces[place]] * 2, [draw(other)]]))
        pieces = pieces or [""]
    return "".join(pieces)


@given(text=st.one_of(ids(), st.text(max_size=60)))
@example(text=HOSTILE)
@example(text="")
@profile(300)
def test_an_id_is_rebuilt_or_refused(text):
    """What is accepted says the same; what is not is a mistake of the user's, not an exception of ours."""
    try:
        case = parse(text)
    except HarnessError:
        return
    assert text == case.id


ABSURD = [
    TINY.replace("Lq2", "Lq999999999"),
    TINY.replace("D4", "D99999999"),
    TINY.replace("Lq2Lk3", "Lq16777216Lk16777216").replace("B2H2Hk2", "B1024H64Hk64"),
    TINY.replace("B2", "B0").replace("Lk3", "Lk999999999"),
    "masked_softmax-B1H1Lq16777216Lk16777216-float32-plain-ordinary-contiguous",
]


@pytest.mark.parametrize("text", ABSURD)
@pytest.mark.parametrize("command", [("check", "eager", "--case"), ("mutants", "sensitivity", "--case"), ("replay",)])
def test_absurd_sizes_are_refused_before_anything_is_allocated(mistake, monkeypatch, command, text):
    """No tensor is made, and the line says which size is too large."""
    monkeypatch.setattr(inputs, "tensors", lambda case: pytest.fail("a tensor was asked for"))
    further = ("--implementation", "eager") if command == ("replay",) else ()
    assert re.search(r"a length is 16777216 at most|more than 2\^40 elements", mistake(*command, text, *further))
