"""What an item changed of its process is detected, and what it did not change is not."""

from __future__ import annotations

import os

import numpy as np
import pytest
import torch

from attention_harness import registry
from attention_harness.cases.ids import parse
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
    assert ["the working directory", "the environment"] == before.changed(process_state())
    assert "a, b, c and 1 more" == name_few(["a", "b", "c", "d"])


PREPARED = "import os\ninner = prepare\ndef prepare(case):\n    os.chdir('/')\n    return inner(case)\n"


def test_what_is_changed_while_it_is_prepared_fails_purity_alone(tmp_path, monkeypatch):
    """No call changes it, so that only the comparison over the whole item sees it."""
    monkeypatch.chdir(os.getcwd())  # put back afterwards
    [own] = registry.select(["changes"], [write(tmp_path / "changes.py", bottom=PREPARED)])
    item = plan_item(own, parse(TINY))
    verdicts = {verdict.check: verdict for verdict in verdicts_of(item)}
    assert (Status.FAIL, "it changed the working directory") == (verdicts["purity"].status, verdicts["purity"].reason)
    assert {Status.PASS} == {verdict.status for name, verdict in verdicts.items() if name != "purity"}


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
