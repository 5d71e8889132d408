"""An impossible verdict cannot be constructed, and a possible one survives JSON, infinities included."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attention_harness.model.verdict import NONCONFORMING, NOT_CHECKED, Status, Verdict

NAMES = {"implementation": "eager", "mechanism": "cosine", "case": "cosine-B1", "check": "accuracy"}
RAN = [status for status in Status if status not in NOT_CHECKED]
PASSES = (Status.PASS, Status.UNEXPECTED_PASS)


def verdict(status: Status, **facts: object) -> Verdict:
    return Verdict(**NAMES, status=status, **facts)


def test_statuses_are_those_of_the_contract():
    """Nine answers; five of them do not conform, two were not asked."""
    names = "pass fail error crash timeout unsupported unavailable known_failure unexpected_pass"
    assert names.split() == [str(status) for status in Status]
    assert {"fail", "error", "crash", "timeout", "unexpected_pass"} == set(NONCONFORMING)
    assert {"unsupported", "unavailable"} == set(NOT_CHECKED)


@pytest.mark.parametrize("status", PASSES)
@pytest.mark.parametrize("error_ratio", [None, -0.1, 1.0001, math.nan, math.inf])
def test_a_pass_has_a_measured_share(status, error_ratio):
    """A pass without an error, or with one beyond its error bound, is impossible."""
    with pytest.raises(ValueError, match=r"a pass needs a measured share in \[0, 1\]"):
        verdict(status, error_ratio=error_ratio, reason="because")


@pytest.mark.parametrize("status", [status for status in Status if status not in PASSES])
def test_everything_else_has_a_reason(status):
    """Whatever is no pass says why."""
    with pytest.raises(ValueError, match="every answer other than a pass needs a reason"):
        verdict(status)
    assert verdict(status, reason="because").reason == "because"


@pytest.mark.parametrize("status", NOT_CHECKED)
def test_what_was_not_run_has_no_share(status):
    """A share of what was not asked is impossible."""
    with pytest.raises(ValueError, match="nothing was run, so there is no share to state"):
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


numbers = st.none() | st.floats(min_value=0)
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
    numbers | st.just(math.nan),
    st.none() | st.lists(st.integers(0, 99)).map(tuple),
    st.text(min_size=1),
)


@settings(deadline=None, derandomize=True)
@given(verdicts)
def test_json_and_back(given_verdict):
    """The line that is written is strict JSON, and reads back as an equal verdict, NaN as NaN."""
    text = json.dumps(given_verdict.to_json(), allow_nan=False)
    assert len(text.splitlines()) == 1
    again = Verdict.from_json(json.loads(text))
    assert repr(given_verdict) == repr(again)
    assert type(again.status) is Status


@pytest.mark.parametrize(("number", "text"), [(math.inf, "inf"), (-math.inf, "-inf"), (math.nan, "nan"), (0.5, 0.5)])
def test_json_has_no_infinity(number, text):
    """What JSON lacks is written as a string."""
    assert text == verdict(Status.FAIL, reason="far off", error=number).to_json()["error"]


@pytest.mark.parametrize(
    "damage", [{"status": "fine"}, {"status": "pass", "error_ratio": None}, {"error_ratio": "much"}]
)
def test_a_changed_line_is_refused(damage):
    """JSON that says the impossible does not become a verdict."""
    data = verdict(Status.PASS, error_ratio=0.5).to_json() | damage
    with pytest.raises(ValueError, match=r"'fine' is not a valid Status|measured share|'much'"):
        Verdict.from_json(data)


def test_a_missing_field_is_refused():
    """Nothing is filled in for a field that a line lacks."""
    data = verdict(Status.PASS, error_ratio=0.5).to_json()
    for name in data.keys() - {"finding", "declared"}:
        with pytest.raises(KeyError, match=name):
            Verdict.from_json({key: value for key, value in data.items() if key != name})


def test_a_line_from_before_findings_is_read():
    """What a behaviour was found to be is missing in older run directories, and empty then."""
    data = verdict(Status.PASS, error_ratio=0.5, finding="zero", declared="zero").to_json()
    assert "zero" == Verdict.from_json(data).finding
    older = Verdict.from_json({key: value for key, value in data.items() if key not in ("finding", "declared")})
    assert ("", "") == (older.finding, older.declared)


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
