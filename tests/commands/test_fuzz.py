"""`check --fuzz` exits as `check` does, shrinks what fails, and goes on where it stopped, also to more cases."""

from __future__ import annotations

import json

import pytest

from attention_harness import registry
from attention_harness.execution import fuzz
from tests.registry.sources import write

OPTIONS = ("--mechanism", "scaled_dot_product", "--jobs", 1, "--no-diagnosis")
LATE = "if key.shape[-2] > 12:\n            key, value = key[..., :-1, :], value[..., :-1, :]"


def rows(directory) -> list[dict]:
    """Return the verdicts of a run without what no two runs share."""
    lines = (json.loads(line) for line in (directory / "verdicts.jsonl").read_text().splitlines())
    return [row | {"seconds": 0} for row in lines]


def facts(directory) -> dict:
    return json.loads((directory / "run.json").read_text())


def test_what_conforms_exits_with_0(harness, tmp_path):
    """The drawn cases are checked, counted, and the way on is told."""
    answer = harness("check", "numpy_reference", "--fuzz", 12, "--seed", 5, "--out", tmp_path / "run", *OPTIONS)
    assert answer.status == 0, answer.err
    assert "fuzz: 12 cases of seed 5; the same and as many more: --seed 5 --fuzz 24" in answer.out
    [own] = registry.select(["numpy_reference"])
    cases = [case.id for case in fuzz.draw_cases([own], 12, seed=5, mechanisms=["scaled_dot_product"]).numbers]
    assert list(dict.fromkeys(row["case"] for row in rows(tmp_path / "run"))) == cases
    assert facts(tmp_path / "run")["tier"] == "drawn from seed 5"


def test_what_fails_exits_with_1_and_is_shrunk(harness, tmp_path, monkeypatch):
    """The smallest case is printed with its replay command, kept in the run, and in the document."""
    monkeypatch.setattr(fuzz, "GROUPS", 1)
    path = write(tmp_path / "late.py", declared='dtypes=("float32", "float64")', body=LATE)
    answer = harness(
        "check", "--load", path, "--no-diagnosis", "--fuzz", 20, "--out", tmp_path / "run", "--json", *OPTIONS
    )
    assert answer.status == 1
    told = json.loads(answer.out)["fuzz"]
    assert (told["seed"], told["cases"]) == (0, 20)
    [found] = [row for row in told["smallest"] if row["verdict"]["check"] == "accuracy"]
    smallest = "scaled_dot_product-B1H1Hk1Lq1Lk13D1Dv1-float32-plain-ordinary-contiguous"
    assert found["verdict"]["case"] == smallest
    failed = {row["case"] for row in rows(tmp_path / "run") if (row["check"], row["status"]) == ("accuracy", "fail")}
    assert found["failures"] == len(failed) > 0
    assert f"smallest of {len(failed)} such failures:\nFAIL late, accuracy, {smallest}" in answer.err
    assert told["smallest"] == facts(tmp_path / "run")["smallest"]
    assert harness("check", "--load", path, "--case", smallest, "--jobs", 1, "--no-diagnosis").status == 1


def test_a_resumed_run_equals_an_uninterrupted_one(harness, tmp_path):
    """Torn in the middle, it goes on to the same verdicts in the same order."""
    whole, torn = tmp_path / "whole", tmp_path / "torn"
    command = ("check", "numpy_reference", "--fuzz", 8, *OPTIONS)
    assert harness(*command, "--out", whole).status == harness(*command, "--out", torn).status == 0
    path = torn / "verdicts.jsonl"
    path.write_bytes(path.read_bytes()[: len(path.read_bytes()) // 2])
    assert harness(*command, "--out", torn, "--resume").status == 0
    assert rows(torn) == rows(whole)


def test_a_run_goes_on_to_more_cases(harness, tmp_path):
    """More cases of the same seed are the same run, longer; its plan is then the longer one."""
    whole, longer = tmp_path / "whole", tmp_path / "longer"
    command = ("check", "numpy_reference", *OPTIONS)
    assert harness(*command, "--fuzz", 8, "--out", whole).status == 0
    assert harness(*command, "--fuzz", 3, "--out", longer).status == 0
    answer = harness(*command, "--fuzz", 8, "--out", longer, "--resume")
    assert answer.status == 0, answer.err
    assert rows(longer) == rows(whole)
    assert {name: facts(longer)[name] for name in ("plan", "planned")} == {
        name: facts(whole)[name] for name in ("plan", "planned")
    }
    assert harness(*command, "--fuzz", 8, "--out", longer, "--resume").status == 0


@pytest.mark.parametrize("other", [("--fuzz", 3), ("--fuzz", 9, "--seed", 1), ("--quick",)])
def test_another_run_is_not_gone_on_with(harness, mistake, tmp_path, other):
    """Fewer cases, another seed, or a tier is another run."""
    command = ("check", "numpy_reference", *OPTIONS)
    assert harness(*command, "--fuzz", 4, "--out", tmp_path).status == 0
    before = facts(tmp_path)
    assert "holds another run" in mistake(*command, *other, "--out", tmp_path, "--resume")
    assert before == facts(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--fuzz", 3, "--quick"), "--fuzz draws its own cases"),
        (("--fuzz", 3, "--case", "x"), "--fuzz draws its own cases"),
        (("--seed", 3), "--seed is that of drawn cases: give --fuzz N or --sample N with it"),
        (("--fuzz", 3, "--mechanism", "cosin"), "Did you mean 'cosine'"),
    ],
)
def test_a_mistake_exits_with_2(mistake, arguments, complaint):
    """One line that says what was wrong."""
    assert complaint in mistake("check", "eager", *arguments)


@pytest.mark.parametrize("text", ["-1", "x", "1.5"])
def test_a_seed_is_a_whole_number(harness, text):
    """As the number of cases is."""
    assert harness("check", "eager", "--fuzz", 3, "--seed", text).status == 2
    assert harness("check", "eager", "--fuzz", text).status == 2
