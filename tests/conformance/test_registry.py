"""The shared suite over the registry: what `check` asks on the command line is asked here, one test an item."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from attention_harness import registry
from attention_harness.cases.matrix import matrix
from attention_harness.checks.behaviour.anchor import anchor
from attention_harness.execution.plan import Item, plan_items
from attention_harness.execution.run import verdicts_of
from attention_harness.model.verdict import NONCONFORMING, NOT_CHECKED
from attention_harness.options import required

BUILT = ("onnx_cpu", "compiled")
"""For each structure of inputs an export takes a second, a compilation several: these are asked a sample of the quick
matrix here, and everything by `python -m attention_harness check`."""


def _sample(items: Iterable[Item]) -> list[Item]:
    """Return few items that together show each mechanism, dtype, content, memory layout, option and check."""
    shown = {}
    for item in items:
        case = item.case
        facts = {case.mechanism, case.dtype, case.content, case.layout, *required(case)}
        if item.skip is None:
            shown[item.id] = item, facts | {check.name for check in item.checks}
    wanted = set().union(*(facts for _, facts in shown.values()))
    kept = []
    while wanted:
        item, facts = max(shown.values(), key=lambda pair: len(pair[1] & wanted))
        kept.append(item)
        wanted -= facts
    return kept


def _items() -> list[Item]:
    found: list[Item] = []
    for name, one in registry.implementations().items():
        shared = matrix("quick" if name in BUILT else "default")
        items = plan_items([one], shared, lambda one, shared=shared: {anchor(one)} - set(shared))
        found += _sample(items) if name in BUILT else items
    return found


@pytest.mark.parametrize("item", [pytest.param(item, id=item.id) for item in _items()])
def test_conforms(item: Item):
    """Every check of the implementation on the case conforms, or says why it was not asked."""
    verdicts = verdicts_of(item)
    bad = [verdict for verdict in verdicts if verdict.status in NONCONFORMING]
    text = "\n".join(f"{v.status} {v.check} at {v.where}: {v.reason}\n  replay: {v.replay}" for v in bad)
    assert not bad, text
    if all(verdict.status in NOT_CHECKED for verdict in verdicts):
        pytest.skip(f"{verdicts[0].status}: {verdicts[0].reason}")
