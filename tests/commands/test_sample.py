"""`check --sample` asks a sample of a tier's cases, the same for the same seed, and says that it is one."""

from __future__ import annotations

import json

import pytest

from attention_harness import registry
from attention_harness.cases.projection import cases_for

OPTIONS = ("--quick", "--mechanism", "dot_product", "--jobs", 1, "--no-diagnosis")


def asked(directory) -> dict[str, list[str]]:
    """Return the cases of a run in order, by implementation."""
    found: dict[str, dict[str, None]] = {}
    for line in (directory / "verdicts.jsonl").read_text().splitlines():
        row = json.loads(line)
        found.setdefault(row["implementation"], {})[row["case"]] = None
    return {name: list(cases) for name, cases in found.items()}


def test_a_sample_is_of_each_implementation(harness, tmp_path):
    """So many cases of each, of the tier's, and others for another seed."""
    runs = {}
    for name, more in {"first": (), "again": (), "other": ("--seed", 7)}.items():
        command = ("check", "numpy_reference", "torch_sdpa", "--out", tmp_path / name, *OPTIONS, "--sample", 4)
        answer = harness(*command, *more)
        assert answer.status == 0, answer.err
        runs[name] = asked(tmp_path / name)
        assert "sample: 4 cases of each implementation, of all of the tier quick, drawn from seed" in answer.out
    assert runs["first"] == runs["again"] != runs["other"]
    assert {"numpy_reference", "torch_sdpa"} == set(runs["first"])
    for implementation, cases in runs["first"].items():
        assert len(cases) == 4
        [own] = registry.select([implementation])
        assert set(cases) < {case.id for case in cases_for(own.capabilities, "quick")}
    tier = json.loads((tmp_path / "other" / "run.json").read_text())["tier"]
    assert tier == "quick, 4 cases of each implementation drawn from seed 7"


def test_a_resumed_sample_is_the_same(harness, tmp_path):
    """Torn after some verdicts, it goes on to the same cases; a sample of another size is another run."""
    command = ("check", "numpy_reference", "--out", tmp_path / "run", *OPTIONS, "--sample")
    assert harness(*command, 4).status == 0
    whole = asked(tmp_path / "run")
    path = tmp_path / "run" / "verdicts.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:3]))
    assert harness(*command, 4, "--resume").status == 0
    assert asked(tmp_path / "run") == whole
    assert harness(*command, 5, "--resume").status != 0


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (("--fuzz", 3), "--fuzz draws its own cases"),
        (
            ("--case", "dot_product-B1H1Hk1Lq4Lk4D8Dv8-float32-plain-ordinary-contiguous"),
            "--case names its cases itself",
        ),
    ],
)
def test_a_sample_of_what_is_named_is_refused(harness, more, says):
    """With what to leave out."""
    answer = harness("check", "numpy_reference", "--sample", 2, *more)
    assert answer.status == 2
    assert says in answer.err
