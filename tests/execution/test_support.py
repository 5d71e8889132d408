"""What is said of an option: that it is declared, and what the verdicts on cases with it were."""

from __future__ import annotations

import json

import pytest

from attention_harness import registry
from attention_harness.execution import support
from attention_harness.model.run_facts import Support
from attention_harness.model.verdict import Status, Verdict
from attention_harness.options import capabilities

CASE = "scaled_dot_product-B2H4Hk{}Lq5Lk7D8Dv8-float32-{}-ordinary-contiguous"


def verdict(options: str, status: Status = Status.PASS, key_heads: int = 4, check: str = "accuracy") -> Verdict:
    ratio = None if status in (Status.UNSUPPORTED, Status.ERROR) else 0.5 if status is Status.PASS else 3.0
    reason = "" if status is Status.PASS else "because"
    case = CASE.format(key_heads, options)
    return Verdict("torch_sdpa", "scaled_dot_product", case, check, status, ratio, reason=reason)


def found(*verdicts: Verdict) -> dict[str, Support]:
    return support.table([registry.implementations()["torch_sdpa"]], verdicts)["torch_sdpa"]


def test_every_option_has_a_row():
    """Under the names by which it is declared; without verdicts the declaration stands alone."""
    rows, declared = found(), registry.implementations()["torch_sdpa"].capabilities.options
    assert list(capabilities()) == list(rows)
    assert {*declared} == {name for name, row in rows.items() if row.declared}
    assert {"declared", "not declared"} == {row.text for row in rows.values()}


def test_a_verdict_counts_for_each_option_of_its_case():
    """Also for those that a case has by its sizes or by the form of another; what was not checked counts for none."""
    rows = found(
        verdict("mask=full"),
        verdict("causal=bottom_right+mask=batch", Status.FAIL, key_heads=2),
        verdict("mask=full", Status.KNOWN_FAILURE, check="gradient"),
        verdict("bias=full", Status.UNSUPPORTED),
    )
    assert (1, 1, 1) == (rows["mask"].passed, rows["mask"].wrong, rows["mask"].known)
    assert "wrong (1 of 3)" == rows["mask"].text
    assert 1 == rows["causal_bottom_right"].wrong == rows["grouped_heads"].wrong
    assert "declared" == rows["causal_top_left"].text == rows["bias"].text


@pytest.mark.parametrize(
    ("row", "text"),
    [
        (Support(True, passed=1200), "right (1,200)"),
        (Support(True, passed=3, known=2), "right (3, 2 known to fail)"),
        (Support(True, known=2), "declared, 2 known to fail"),
        (Support(False), "not declared"),
        (Support(False, wrong=1), "wrong (1 of 1)"),
    ],
)
def test_words(row, text):
    assert text == row.text


def test_ids_of_other_versions_count_for_nothing():
    strange = Verdict("torch_sdpa", "scaled_dot_product", "no id", "accuracy", Status.PASS, 0.5)
    assert not any(row.passed for row in found(strange).values())


def test_the_list_and_the_report_say_it(harness, mistake, tmp_path):
    """Of a run: in the list beside the declarations, as numbers in JSON, and in both forms of the report."""
    case, run = CASE.format(4, "causal=top_left+mask=full"), tmp_path / "run"
    assert 0 == harness("check", "torch_sdpa", "--case", case, "--out", run).status
    rows = {row["option"]: row for row in json.loads(harness("list", "support", run, "--json").out)}
    mask = rows["mask"]["torch_sdpa"]
    assert (True, 0) == (mask["declared"], mask["wrong"])
    assert mask["passed"] == rows["causal_top_left"]["torch_sdpa"]["passed"] > 1
    lines = [line.split("\t") for line in harness("list", "support", run).out.splitlines()]
    column = lines[0].index("torch_sdpa")
    said = {line[0]: line[column] for line in lines}
    assert f"right ({mask['passed']})" == said["mask"]
    assert ("declared", "not declared") == (said["bias"], said["sinks"])
    assert 0 == harness("report", run).status
    assert f"| `mask` | right ({mask['passed']}) |" in (run / "report.md").read_text()
    assert "Options by implementations" in (run / "index.html").read_text()
    assert "`list support` alone, not to `list options`" in mistake("list", "options", run)
