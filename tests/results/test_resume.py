"""A run that was killed goes on where it stopped, on the same machine and with the same plan."""

from __future__ import annotations

import re

import pytest

from harness import results
from harness.values import HarnessError, Status, Verdict

FACTS = {"command": "check", "tier": "quick", "planned": 2, "started": "then", "environment": {"cores": 2}}
FIRST = Verdict("eager", "cosine", "cosine-B1", "accuracy", Status.PASS, share=0.25)
SECOND = Verdict("eager", "cosine", "cosine-B2", "accuracy", Status.PASS, share=0.5)


def test_it_goes_on(tmp_path):
    """What was reached is kept and handed over; what follows is appended; the facts stay those of the start."""
    results.Writer.start(tmp_path, FACTS).add(FIRST)
    writer, kept, repaired = results.Writer.resume(tmp_path, FACTS | {"started": "now"})
    assert (kept, repaired) == ((FIRST,), "")
    writer.add(SECOND)
    run = results.load(tmp_path)
    assert run.verdicts == (FIRST, SECOND)
    assert run.facts["started"] == "then"


@pytest.mark.parametrize("cut", [1, 10, 80])
def test_a_torn_line_is_dropped(tmp_path, cut):
    """A last line that the kill left unfinished is cut off, and told; the next one starts a line of its own."""
    results.Writer.start(tmp_path, FACTS).add(FIRST, SECOND)
    path = tmp_path / "verdicts.jsonl"
    path.write_bytes(path.read_bytes()[:-cut])
    writer, kept, repaired = results.Writer.resume(tmp_path, FACTS)
    assert kept == (FIRST,)
    assert f"{path}: dropped " in repaired
    writer.add(SECOND)
    assert results.load(tmp_path).verdicts == (FIRST, SECOND)


@pytest.mark.parametrize(
    ("now", "complaint"),
    [
        ({"planned": 3}, "holds another run: its planned is 2, now 3; resume with its own command: check"),
        ({"tier": "default"}, "holds another run: its tier is 'quick', now 'default'"),
        ({"environment": {"cores": 64}}, "was begun on another machine or with other versions"),
    ],
)
def test_another_run_is_refused(tmp_path, now, complaint):
    """Another plan or machine does not go on with this one, and the run is left as it is."""
    results.Writer.start(tmp_path, FACTS).add(FIRST)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(HarnessError, match=re.escape(complaint)):
        results.Writer.resume(tmp_path, FACTS | now)
    assert before == {path.name: path.read_bytes() for path in tmp_path.iterdir()}


def test_there_has_to_be_a_run(tmp_path):
    """Nothing to go on with is an error, and begins nothing."""
    with pytest.raises(HarnessError, match=r"is no run directory: it has no run\.json"):
        results.Writer.resume(tmp_path, FACTS)
    assert list(tmp_path.iterdir()) == []
