"""`choose` from the command line: who is ranked, who is out and why, and what is measured again."""

from __future__ import annotations

import json
import operator
from pathlib import Path

import pytest

from harness.bench import cells
from harness.choose import command

KERNEL = '''"""Additive scores."""

from harness import Capabilities

CAPABILITIES = Capabilities(mechanisms=("additive",))


def prepare(case):
    def attend(query, key, value, W_q, W_k, w_v):
        features = (query @ W_q.mT).unsqueeze(-2) + (key @ W_k.mT).unsqueeze(-3)
        return (features.tanh() @ w_v).softmax(-1) @ value

    return TIMES
'''
TIMES = {
    "once": "attend",
    "thrice": "lambda **given: [attend(**given) for _ in range(3)][0]",
    "far": "lambda **given: [attend(**given) for _ in range(40)][0]",
    "wrong": "lambda **given: attend(**given) * 2",
    "narrow": "attend",
}
SHAPE = ("additive", "--shape", "2x2x16x32")


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    """Return the arguments that load the kernels, and name them alone."""
    arguments = []
    for name, times in TIMES.items():
        text = KERNEL.replace("TIMES", times)
        text = text.replace('("additive",)', '("cosine",)') if name == "narrow" else text
        (tmp_path / f"{name}.py").write_text(text)
        arguments += ["--load", str(tmp_path / f"{name}.py"), "--only", name]
    return arguments


def test_ranks_reasons_and_reuse(harness, files, tmp_path, monkeypatch):
    """The fastest is recommended, every other one has a reason, and a second question measures nothing."""
    monkeypatch.setattr(cells, "PASSES", 3)
    answer = harness("choose", *SHAPE, *files, "--json", "--out", tmp_path / "run")
    document = json.loads(answer.out)
    assert (0, ["once"]) == (answer.status, document["recommended"])
    assert [(1, "once"), (2, "thrice")] == [(place["rank"], place["implementation"]) for place in document["places"]]
    second = document["places"][1]
    assert 1.5 < second["ratio"]
    assert second["low"] <= second["ratio"] <= second["high"]
    out = {one["implementation"]: one["status"] for one in document["out"]}
    assert {"narrow": "unsupported", "wrong": "wrong", "far": "far behind"} == out
    assert "passes of 15 rounds or more: about" in answer.err

    monkeypatch.setattr(command, "_measured", None)
    again = json.loads(harness("choose", *SHAPE, *files, "--json", "--reuse", tmp_path / "run").out)
    assert document["places"] == again["places"]
    key = operator.itemgetter("implementation")
    assert sorted(document["out"], key=key) == sorted(again["out"], key=key)
    none = harness("choose", *SHAPE, *files, "--reuse", tmp_path / "run", "--memory", "1")
    assert 1 == none.status
    assert "nothing can be recommended" in none.out
    assert "memory: one call adds" in none.out


def test_what_does_not_serve_is_measured_anew(harness, files, tmp_path, monkeypatch):
    """Another problem, or a file that changed since, is said, and nothing of the run is taken."""
    monkeypatch.setattr(cells, "PASSES", 2)
    only = files[:4]  # the first kernel
    asked = []
    monkeypatch.setattr(command, "_measured", lambda *given: asked.append(given) or [])
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").write_text(json.dumps({"schema": 1, "environment": command.environment()}))
    answer = harness("choose", *SHAPE, *only, "--reuse", tmp_path / "run")
    assert (1, 1) == (answer.status, len(asked))
    assert "nothing of" in answer.err
    assert "does not have additive-" in answer.err


@pytest.mark.parametrize(
    ("said", "peak", "limit"),
    [
        ("", 5, None),
        ("", 5, 5),
        ("adds 2 MiB at its peak, the limit is 1 MiB", 2 << 20, 1 << 20),
        ("not known", None, 9),
    ],
)
def test_a_limit_of_memory(said, peak, limit):
    """What is not known cannot be shown to keep it."""
    found = command.over(peak, limit)
    assert bool(said) == bool(found)
    assert said in found
