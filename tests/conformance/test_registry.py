"""The shared suite over the registry: what `check` asks on the command line is asked here, one test an item."""

from __future__ import annotations

import pytest

from harness import conformance, registry
from harness.cases import matrix
from harness.checks import manners
from harness.conformance import Item
from harness.values import NONCONFORMING, NOT_CHECKED

COSTLY = ("compiled",)
"""What takes seconds for every structure is asked the quick matrix here; the others by `python -m tox -e thorough`."""


def _items() -> list[Item]:
    every = registry.implementations()
    found: list[Item] = []
    for tier in ("default", "quick"):
        chosen = [own for name, own in every.items() if (name in COSTLY) == (tier == "quick")]
        shared = matrix(tier)
        found += conformance.plan(chosen, shared, lambda one, shared=shared: {manners.anchor(one)} - set(shared))
    return found


@pytest.mark.parametrize("item", [pytest.param(item, id=item.id) for item in _items()])
def test_conforms(item: Item):
    """Every check of the implementation on the case conforms, or says why it was not asked."""
    verdicts = conformance.settled(item)
    bad = [verdict for verdict in verdicts if verdict.status in NONCONFORMING]
    text = "\n".join(f"{v.status} {v.check} at {v.where}: {v.reason}\n  replay: {v.replay}" for v in bad)
    assert not bad, text
    if all(verdict.status in NOT_CHECKED for verdict in verdicts):
        pytest.skip(f"{verdicts[0].status}: {verdicts[0].reason}")
