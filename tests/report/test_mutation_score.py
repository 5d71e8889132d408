"""A report states the mutation score, with every survivor and every accused variant by name."""

from __future__ import annotations

from attention_harness import store
from attention_harness.model.mutation_results import EquivalenceResult, Outcome
from attention_harness.model.run_facts import RunFacts
from attention_harness.model.verdict import Status, Verdict
from attention_harness.report import build, markdown, page

CASE = "cosine-B1H1Hk1Lq2Lk3D2Dv2-float64-plain-ordinary-contiguous"
FACTS = RunFacts(planned=0, finished="2026-01-01T00:00:00+00:00")


def verdict(name: str) -> Verdict:
    """Return a verdict that accuses."""
    return Verdict(name, "cosine", CASE, "accuracy", Status.FAIL, 3.0, 1.0, (0,), "too far off", "again")


def test_the_score_stands_in_both_formats(tmp_path):
    """Killed and accused are counted, and what is wrong is named."""
    outcomes = (
        Outcome("seen", "mask", "", {"cosine": verdict("mutant:seen")}, (), 10),
        Outcome("never seen", "scale", "", {}, (), 10),
    )
    equivalence = (EquivalenceResult(0, {"backwards": 1000}, (verdict("variant:backwards"),)),)
    content = build(store.Run(tmp_path, FACTS, outcomes=outcomes, equivalence=equivalence))
    for text in (markdown.render(content), page.render(content)):
        assert "Mutation score" in text
        assert "1 of 2 mutants killed, 1 of 1 equivalent variant accused, over 1,020 checks" in text
        assert "never seen" in text
        assert "backwards" in text


def test_without_a_measurement_there_is_no_section(tmp_path):
    """A run of checks says nothing about the suite itself."""
    assert "## Mutation score" not in markdown.render(build(store.Run(tmp_path, FACTS)))
