"""What is said of an option: that it is declared, and what the verdicts on cases with it were."""

from __future__ import annotations

import json

import pytest
from msgspec import structs

from attention_harness import registry
from attention_harness.execution import support
from attention_harness.model.support import Support
from attention_harness.model.verdict import Status, Verdict
from attention_harness.options import capabilities
from tests.registry.sources import write

CASE = "scaled_dot_product-B2H4Hk{}Lq5Lk7D8Dv8-float32-{}-ordinary-contiguous"


def verdict(options: str, status: Status = Status.PASS, key_heads: int = 4, check: str = "accuracy") -> Verdict:
    ratio = None if status in (Status.UNSUPPORTED, Status.ERROR) else 0.5 if status is Status.PASS else 3.0
    reason = "" if status is Status.PASS else "because"
    case = CASE.format(key_heads, options)
    return Verdict("torch_sdpa", "scaled_dot_product", case, check, status, ratio, reason=reason)


def found(*verdicts: Verdict) -> dict[str, Support]:
    declared = registry.implementations()["torch_sdpa"].capabilities.options
    return dict(support.table({"torch_sdpa": declared}, verdicts)["torch_sdpa"])


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
    assert Support(True, 1, 1, 1) == rows["mask"]
    assert "does not conform (1 of 3)" == rows["mask"].text
    assert 1 == rows["causal_bottom_right"].nonconforming == rows["grouped_heads"].nonconforming
    assert "declared" == rows["causal_top_left"].text == rows["bias"].text


@pytest.mark.parametrize(
    ("row", "text"),
    [
        (Support(True, passed=1200), "pass (1,200)"),
        (Support(True, passed=3, known_failures=2), "pass (3; 2 known failures)"),
        (Support(True, known_failures=1), "declared (1 known failure)"),
        (Support(True, 3, 1), "does not conform (1 of 4)"),
        (Support(False), "not declared"),
    ],
)
def test_words(row, text):
    assert text == row.text


def test_an_uninformative_pass_counts_for_nothing():
    """A pass that zeros would get too is no support."""
    rows = found(structs.replace(verdict("mask=full"), uninformative=True))
    assert Support(True) == rows["mask"]


def test_ids_of_other_versions_count_for_nothing():
    """Nor do they end the command."""
    strange = Verdict("torch_sdpa", "scaled_dot_product", "no id", "accuracy", Status.PASS, 0.5)
    assert not any(row.passed for row in found(strange).values())


def test_the_list_and_the_report_say_it(harness, mistake, tmp_path):
    """Of a run: in the list beside the declarations, as numbers in JSON, and in both forms of the report."""
    case, run = CASE.format(4, "causal=top_left+mask=full"), tmp_path / "run"
    assert 0 == harness("check", "torch_sdpa", "--case", case, "--out", run).status
    rows = {row["option"]: row for row in json.loads(harness("list", "support", run, "--json").out)}
    mask, causal = (rows[name]["implementations"]["torch_sdpa"] for name in ("mask", "causal_top_left"))
    assert (True, 0) == (mask["declared"], mask["nonconforming"])
    assert mask["passed"] == causal["passed"] > 1
    twice = json.loads(harness("list", "support", run, run, "--json").out)
    assert list(rows.values()) == twice, "a check counts once, however many runs have it"
    lines = [line.split("\t") for line in harness("list", "support", run).out.splitlines()]
    column = lines[0].index("torch_sdpa")
    said = {line[0]: line[column] for line in lines}
    assert f"pass ({mask['passed']})" == said["mask"]
    assert ("declared", "not declared") == (said["bias"], said["sinks"])
    assert 0 == harness("report", run).status
    assert f"| `mask` | pass ({mask['passed']}) |" in (run / "report.md").read_text()
    assert "Options by implementations" in (run / "index.html").read_text()
    assert f"did you mean `list support {run}`?" in mistake("list", "options", run)


def test_an_implementation_that_is_no_longer_loaded(harness, tmp_path):
    """What a run says of it stands in the list: its declaration is the run's."""
    kernel, run = write(tmp_path / "kernel.py"), tmp_path / "run"
    case = CASE.format(4, "plain")
    assert harness("check", "kernel", "--load", kernel, "--case", case, "--no-diagnosis", "--out", run).status in (0, 1)
    header = harness("list", "support", run).out.splitlines()[0]
    assert "kernel" in header.split("\t")
