"""The shared suite over the registry: what `check` asks on the command line is asked here, one test an item."""

from __future__ import annotations

import pytest

from harness import conformance, registry
from harness.cases import matrix
from harness.checks import manners
from harness.conformance import Item
from harness.values import NONCONFORMING, NOT_CHECKED


def _items() -> list[Item]:
    shared = matrix("default")
    return list(conformance.plan(registry.select([]), shared, lambda one: {manners.anchor(one)} - set(shared)))


@pytest.mark.parametrize("item", [pytest.param(item, id=item.id) for item in _items()])
def test_conforms(item: Item):
    """Every check of the implementation on the case conforms, or says why it was not asked."""
    verdicts = list(conformance.run(item))
    bad = [verdict for verdict in verdicts if verdict.status in NONCONFORMING]
    text = "\n".join(f"{v.status} {v.check} at {v.where}: {v.reason}\n  replay: {v.replay}" for v in bad)
    assert not bad, text
    if all(verdict.status in NOT_CHECKED for verdict in verdicts):
        pytest.skip(f"{verdicts[0].status}: {verdicts[0].reason}")
