"""Correct attentions that compute in another order are never accused."""

from __future__ import annotations

import pytest

from harness import conformance
from harness.cases import matrix
from harness.values import NONCONFORMING
from tests.judge.variants import VARIANTS, implementation


@pytest.mark.parametrize("name", VARIANTS)
def test_a_correct_variant_is_not_accused(name):
    """On the whole default matrix, every dtype, no verdict of any check fails."""
    variant = implementation(name, *VARIANTS[name])
    items = conformance.plan([variant], matrix("default"))
    verdicts = [verdict for item in items for verdict in conformance.run(item)]
    accused = [verdict for verdict in verdicts if verdict.status in NONCONFORMING]
    assert [f"{verdict.check} {verdict.case}: {verdict.reason}" for verdict in accused] == []
    assert len([verdict for verdict in verdicts if verdict.share is not None]) > 400
