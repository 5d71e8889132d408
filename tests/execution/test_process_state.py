"""What an item changed of its process is detected, and what it did not change is not."""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np
import pytest
import torch

from attention_harness import registry
from attention_harness.cases.ids import parse
from attention_harness.checks import BY_NAME
from attention_harness.execution import in_process
from attention_harness.execution.plan import plan_item
from attention_harness.execution.process_state import name_few, process_state
from attention_harness.execution.run import verdicts_of
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


def test_what_is_changed_while_it_is_prepared_is_no_impurity_and_is_told(tmp_path, monkeypatch):
    """As libraries do that set variables when they are imported: their names and values are one behaviour."""
    monkeypatch.chdir(here := os.getcwd())  # put back afterwards
    monkeypatch.setenv("BACKEND_OF_A_LIBRARY", "")
    monkeypatch.delenv("BACKEND_OF_A_LIBRARY")
    [own] = registry.select(["changes"], [write(tmp_path / "changes.py", bottom=PREPARED)])
    item = plan_item(own, parse(TINY))
    assert {Status.PASS} == {verdict.status for verdict in verdicts_of(item)}
    [told] = verdicts_of(replace(item, checks=(BY_NAME["behaviour.set_up"],)))
    assert f"the working directory: {here} becomes /" in told.finding
    assert "environment variable BACKEND_OF_A_LIBRARY: unset becomes torch" in told.finding


@pytest.mark.parametrize("variable", ["BACKEND_OF_A_LIBRARY", "OF_A_CALL"])
def test_what_a_call_changes_is_an_impurity_also_of_what_preparing_had_set(tmp_path, monkeypatch, variable):
    """A variable that appears, and one that gets another value than it was prepared with."""
    for one in ("BACKEND_OF_A_LIBRARY", "OF_A_CALL"):
        monkeypatch.setenv(one, "")  # put back afterwards
        monkeypatch.delenv(one)
    monkeypatch.chdir(os.getcwd())
    bottom = PREPARED.replace("return inner(case)", CALLED.replace("VARIABLE", variable))
    [own] = registry.select(["calls"], [write(tmp_path / "calls.py", bottom=bottom)])
    verdicts = {verdict.check: verdict for verdict in verdicts_of(plan_item(own, parse(TINY)))}
    assert Status.FAIL == verdicts["purity"].status
    assert f"the call changed environment variable {variable}" == verdicts["purity"].reason


def test_the_variables_of_one_implementation_are_not_another_s(monkeypatch):
    """A worker gives them to the implementation that set them, and takes them back: it need not be replaced."""
    monkeypatch.setenv("OF_A_LIBRARY", "")  # put back afterwards
    monkeypatch.delenv("OF_A_LIBRARY")
    before = process_state()
    with in_process.setting_up("one that sets"):
        os.environ["OF_A_LIBRARY"] = "1"
    for name, seen in (("one that sets", "1"), ("another", None), ("one that sets", "1")):
        with in_process.environment_of(name):
            assert os.environ.get("OF_A_LIBRARY") == (seen if name == "one that sets" else None)
        assert [] == before.changed(process_state())


def test_no_pass_of_a_patched_torch_is_believed(tmp_path, monkeypatch):
    """What a wrong answer gains by patching the judge's own functions is lost again; what failed stays as it is."""
    monkeypatch.setattr(torch.Tensor, "double", torch.Tensor.double)  # put back afterwards
    patch = "import torch\ninner = prepare\ndef prepare(case):\n    original = torch.Tensor.double\n"
    patch += "    torch.Tensor.double = lambda x: original(x)\n    return inner(case)\n"
    [own] = registry.select(["patches"], [write(tmp_path / "patches.py", bottom=patch)])
    item = plan_item(own, parse(TINY))
    verdicts = verdicts_of(item)
    assert {(Status.FAIL, "it replaced torch.Tensor.double: its verdicts cannot be trusted")} == {
        (verdict.status, verdict.reason) for verdict in verdicts
    }
