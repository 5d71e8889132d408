"""What was measured beside verdicts is told in both formats: behaviours beside declarations, and what cases can see."""

from __future__ import annotations

import pytest

from attention_harness import report
from attention_harness.model.diagnosis import Diagnosis, Match
from attention_harness.model.mutation_results import Sensitivity
from attention_harness.model.run_facts import Harm, RunFacts
from attention_harness.model.verdict import Status
from attention_harness.store import Run

SEEN = Sensitivity("cosine-B1", "float32", "ordinary", 3, 2e-7, 3e-7, 4e-7, 0.003, "")
BLIND = Sensitivity("cosine-B2", "bfloat16", "tiny", 1, 0.5, None, None, None, "no query sees two keys")


@pytest.fixture
def written(tmp_path, verdict):
    """Return the report, as Markdown and as a page, of two behaviours and two cases' sensitivity."""
    verdicts = (
        verdict(
            check="behaviour.slices",
            error_ratio=0.0,
            finding="differs by 4 units in the last place",
            declared="no claim",
        ),
        verdict(Status.FAIL, check="behaviour.fully_masked_rows", reason="does: nan", finding="nan", declared="zero"),
        verdict(Status.ERROR, check="behaviour.dtype", reason="no such kernel"),
        verdict(implementation="other", check="behaviour.slices", error_ratio=0.0, finding="the same bits"),
    )
    run = Run(tmp_path, RunFacts(planned=4), verdicts, sensitivity=(SEEN, BLIND))
    return [path.read_text() for path in report.write(run, tmp_path)]


def test_both_formats_tell_behaviours_and_sensitivity(written):
    """A finding, its declaration, a contradiction, an error's reason; thresholds by dtype, a weak case and why."""
    for text in written:
        for told in ("differs by 4 units in the last place", "the same bits", "no such kernel", "2e-07, 2e-07"):
            assert told in text
        assert "no query sees two keys" in text
    markdown, page = written
    assert "| `fully_masked_rows` | **fail**: nan (zero) | " in markdown
    assert "| `dtype` | **error**: no such kernel | " in markdown
    assert "declares zero" in page


def test_a_run_without_them_says_so(tmp_path, verdict):
    """Nothing measured is not the same as nothing found."""
    markdown, page = (p.read_text() for p in report.write(Run(tmp_path, RunFacts(planned=1), (verdict(),)), tmp_path))
    assert "None was measured in this run." in markdown
    assert "Not measured in this run: `python -m attention_harness mutants sensitivity --out DIR`" in markdown
    assert 'id="behaviours"' not in page
    assert 'id="sensitivity"' not in page


def test_both_formats_tell_causes(tmp_path, verdict):
    """The mutants that explain an implementation's failures, or why there is none."""
    match = Match("mask polarity", "mask", "", 1, 0.25, 5, 6)
    causes = (Diagnosis("mine", (match,)), Diagnosis("other", (), "none of them explains it"))
    wrong = (verdict(Status.FAIL, reason="wrong"),)
    run = Run(tmp_path, RunFacts(planned=1), wrong, diagnosis=causes)
    for text in (path.read_text() for path in report.write(run, tmp_path)):
        assert (
            "resembles: mask polarity (gives the same numbers on 5 of 6 cases, to within 0.25 of the error bound)"
            in text
        )
        assert "none of them explains it" in text


def test_a_known_failure_is_not_the_worst_share(tmp_path, verdict):
    """What upstream does wrong is not the error of what conforms."""
    known = verdict(Status.KNOWN_FAILURE, error_ratio=9e6, reason="upstream", case="known")
    run = Run(tmp_path, RunFacts(planned=2), (verdict(error_ratio=0.5), known))
    markdown = report.write(run, tmp_path)[0].read_text()
    assert "9.0e+06" not in markdown.split("## Known failures")[0]


def test_reliability_is_told(tmp_path, verdict):
    """Each planted harm with what was reported; what disturbed the run or outlived it is counted against it."""
    rows = (
        Harm("aborts", "os.abort()", ("crash: <SIGABRT>",), complete=True, processes_left=0),
        Harm("daemon", "fork()", ("pass",), complete=True, processes_left=1),
        Harm("patches", "x = 1", ("fail: a", "fail: b"), complete=False, processes_left=0),
    )
    run = Run(tmp_path, RunFacts(planned=1), (verdict(),), reliability=rows)
    markdown, page = (p.read_text() for p in report.write(run, tmp_path))
    for text in (markdown, page):
        assert "1 of 3 planted harms left the rest of the run complete and right, and no process behind." in text
        assert "<SIGABRT>" not in text
    assert "| `aborts` | os.abort() | crash: &lt;SIGABRT&gt; | complete and right | 0 |" in markdown
    assert "| `patches` | x = 1 | fail: a; fail: b | disturbed | 0 |" in markdown
    without = report.write(Run(tmp_path, RunFacts(planned=1), (verdict(),)), tmp_path)[0].read_text()
    assert "## Reliability" not in without
