"""The shared suite over the registry: what `check` runs on the command line is run here, one test an item."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable
from dataclasses import replace

import pytest

from attention_harness import registry
from attention_harness.cases.matrix import matrix
from attention_harness.checks.behaviour.anchor import anchor, is_anchor
from attention_harness.checks.transformations import ASKED_BY
from attention_harness.execution.plan import Item, plan_items
from attention_harness.execution.run import run_checks
from attention_harness.model.verdict import NONCONFORMING, NOT_CHECKED, Status
from attention_harness.registry import Implementation
from tests.conformance.covering import covering

_BUILD_NOTHING_FURTHER = ("accuracy", "weights", "purity", "second_call")
_WITH_GRADIENT = 6  # one in so many


def _sample(items: Iterable[Item]) -> list[Item]:
    """Return few items that together show each mechanism and dtype; of some of them the gradient too.

    What is built meets every option, memory layout and check in `tox -e report`: each is a graph of its own, and
    seconds. Of items that show as much the one with fewest options comes first.
    """
    by_id = {item.id: item for item in sorted(items, key=lambda item: len(item.case.options))}
    chosen = covering({key: (item.case.mechanism, item.case.dtype) for key, item in by_id.items()})
    further = [("gradient",) if place % _WITH_GRADIENT == 1 else () for place in range(len(chosen))]
    return [_asking(by_id[key], (*_BUILD_NOTHING_FURTHER, *more)) for key, more in zip(chosen, further, strict=True)]


def _asking(item: Item, names: Container[str]) -> Item:
    """Return the item with the named checks alone."""
    return replace(item, checks=tuple(check for check in item.checks if check.name in names))


def _planned(implementation: Implementation) -> list[Item]:
    """Return the items of an implementation: of the default matrix, or of the quick one for what has to be built.

    An export takes a second for each structure of inputs, a compilation several: of these a sample runs here,
    `python -m tox -e report` runs the whole quick matrix, and `python -m tox -e thorough` everything.
    """
    shared = matrix("quick" if implementation.capabilities.builds else "default")
    return list(plan_items([implementation], shared, lambda one: {anchor(one)} - set(shared)))


PLANNED = {name: _planned(implementation) for name, implementation in registry.implementations().items()}


def _run() -> list[Item]:
    found: list[Item] = []
    for name, items in PLANNED.items():
        here = [item for item in items if item.skip is None]
        if registry.implementations()[name].capabilities.builds:
            here = [*_sample(here), *(_transformed(item) for item in here if is_anchor(item.implementation, item.case))]
        found += here
    return found


def _transformed(item: Item) -> Item:
    """Return the item with what its declaration says of torch's transformations alone."""
    return _asking(item, {*ASKED_BY.values(), *(f"behaviour.{check}" for check in ASKED_BY.values())})


@pytest.mark.parametrize("item", [pytest.param(item, id=item.id) for item in _run()])
def test_conforms(item: Item):
    """Every check of the implementation on the case conforms; something is checked, or the dtype cannot hold it."""
    verdicts = list(run_checks(item))
    bad = [verdict for verdict in verdicts if verdict.status in NONCONFORMING]
    text = "\n".join(f"{v.status} {v.check} at {v.where}: {v.reason}\n  replay: {v.replay}" for v in bad)
    assert not bad, text
    left = {verdict.reason for verdict in verdicts if verdict.status in NOT_CHECKED}
    assert len(left) == 0 or all("out of the dtype's range" in reason for reason in left), left


@pytest.mark.parametrize("name", PLANNED)
def test_what_is_not_run_is_counted_with_its_reason(name, record_property):
    """Each item runs above or has a reason; where the machine lacks something, it is the same for all: this skip."""
    items = PLANNED[name]
    skipped = Counter(item.skip for item in items if item.skip is not None)
    run = sum(item.skip is None for item in items)
    assert len(items) == run + skipped.total()
    for (status, reason), count in skipped.items():
        assert status in (Status.UNSUPPORTED, Status.UNAVAILABLE)
        assert reason.strip(), status
        record_property(f"{status}: {reason}", count)
    absent = {reason: count for (status, reason), count in skipped.items() if status is Status.UNAVAILABLE}
    if absent:
        assert 0 == run, "part of the cases of an implementation is unavailable"
        [(reason, count)] = absent.items()
        pytest.skip(f"{name} is unavailable: {reason}: {count} cases")
    assert run > 0
    mechanisms = {item.case.mechanism for item in items if item.skip is None}
    assert set(registry.implementations()[name].capabilities.mechanisms) == mechanisms
