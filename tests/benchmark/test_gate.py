"""Only what conforms is timed and ranked, the baseline too."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from attention_harness import registry, report, store
from attention_harness.benchmark import campaign, gate
from attention_harness.cases.ids import parse
from attention_harness.model.verdict import Status, Verdict
from attention_harness.store.encoding import encode
from tests.benchmark.made import conforms, limit_effort

WORKLOAD = "minilm_layer4"
CASE = "dot_product-B1H2Hk2Lq3Lk5D4Dv4-float32-plain-ordinary-contiguous"

# a copy of eager's formula that drops the last key: less work, so it would be the fastest
WRONG = """
from attention_harness import Capabilities

CAPABILITIES = Capabilities(mechanisms=("scaled_dot_product",), options=("mask",))


def prepare(case):
    def attend(query, key, value, mask):
        scores = query @ key[..., :-1, :].mT / query.shape[-1] ** 0.5
        return scores.masked_fill(~mask[..., :-1], float("-inf")).softmax(-1) @ value[..., :-1, :]

    return attend
"""
GRADIENTS = """
import torch

from attention_harness import Capabilities

CAPABILITIES = Capabilities(mechanisms=("dot_product",), gradients=True, builds=True)


class Detached(torch.autograd.Function):
    @staticmethod
    def forward(ctx, query, key, value):
        return (query @ key.mT).softmax(-1) @ value

    @staticmethod
    def backward(ctx, upstream):
        return upstream * 0, upstream.new_zeros(1, 2, 5, 4), upstream.new_zeros(1, 2, 5, 4)


def prepare(case):
    return lambda query, key, value: Detached.apply(query, key, value)
"""


def written(folder: Path, name: str, text: str) -> Path:
    """Write an implementation's file."""
    path = folder / f"{name}.py"
    path.write_text(f'"""Stand-in."""\n{text}')
    return path


def test_a_wrong_copy_is_refused_a_rank(
    harness: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It appears as wrong, with its verdict, in the terminal, in JSON, in the run directory and in the report."""
    limit_effort(monkeypatch, time_per_arm_s=0.01)
    monkeypatch.setattr(campaign, "QUICK_PASSES", 2)
    file, out = written(tmp_path, "dropping", WRONG), tmp_path / "run"
    answer = harness("bench", "dropping", "--load", file, "--workload", WORKLOAD, "--quick", "--out", out)
    run = store.load(out)
    [wrong] = [row for row in run.measurements if row.implementation == "dropping"]

    assert answer.status == 1
    assert (wrong.status, wrong.ratio, wrong.wall_s) == ("refused", None, ())
    assert wrong.reason.startswith("fail, accuracy: |error|")
    assert "dropping           refused: fail, accuracy" in answer.out
    assert "FAIL dropping, accuracy" in answer.err
    pages = [path.read_text() for path in report.write(run, tmp_path / "report")]
    assert all("refused" in page and "fail, accuracy: " in page for page in pages)
    assert "noise: load" in answer.out
    assert run.facts.noise.line in answer.out
    assert all("A/A control" in page for page in pages)
    same = ("bench", "dropping", "--load", file, "--workload", WORKLOAD, "--quick", "--out", out)
    again = harness(*same, "--resume", "--json")
    assert "verdicts are there" in again.err
    document = json.loads(again.out)
    assert json.loads(encode(run.facts.noise)) == document["noise"]
    assert json.loads(encode(run.measurements)) == document["measurements"]
    assert run.measurements == store.load(out).measurements  # nothing was left to measure
    data = json.loads((out / "benchmark.json").read_text())
    assert ["eager"] == [entry["params"]["implementation"] for entry in data["benchmarks"]]
    assert ["dropping"] == [entry["implementation"] for entry in data["attention_harness"]["not_measured"]]


def test_a_wrong_gradient_is_refused_where_it_is_timed(tmp_path: Path) -> None:
    """Forward it conforms; with the backward pass a gradient is wrong, whatever sample `check` would take."""
    file = written(tmp_path, "detached", GRADIENTS)
    found = registry.implementations([file])["detached"]

    assert conforms(found, parse(CASE)) == ""
    assert conforms(found, parse(CASE), "forward_backward").startswith("fail, gradient: gradient of query")


def verdict(status: Status, check: str = "accuracy", error_ratio: float | None = 0.5) -> Verdict:
    """Return a verdict of eager on the case."""
    return Verdict(
        "eager", "dot_product", CASE, check, status, error_ratio, reason="" if status is Status.PASS else "why"
    )


@pytest.mark.parametrize("status", [status for status in Status if status is not Status.PASS])
def test_everything_but_a_pass_is_refused(status: Status) -> None:
    """A known failure is one, and so is what nobody could ask."""
    answers = gate.Gate()
    error_ratio = 0.5 if status is Status.UNEXPECTED_PASS else None
    answers.add([verdict(Status.PASS, "purity"), verdict(status, error_ratio=error_ratio)])

    assert answers(registry.implementations()["eager"], parse(CASE)) == f"{status}, accuracy: why"


def test_a_known_failure_hides_no_other_one() -> None:
    """The reason is the failure that nobody declared; a known one alone is told as such."""
    answers, eager, case = gate.Gate(), registry.implementations()["eager"], parse(CASE)
    answers.add([verdict(Status.KNOWN_FAILURE, error_ratio=None)])
    assert f"{Status.KNOWN_FAILURE}, accuracy: why" == answers(eager, case)
    answers.add([verdict(Status.FAIL, "purity", None)])
    assert f"{Status.FAIL}, purity: why" == answers(eager, case)


def test_what_was_not_asked_is_not_timed() -> None:
    """Passing what was asked is not enough: accuracy always, the gradient where the backward pass is timed."""
    answers, eager, case = gate.Gate(), registry.implementations()["eager"], parse(CASE)
    assert "no verdict on accuracy" in answers(eager, case)

    answers.add([verdict(Status.PASS)])
    assert answers(eager, case) == ""
    assert "no verdict on gradient" in answers(eager, case, "forward_backward")

    answers.add([verdict(Status.PASS, "gradient", 0.75)])
    assert answers(eager, case, "forward_backward") == ""
    assert (0.5, 0.75) == (answers.error_ratio("eager", case), answers.error_ratio("eager", case, "forward_backward"))


def test_a_case_is_asked_once() -> None:
    """In both directions it is one item, with the gradient for those that declare it, costly or not."""
    known = registry.implementations()
    case = parse(f"{CASE}-draw1")  # not in the sample that `check` takes of costly gradients
    items = gate.items([known["compiled"], known["onnx_cpu"]], [(case, "forward"), (case, "forward_backward")])

    asked = {item.implementation.name: [check.name for check in item.checks] for item in items}
    assert {
        "compiled": ["accuracy", "weights", "purity", "gradient"],
        "onnx_cpu": ["accuracy", "weights", "purity"],
    } == asked
