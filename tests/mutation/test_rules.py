"""Other projects' rules: each says what it publishes, sees a gross fault, and is set beside this suite."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from attention_harness import store
from attention_harness.model.case import Case
from attention_harness.model.mutation_results import OURS, ByRule, Killed, rule_totals
from attention_harness.mutation.campaign import select
from attention_harness.mutation.patched import Mutant
from attention_harness.mutation.rivals import reaching
from attention_harness.mutation.rules import MECHANISM, RULES, Answer, accusation
from attention_harness.report import build, markdown, page
from attention_harness.report.content.mutation import rule_lines

CHEAP = ("onnx", "tosa")


def answer(dtype: str, error: float, what: str = "output") -> Answer:
    """Return an answer of 200 elements, one of which is off; the textbook is off by 2^-12 everywhere."""
    case = Case(MECHANISM, {"B": 1, "H": 1, "Hk": 1, "Lq": 20, "Lk": 8, "D": 4, "Dv": 10}, dtype)
    exact = np.linspace(0.5, 1, 200).reshape(1, 1, 20, 10)
    found = exact.copy()
    found[0, 0, 3, 4] += error
    return Answer(what, case, found, exact, exact + 2.0**-12, np.ones_like(exact))


def test_each_rule_says_where_it_is_published():
    """With the project, the tolerance and the inputs; all of its problems are cases of the one mechanism."""
    assert {"flash_attention", "torch", "onnx", "xformers", "kernelbench", "tosa"} == RULES.keys()
    for rule in RULES.values():
        assert re.search(r"[\w-]+/[\w-]+|reference model", rule.cites)
        assert {MECHANISM} == {case.mechanism for case in rule.cases()}


@pytest.mark.parametrize(
    ("name", "dtype", "what", "allowed", "refused"),
    [
        ("flash_attention", "bfloat16", "gradient of key", 0.0, 2.0**-4),
        ("torch", "float32", "output", 4.9 * 2.0**-12, 5.1 * 2.0**-12),
        ("onnx", "float32", "output", 2.0**-12, 3e-3),
        ("xformers", "float32", "output", 2.9e-4, 3.3e-4),
        ("xformers", "float32", "gradient of value", 8e-4, 1.2e-3),
        ("xformers", "bfloat16", "output", 0.02, 0.03),
        ("kernelbench", "float16", "output", 0.01, 0.025),
        ("kernelbench", "float32", "output", -(2.0**-12) * 0.5, 1e-3),
        ("tosa", "float32", "output", 2.0**-24, 2.0**-18),
    ],
)
def test_the_tolerances_are_the_published_ones(name, dtype, what, allowed, refused):
    """An error on either side of each."""
    found = answer(dtype, allowed, what)
    if name in ("onnx", "kernelbench"):  # they compare with the textbook
        found = Answer(found.what, found.case, found.found, found.exact, found.exact, found.magnitude)
    assert not RULES[name].accuses(found)
    assert RULES[name].accuses(answer(dtype, refused, what))


@pytest.mark.parametrize("name", CHEAP)
def test_a_rule_sees_a_gross_fault_and_not_its_own_reference(name):
    """The source without a patch passes; a key that is dropped, an exception and a wrong shape do not."""
    assert "" == accusation(RULES[name], Mutant("none", "none", ()))
    [dropped], _ = select(["last key dropped"])
    assert "output on scaled_dot_product" in accusation(RULES[name], dropped)
    raises = Mutant("raises", "test", (("    scores = query @ key.mT\n", "    scores = query @ key.mT\n    1 / 0\n"),))
    assert "ZeroDivisionError" in accusation(RULES[name], raises)


def test_tosa_sees_a_bias_within_each_elements_bound():
    """Errors of one sign add up, where the same errors of either sign do not."""
    one = answer("bfloat16", 0.0)
    drift = 2.0**-8 * np.ones_like(one.exact)
    signs = np.where(np.arange(200).reshape(drift.shape) % 2, 1, -1)
    wrong, right = (
        Answer("output", one.case, one.exact + e, one.exact, one.exact, one.magnitude) for e in (drift, drift * signs)
    )
    assert RULES["tosa"].accuses(wrong)
    assert not RULES["tosa"].accuses(right)


def test_only_what_reaches_the_mechanism_is_judged():
    """A fault of another formula is none that the rule could see."""
    mutants, variants = select(["kernel without w", "last key dropped", "sum by einsum"])
    assert ["last key dropped", "sum by einsum"] == [one.name for one in reaching([*mutants, *variants])]


def test_the_rules_are_set_side_by_side():
    """Mutants killed and variants accused, by rule, with ours last."""
    found = [ByRule("onnx", "a", False, "output"), ByRule("onnx", "b", False, ""), ByRule("onnx", "v", True, "output")]
    found += [ByRule(OURS, "a", False, "accuracy"), ByRule(OURS, "b", False, "accuracy"), ByRule(OURS, "v", True, "")]
    counted = rule_totals(found)
    assert {"onnx": (Killed(1, 2), Killed(1, 1)), OURS: (Killed(2, 2), Killed(0, 1))} == counted
    text = "\n".join(rule_lines(counted, {"onnx": "where it stands"}))
    assert "onnx                         1 of 2             1 of 1" in text
    assert "attention-harness            2 of 2             0 of 1" in text
    assert "onnx: where it stands" in text


def test_the_verb(harness):
    """Killed and accused as JSON, with where each rule is published; what it would ignore is refused."""
    given = harness("mutants", "last key dropped", "--rule", "onnx", "--jobs", "1", "--json")
    assert given.status == 0
    said = json.loads(given.out)
    assert {"onnx", OURS} == said["totals"].keys()
    assert [{"killed": 1, "of": 1}, {"killed": 0, "of": 0}] == said["totals"]["onnx"]
    assert "onnx/onnx" in said["cites"]["onnx"]
    assert 2 == harness("mutants", "--rule", "guess").status
    assert 2 == harness("mutants", "--rule", "onnx", "--quick").status


def test_a_run_by_rule_is_kept_and_resumed(harness, tmp_path):
    """A line for each result; a resumed run makes none again, and the report sets the rules side by side."""
    command = (
        "mutants",
        "last key dropped",
        "weights in eight bits",
        "--rule",
        "onnx",
        "--jobs",
        "1",
        "--out",
        str(tmp_path),
    )
    first = harness(*command)
    lines = (tmp_path / "by_rule.jsonl").read_text().splitlines()
    assert 4 == len(lines)
    (tmp_path / "by_rule.jsonl").write_text("\n".join(lines[:2]) + "\n")
    again = harness(*command, "--resume")
    assert "resume: 2 results are there" in again.err
    assert first.out == again.out
    assert sorted(lines) == sorted((tmp_path / "by_rule.jsonl").read_text().splitlines())
    content = build(store.load(tmp_path))
    for text in (markdown.render(content), page.render(content)):
        assert "Beside other projects" in text
        assert "attention-harness" in text
        assert "2 of 2" in text
