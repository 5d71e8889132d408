"""What an item changed of its process is detected, and what it did not change is not."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from attention_harness import registry
from attention_harness.cases.ids import parse
from attention_harness.checks import BY_NAME
from attention_harness.execution import declarations
from attention_harness.execution.plan import plan_item
from attention_harness.execution.runner import item_worker
from attention_harness.host.process_state import name_few, process_state
from attention_harness.model.verdict import Status
from tests.registry.sources import TINY, write


def test_a_snapshot_equals_a_second_one():
    """Nothing has changed between two looks, also where torch's own compiler is imported in between."""
    before = process_state()
    torch._dynamo.config  # noqa: B018 (imports it)
    now = process_state()
    assert [] == before.replaced(now)
    assert [] == before.changed(now)


@pytest.mark.parametrize(
    ("owner", "name", "expected"),
    [
        (torch, "softmax", "torch.softmax"),
        (torch.Tensor, "double", "torch.Tensor.double"),
        (torch.Tensor, "__matmul__", "torch.Tensor.__matmul__"),
        (torch.nn.functional, "softmax", "torch.nn.functional.softmax"),
        (np, "array_equal", "numpy.array_equal"),
    ],
)
def test_a_replaced_function_is_named(monkeypatch, owner, name, expected):
    """One that stands in another's place, whether or not it answers alike; none that was added."""
    before = process_state()
    monkeypatch.setattr(owner, "one_more", len, raising=False)
    assert [] == before.replaced(process_state())
    original = getattr(owner, name)
    monkeypatch.setattr(owner, name, lambda *arguments, **keywords: original(*arguments, **keywords))
    assert expected in before.replaced(process_state())


def test_torchs_own_functions_are_no_others_place(monkeypatch):
    """One of torch's in another's place is a replacement, and so is what torch wraps around it."""
    before = process_state()
    monkeypatch.setattr(torch.nn.functional, "softmax", torch.nn.functional.log_softmax)
    monkeypatch.setattr(torch.linalg, "norm", torch.manual_seed)
    monkeypatch.setattr(torch.nn.functional, "gelu", torch.no_grad()(torch.nn.functional.softplus))
    placed = {"torch.nn.functional.softmax", "torch.nn.functional.gelu", "torch.linalg.norm"}
    assert placed == set(before.replaced(process_state()))


def test_a_removed_function_is_named(monkeypatch):
    """What is gone is replaced by nothing."""
    before = process_state()
    monkeypatch.delattr(torch, "softmax")
    assert ["torch.softmax"] == before.replaced(process_state())


def test_changed_settings_are_named(monkeypatch, tmp_path):
    """The working directory and the environment among them."""
    before = process_state()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.setenv("ONE_MORE", "1")
    expected = ["the working directory", "environment variable OMP_NUM_THREADS", "environment variable ONE_MORE"]
    assert expected == before.changed(process_state())
    assert "a, b, c and 1 more" == name_few(["a", "b", "c", "d"])


CALLED = """answer = inner(case)
    def call(**given):
        os.environ["VARIABLE"] = "jax"
        return answer(**given)
    return call"""
PREPARED = """import os
inner = prepare
def prepare(case):
    os.chdir("/")
    os.environ["BACKEND_OF_A_LIBRARY"] = "torch"
    return inner(case)
"""


def verdicts(path, *checks):
    """Return the verdicts on a file, or those of the named checks."""
    item = plan_item(*registry.select([path.stem], [path]), parse(TINY))
    item = replace(item, checks=tuple(map(BY_NAME.get, checks)) or item.checks)
    with item_worker([path]) as run:
        return run(item)


def test_what_is_changed_while_it_is_prepared_is_no_impurity_and_is_told(tmp_path):
    """As libraries do that set variables when they are imported: their names and values are one behaviour."""
    path = write(tmp_path / "changes.py", bottom=PREPARED)
    *others, told = verdicts(path, "accuracy", "purity", "behaviour.set_up")
    assert {Status.PASS} == {verdict.status for verdict in others}
    assert f"the working directory: {os.getcwd()} becomes /" in told.finding
    assert "environment variable BACKEND_OF_A_LIBRARY: unset becomes torch" in told.finding


@pytest.mark.parametrize("variable", ["BACKEND_OF_A_LIBRARY", "OF_A_CALL"])
def test_what_a_call_changes_is_an_impurity_also_of_what_preparing_had_set(tmp_path, variable):
    """A variable that appears, and one that gets another value than it was prepared with."""
    bottom = PREPARED.replace("return inner(case)", CALLED.replace("VARIABLE", variable))
    [purity] = verdicts(write(tmp_path / "calls.py", bottom=bottom), "purity")
    assert Status.FAIL == purity.status
    assert f"the call changed environment variable {variable}" == purity.reason


def test_the_process_of_one_implementation_is_not_another_s(tmp_path):
    """What one sets, and what it imports, is nowhere in the other's; nor is what it leaves to its own next case."""
    sets = write(tmp_path / "sets.py", top="import os, builtins\nos.environ['SET'] = builtins.mark = '1'")
    seen = 'assert "SET" not in os.environ and not hasattr(builtins, "mark")'
    other = write(tmp_path / "other.py", top=f"import builtins, os\n{seen}", body=seen)
    load = [sets, other]
    items = [plan_item(one, parse(TINY)) for one in declarations.select([], load)]
    with item_worker(load) as run:
        found = [run(items[turn]) for turn in (0, 1, 0, 1)]
    assert {Status.PASS} == {verdict.status for verdicts in found for verdict in verdicts}


def test_a_process_that_nothing_spoils_meets_the_next_case(tmp_path):
    """And so does the worker: neither is started for each case. One that a call spoils is, alone."""
    note = "open(__file__ + '.seen', 'a').write(f'{os.getpid()} {os.getppid()}\\n')"
    spoils = "os.environ['ONE_MORE'] = str(os.getpid())"
    paths = [
        write(tmp_path / f"{name}.py", top="import os", body=f"{note}; {body}")
        for name, body in (("stays", "pass"), ("spoils", spoils))
    ]
    items = [plan_item(one, parse(TINY)) for one in declarations.select([], paths)]
    items = [replace(item, checks=(BY_NAME["accuracy"],)) for item in items]
    with item_worker(paths) as run:
        for item in (*items, *items):
            run(item)
    stays, spoils = ([line.split() for line in Path(f"{path}.seen").read_text().splitlines()] for path in paths)
    assert (1, 1) == tuple(len(set(column)) for column in zip(*stays, strict=True))
    assert (2, 1) == tuple(len(set(column)) for column in zip(*spoils, strict=True))
    assert stays[0][1] == spoils[0][1]


def test_no_pass_of_a_patched_torch_is_kept(tmp_path):
    """It is no impurity of a call alone: whatever else runs in that process computes by it."""
    patch = "import torch\ninner = prepare\ndef prepare(case):\n    original = torch.Tensor.double\n"
    patch += "    torch.Tensor.double = lambda x: original(x)\n    return inner(case)\n"
    found = verdicts(write(tmp_path / "patches.py", bottom=patch), "accuracy", "purity")
    assert {(Status.FAIL, "it replaced torch.Tensor.double: its verdicts cannot be trusted")} == {
        (verdict.status, verdict.reason) for verdict in found
    }
