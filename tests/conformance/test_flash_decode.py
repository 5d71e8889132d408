"""Flash decoding, written in torch, judged whole: it conforms, and files with one mistake in it do not."""

from __future__ import annotations

from pathlib import Path

import pytest

from attention_harness.cases.ids import parse
from attention_harness.model.verdict import NONCONFORMING, NOT_CHECKED
from attention_harness.options import required
from tests.conformance.test_new_file import verdicts
from tests.conftest import DEEP

SOURCE = (Path(__file__).parent / "flash_decode.py").read_text()
MUTANTS = {
    # As the first draft of this file had it: bfloat16 holds no 257.
    "lengths in the dtype of the query": (
        "torch.full(query.shape[:1], keys) if",
        "query.new_full(query.shape[:1], keys).long() if",
    ),
    "parts averaged": ("(outputs * shares[..., None]).sum(0)", "outputs.mean(0)"),
    "a part without keys weighs": (
        "torch.where(seen, peak + total.log(), -math.inf)",
        "torch.where(seen, peak + total.log(), 0.0)",
    ),
    "the corner of the whole": (
        "last = lens[:, None] - query.shape[-2] +",
        "last = 0 * lens[:, None] + keys - query.shape[-2] +",
    ),
    "the log-sum-exp of the last part": (
        "    return (outputs * shares[..., None]).sum(0).to(query.dtype), lse",
        "    return (outputs * shares[..., None]).sum(0).to(query.dtype), sums[-1]",
    ),
}


def test_it_conforms(tmp_path):
    """On the quick tier; `tox -e thorough` asks the default one. Each of its options is asked."""
    found = list(verdicts(SOURCE, tmp_path, "default" if DEEP else "quick"))
    assert [] == [verdict for verdict in found if verdict.status in NONCONFORMING]
    asked = {verdict.case for verdict in found if verdict.status not in NOT_CHECKED}
    options = {"cache_lens", "causal_bottom_right", "grouped_heads", "lse", "past", "scale"}
    assert options == {option for case in asked for option in required(parse(case))}


LATE = ("lengths in the dtype of the query", "the corner of the whole", "parts averaged")
"""Found by cases that come late in the plan."""


_SOON = pytest.mark.skipif(not DEEP, reason="a minute each: `tox -e thorough` asks them")


@pytest.mark.parametrize("name", [pytest.param(name, marks=_SOON) if name in LATE else name for name in MUTANTS])
def test_a_wrong_one_does_not(name, tmp_path):
    """On the tier that finds it: the first that contradicts ends the search."""
    stands, put = MUTANTS[name]
    assert stands in SOURCE
    wrong = verdicts(SOURCE.replace(stands, put), tmp_path, "default")
    assert any(verdict.status in NONCONFORMING for verdict in wrong)
