"""The targets of a benchmark stand in the report: what was wanted, what was measured, and whether it was met."""

from __future__ import annotations

import pytest

from attention_harness import report
from attention_harness.model.run_facts import RunFacts
from attention_harness.model.target_results import TargetResult
from attention_harness.store import Run, Writer, load, merge
from attention_harness.store.layout import TARGETS

RESULTS = (
    TargetResult("fast", "mine", "long, time over eager's", "at most 0.5", "met", 0.4, 0.39, 0.41),
    TargetResult("fast", "mine", "short, time over eager's", "at most 0.5", "missed", 0.7, 0.69, 0.71),
    TargetResult("small", "mine", "long, memory over eager's", "at most 0.02", "met", 0.01),
    TargetResult("fast", "mine", "other, time over <b>'s", "at most 0.5", "not measured", reason="|not| installed"),
)


def test_both_formats_tell_them(tmp_path, verdict):
    """From what a run directory holds, its text escaped; without them there is no table."""
    with Writer.start(tmp_path / "fast", RunFacts(planned=0, finished="2026-01-02")) as writer:
        writer.write(TARGETS, RESULTS)
    other = Run(tmp_path, RunFacts(planned=1, finished="2026-01-02"), (verdict(),))
    merged = merge([other, load(tmp_path / "fast")])
    assert RESULTS == merged.targets
    markdown, page = (path.read_text() for path in report.write(merged, tmp_path))
    assert "| fast | `mine` | short, time over eager's | at most 0.5 | 0.7 \\[0.69, 0.71\\] | **missed** |" in markdown
    assert '<span class="mark bad">missed</span></td><td>short, time over eager&#39;s</td><td>at most 0.5</td>' in page
    assert "fast: 1 of 3 met, 1 missed, 1 not measured" in page
    for text in (markdown, page):
        assert "2 of 4 met. Open: the bound lies inside the interval." in text
        assert "<b>'s" not in text.split("Targets", 1)[1].split("</table>")[0]
        assert "installed" in text
    without = [path.read_text() for path in report.write(other, tmp_path)]
    assert not any("<h3>Targets" in text or "# Targets" in text for text in without)


@pytest.mark.parametrize(
    ("value", "status", "reason"),
    [(None, "met", ""), (None, "met", "why"), (1.0, "not measured", ""), (1.0, "met", "why")],
)
def test_a_result_has_a_value_or_a_reason(value, status, reason):
    """What was not measured is neither met nor missed."""
    with pytest.raises(ValueError, match="a value, or a reason why there is none"):
        TargetResult("fast", "mine", "long", "at most 1", status, value, reason=reason)
