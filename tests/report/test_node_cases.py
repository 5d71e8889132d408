"""ONNX's own node cases are counted by operator and implementation, and each that did not pass has its reason."""

from __future__ import annotations

import pytest

from attention_harness import HarnessError, report
from attention_harness.model.node_cases import NodeCase
from attention_harness.model.run_facts import RunFacts
from attention_harness.model.verdict import Status
from attention_harness.report.content import node_cases
from attention_harness.store import Run, Writer, load, merge
from attention_harness.store.layout import NODE_CASES

BROADCAST = "ONNX Runtime refuses a mask of one row"
CASES = (
    NodeCase("test_a", "Attention", "eager", Status.PASS),
    NodeCase("test_b", "Attention", "eager", Status.FAIL, "|error| <0.1> exceeds its bound"),
    NodeCase("test_c", "Attention", "eager", Status.UNEXPECTED_PASS, "passes, although declared"),
    NodeCase("test_s", "Softmax", "eager", Status.PASS),
    *(NodeCase(f"test_{x}", "Attention", "runtime", Status.KNOWN_FAILURE, BROADCAST) for x in "abcde"),
    NodeCase("test_f", "Attention", "runtime", Status.UNSUPPORTED, "option window not declared"),
    NodeCase("test_g", "Attention", "runtime", Status.NOT_ASKED, "each is a build of seconds"),
    NodeCase("test_h", "Attention", "runtime", Status.UNAVAILABLE, "no CUDA device"),
    NodeCase("test_r", "RotaryEmbedding", "", Status.UNSUPPORTED, "its tables are random"),
)


def test_they_are_counted():
    """Each in one column; what is left out is no implementation's."""
    assert ["passed", "wrong", "known failure", "refused", "not asked"] == list(node_cases.COLUMNS)
    assert [
        ("Attention", "eager", [1, 2, 0, 0, 0]),
        ("Attention", "runtime", [0, 0, 5, 1, 2]),
        ("Softmax", "eager", [1, 0, 0, 0, 0]),
    ] == list(node_cases.rows(CASES))
    assert "10 node cases: 2 of 9 answers right, 2 wrong, 5 known failures." == node_cases.sentence(CASES)
    assert sum(sum(counts) for *_, counts in node_cases.rows(CASES)) == len(CASES) - 1


def test_every_status_has_a_column():
    """None is left to be an error of a report that is read later."""
    counted = [status for statuses in node_cases.COLUMNS.values() for status in statuses]
    assert sorted(Status) == sorted(counted)


def test_each_reason_is_told_once_with_examples():
    """Wrong ones first; of many cases the first three are named."""
    found = node_cases.reasons(CASES)
    assert ["wrong", "wrong", "known failure", "refused", "not asked", "not asked", "left out"] == [
        w.word for w in found
    ]
    assert ("runtime", BROADCAST, "test_a, test_b, test_c and 2 more") == (
        found[2].who,
        found[2].reason,
        found[2].examples,
    )
    assert ("RotaryEmbedding", "test_r") == (found[-1].who, found[-1].examples)


def test_both_formats_tell_them(tmp_path, verdict):
    """From what a run directory holds, its text escaped; without them there is no section."""
    with Writer.start(tmp_path / "nodes", RunFacts(planned=0, finished="2026-01-02")) as writer:
        writer.write(NODE_CASES, CASES)
    other = Run(tmp_path, RunFacts(planned=1, finished="2026-01-02"), (verdict(),))
    merged = merge([other, load(tmp_path / "nodes")])
    assert CASES == merged.node_cases
    markdown, page = (path.read_text() for path in report.write(merged, tmp_path))
    assert "| `Attention` | `eager` | 1 | 2 | 0 | 0 | 0 |" in markdown
    assert '<th scope="row">Attention</th><td>eager</td><td class="n">1</td><td class="n">2</td>' in page
    assert f"- `runtime` *known failure* (5 cases): {BROADCAST} (test_a, test_b, test_c and 2 more)" in markdown
    for text in (markdown, page):
        assert "10 node cases: 2 of 9 answers right, 2 wrong, 5 known failures." in text
        assert "error| <0.1>" not in text
        assert BROADCAST in text
    without = [path.read_text() for path in report.write(other, tmp_path)]
    assert not any("own node cases" in text for text in without)


def test_a_reason_stands_where_one_is_needed():
    """A pass has none, everything else has one; so a count never lacks its explanation."""
    for status, reason in ((Status.PASS, "why"), (Status.FAIL, "")):
        with pytest.raises(ValueError, match="everything but a pass needs a reason"):
            NodeCase("test_a", "Attention", "eager", status, reason)


@pytest.mark.parametrize(("operator", "implementation"), [("operator{}", "eager"), ("Attention", "one{}")])
def test_a_table_without_end_is_refused(tmp_path, operator, implementation):
    """Nobody has hundreds of operators or implementations."""
    rows = [NodeCase("test", operator.format(n), implementation.format(n), Status.PASS) for n in range(201)]
    with pytest.raises(HarnessError, match="a report has room for 200"):
        report.build(Run(tmp_path, RunFacts(), node_cases=tuple(rows)))
