"""An impossible verdict cannot be constructed, nor read; a possible one survives JSON."""

from __future__ import annotations

import json
import math
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attention_harness.model.verdict import NONCONFORMING, NOT_CHECKED, Status, Verdict
from attention_harness.store.encoding import decode, encode, plain

NAMES = {"implementation": "eager", "mechanism": "cosine", "case": "cosine-B1", "check": "accuracy"}
RAN = [status for status in Status if status not in NOT_CHECKED]
PASSES = (Status.PASS, Status.UNEXPECTED_PASS)


def verdict(status: Status, **facts: object) -> Verdict:
    return Verdict(**NAMES, status=status, **facts)


def test_statuses_are_those_of_the_contract():
    """Ten results; five of them do not conform, three were not run."""
    names = "pass fail error crash timeout unsupported unavailable not_asked known_failure unexpected_pass"
    assert names.split() == [str(status) for status in Status]
    assert {"fail", "error", "crash", "timeout", "unexpected_pass"} == set(NONCONFORMING)
    assert {"unsupported", "unavailable", "not_asked"} == set(NOT_CHECKED)


@pytest.mark.parametrize("status", PASSES)
@pytest.mark.parametrize("error_ratio", [None, -0.1, 1.0001, math.nan, math.inf])
def test_a_pass_has_a_measured_error_ratio(status, error_ratio):
    """A pass without an error, or with one beyond its error bound, is impossible."""
    with pytest.raises(
        ValueError, match=r"a pass needs a measured error ratio in \[0, 1\]|not finite is stated as None"
    ):
        verdict(status, error_ratio=error_ratio, reason="because")


@pytest.mark.parametrize("status", [status for status in Status if status not in PASSES])
def test_everything_else_has_a_reason(status):
    """Whatever is no pass says why."""
    with pytest.raises(ValueError, match="every result other than a pass needs a reason"):
        verdict(status)
    assert verdict(status, reason="because").reason == "because"


@pytest.mark.parametrize("status", NOT_CHECKED)
def test_what_was_not_run_has_no_error_ratio(status):
    """An error of what was not run is impossible."""
    with pytest.raises(ValueError, match="nothing was run, so there is no error ratio to state"):
        verdict(status, reason="no device", error_ratio=0.5)


@pytest.mark.parametrize("status", ["bogus", "", "PASS", None, 1])
def test_a_status_is_one_of_nine(status):
    """Whatever else is given as one is refused, so that nothing counts as neither conforming nor not."""
    with pytest.raises(ValueError, match="is not a valid Status"):
        verdict(status, error_ratio=0.5, reason="because")
    assert verdict("fail", reason="because").status is Status.FAIL


def test_the_message_names_the_verdict():
    """Whoever builds an impossible verdict learns which."""
    with pytest.raises(ValueError, match="pass of eager on cosine-B1, check accuracy"):
        verdict(Status.PASS)


def test_a_verdict_is_frozen():
    """Nobody turns a fail into a pass afterwards."""
    with pytest.raises(AttributeError):
        verdict(Status.FAIL, reason="wrong").status = Status.PASS


numbers = st.none() | st.floats(min_value=0, allow_infinity=False)
verdicts = st.builds(
    lambda status, error_ratio, error, where, reason: verdict(
        status,
        error_ratio=min(error_ratio or 0.0, 1.0)
        if status in PASSES
        else None
        if status in NOT_CHECKED
        else error_ratio,
        error=error,
        where=where,
        reason=reason,
    ),
    st.sampled_from(Status),
    numbers,
    numbers,
    st.none() | st.lists(st.integers(0, 99), max_size=16).map(tuple),
    st.text(min_size=1),
)


@settings(deadline=None, derandomize=True)
@given(verdicts)
def test_json_and_back(whole):
    """The line that is written is strict JSON, and reads back as an equal verdict."""
    line = encode(whole)
    assert len(line.splitlines()) == 1
    json.loads(line, parse_constant=pytest.fail)
    again = decode(line, Verdict)
    assert repr(whole) == repr(again)
    assert type(again.status) is Status


@pytest.mark.parametrize("field", ["error_ratio", "error"])
@pytest.mark.parametrize("number", [math.inf, -math.inf, math.nan, -0.5])
def test_a_number_that_json_does_not_have_is_none_with_a_reason(field, number):
    """Neither an infinite error nor a NaN is a number that could be stored or compared: the reason says it."""
    with pytest.raises(ValueError, match=f"{field} is .*stated as None, with a reason"):
        verdict(Status.FAIL, reason="far off", **{field: number})
    assert verdict(Status.FAIL, reason="far off", **{field: None}).reason == "far off"


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        ({"status": "fine"}, "Invalid enum value 'fine' - at `$.status`"),
        ({"error_ratio": None}, "a pass needs a measured error ratio"),
        ({"error_ratio": 1.5}, "a pass needs a measured error ratio"),
        ({"error_ratio": "inf"}, "Expected `float | null`, got `str` - at `$.error_ratio`"),
        ({"error_ratio": -0.5}, "Expected `float` >= 0.0 - at `$.error_ratio`"),
        ({"where": [0.5]}, "Expected `int`, got `float` - at `$.where[0]`"),
        ({"where": [0] * 17}, "Expected `array` of length <= 16 - at `$.where`"),
        ({"case": "x" * 1001}, "Expected `str` of length <= 1000 - at `$.case`"),
        ({"seconds": -1.0}, "Expected `float` >= 0.0 - at `$.seconds`"),
        ({"colour": "red"}, "Object contains unknown field `colour`"),
    ],
)
def test_a_changed_line_is_refused(damage, complaint):
    """JSON that says the impossible, or something else, does not become a verdict; the complaint says where."""
    data = plain(verdict(Status.PASS, error_ratio=0.5)) | damage
    with pytest.raises(ValueError, match=re.escape(complaint)):
        decode(json.dumps(data).encode(), Verdict)


def test_a_missing_field_is_refused_or_says_nothing():
    """Nothing is made up for a field that a line lacks: it is needed, or it is as if nothing had been found."""
    data = plain(verdict(Status.FAIL, reason="wrong", error_ratio=2.0, where=(1,), seconds=1.0))
    for name in data:
        less = json.dumps({key: value for key, value in data.items() if key != name}).encode()
        if name in (*NAMES, "status", "reason"):
            with pytest.raises(ValueError, match=rf"required field `{name}`|needs a reason"):
                decode(less, Verdict)
        else:
            assert getattr(decode(less, Verdict), name) in (None, "", 0.0)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (Status.PASS, Status.UNEXPECTED_PASS),
        (Status.FAIL, Status.KNOWN_FAILURE),
        (Status.ERROR, Status.KNOWN_FAILURE),
        (Status.UNSUPPORTED, Status.UNSUPPORTED),
        (Status.UNAVAILABLE, Status.UNAVAILABLE),
    ],
)
def test_known_failures(before, after):
    """A failure that was declared is known; a pass that was declared a failure does not conform; the rest stays."""
    error_ratio = None if before in NOT_CHECKED else 0.5
    reason = "" if before is Status.PASS else "was wrong"
    turned = verdict(before, error_ratio=error_ratio, reason=reason).as_known_failure("bug 7")
    assert (after, error_ratio) == (turned.status, turned.error_ratio)
    if before is not after:
        assert "bug 7" in turned.reason
        assert reason in turned.reason
    else:
        assert turned.reason == "was wrong"
    assert ("remove the entry" in turned.reason) == (after is Status.UNEXPECTED_PASS)


@pytest.mark.parametrize("status", [status for status in RAN if status not in PASSES])
def test_a_pass_alone_is_uninformative(status):
    """What failed has said something."""
    with pytest.raises(ValueError, match="a pass alone can be uninformative"):
        verdict(status, reason="because", uninformative=True)
