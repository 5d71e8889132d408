"""A run whose lines somebody else has edited meanwhile is not finished: what is judged may write where its user may."""

from __future__ import annotations

import pytest

from attention_harness.model.errors import HarnessError
from attention_harness.model.run_facts import RunFacts
from attention_harness.model.verdict import Status, Verdict
from attention_harness.store import Writer, now
from tests.registry.sources import TINY

FAILED = Verdict("mine", "scaled_dot_product", TINY, "accuracy", Status.FAIL, reason="wrong", replay="replay")


def edited(path):
    """Make a pass of a failure, without another length."""
    path.write_text(path.read_text().replace('"fail"', '"pass"'))


def added(path):
    """Add the same line once more."""
    path.write_text(path.read_text() * 2)


@pytest.mark.parametrize("harm", [edited, added, lambda path: path.unlink()])
def test_lines_of_others_are_seen_when_it_ends(tmp_path, harm):
    """The file is named, and the run stays unfinished."""
    writer = Writer.start(tmp_path / "run", RunFacts())
    writer.add(FAILED)
    harm(tmp_path / "run" / "verdicts.jsonl")
    with pytest.raises(HarnessError, match=r"verdicts\.jsonl: something else wrote into it too"):
        writer.update(finished=now())
    assert writer.facts.finished is None


def test_what_it_wrote_itself_is_its_own(tmp_path):
    """Lines added and replaced, none at all, and those of a run that was there."""
    with Writer.start(tmp_path / "run", RunFacts()) as writer:
        writer.update(finished=now())
        writer.add(FAILED)
        writer.rewrite(Verdict, [FAILED, FAILED])
        writer.add(FAILED)
        writer.update(finished=now())
    with Writer.add_to(tmp_path / "run") as writer:
        writer.add(FAILED)
        writer.update(finished=now())
    assert writer.facts.finished is not None
