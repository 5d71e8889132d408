"""The first screen, disagreements, and messages of libraries in a plain line."""

from __future__ import annotations

import pytest

from attention_harness.model.run_facts import Environment, ImplementationFacts, Revision
from attention_harness.model.verdict import Status
from attention_harness.report import build, markdown
from attention_harness.report.content import plain
from attention_harness.report.content.disagreements import disagreements


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("no float16", "no float16"),
        (
            "option sinks not declared (declares mask, bias, valid_lens, causal_top_left, scale, window)",
            "option sinks not declared",
        ),
        (
            "[ONNXRuntimeError] : 9 : NOT_IMPLEMENTED : Could not find an implementation for Attention(24)",
            "ONNX Runtime: NOT_IMPLEMENTED : Could not find an implementation for Attention(24)",
        ),
        (
            "at::native::softmax(const at::Tensor & self, long dim, bool half) failed",
            "softmax() failed",
        ),
        (
            "Could not build /home/builder/work/src/kernels/attention.cc: out of registers.\nTraceback:\n" + "x " * 300,
            "Could not build attention.cc: out of registers. Traceback",
        ),
    ],
)
def test_a_message_is_one_plain_line(reason, expected):
    assert plain.line(reason) == expected
    assert plain.folded(reason) is (reason != expected)


def test_a_line_is_never_longer_than_a_glance():
    """Whatever the message: at most so many characters, cut at a word, and never nothing."""
    for reason in ("word " * 100, "w" * 500, "One sentence of some length. " * 20, "a::b::" * 100):
        line = plain.line(reason)
        assert 0 < len(line) <= plain.MOST


def test_each_implementation_has_its_line(run, verdict):
    """Word, numbers, and why it was not available."""
    verdicts = [
        verdict(error_ratio=0.5),
        verdict(Status.FAIL, "mine"),
        verdict(Status.KNOWN_FAILURE, "mine"),
        verdict(Status.UNAVAILABLE, "absent", reason="no GPU"),
    ]
    facts = {name: ImplementationFacts() for name in ("eager", "mine")} | {"absent": ImplementationFacts("", "no GPU")}
    lines = {line.implementation: line for line in build(run(verdicts, implementations=facts)).lines}
    assert lines["eager"].sentence == "1 check, worst error ratio 0.50"
    assert lines["mine"].sentence.startswith("2 checks, 1 wrong, 1 known failure, worst error ratio 3.0")
    assert (lines["absent"].word, lines["absent"].sentence) == ("not checked", "no GPU")


def test_what_was_not_run_says_why(run, verdict):
    """The reason of most of its checks, and how many others there are."""
    skipped = [verdict(Status.UNSUPPORTED, reason=reason) for reason in ("no mask", "no mask", "no float16")]
    [one] = build(run([verdict(), *skipped])).unrun
    assert (one.implementation, one.status, one.reason, one.checks, one.others) == (
        "eager",
        "unsupported",
        "no mask",
        3,
        1,
    )


def test_queries_that_are_worth_a_click(run, verdict):
    """What is wrong, each status that occurs, and what fails in one alone."""
    told = build(run([verdict(), verdict(Status.FAIL, "mine"), verdict(Status.UNSUPPORTED)]))
    queries = [query for query, _ in told.queries]
    assert queries == ["status:wrong", "status:pass", "status:unsupported", "ratio>0.9", "only:mine"]


def test_the_machine_and_the_commit_stand_at_the_top(run, verdict):
    """Processor, cores, versions and commit, of each machine."""
    here = Environment(cores=2, packages={"torch": "2.13.0"}, git=Revision("0123456789abcdef", True))
    told = build(run([verdict()], environment=here))
    assert told.machines == ("2026-01-02 03:04, 2 cores, torch 2.13.0, commit 0123456789ab, with changes",)
    assert told.machines[0] in markdown.render(told).replace("\\", "")


def test_implementations_disagree_where_one_passes_and_the_other_does_not(verdict):
    """Only checks of both count; a known failure is no pass; what was measured and not judged is left out."""
    found = [
        *(verdict(implementation=who, case=case) for who in "ab" for case in ("1", "2")),
        verdict(Status.FAIL, "a", case="3"),
        verdict(implementation="b", case="3"),
        verdict(implementation="a", case="4"),
        verdict(Status.KNOWN_FAILURE, "b", case="4"),
        verdict(implementation="a", case="5"),
        verdict(Status.UNSUPPORTED, "b", case="5"),
        verdict(implementation="a", case="6", finding="zeros"),
        verdict(Status.FAIL, "b", case="6", finding="mean"),
    ]
    told = disagreements(found)
    assert told.names == ("a", "b")
    [(_, (itself, pair)), _] = told.rows
    assert itself is None
    assert (pair.different, pair.both, pair.text) == (2, 4, "2 of 4")
