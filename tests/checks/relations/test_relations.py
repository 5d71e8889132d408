"""Every relation holds on cases that Hypothesis draws, and a failure shrinks to a smallest case.

Cases are drawn for implementations that take every mechanism and are not built anew for each structure of inputs; the
others are judged on the fixed cases of the suite alone. HYPOTHESIS_PROFILE=deep draws many more.
"""

from __future__ import annotations

import pytest
from hypothesis import given, reject

from attention_harness import Case, registry
from attention_harness.checks import Check, of_kind
from attention_harness.checks.expected import OutOfRange
from attention_harness.execution import in_process
from attention_harness.execution.plan import replay_command
from attention_harness.registry import Implementation, mechanisms
from tests.checks.relations.strategies import PROFILE, cases

DRAWN_FOR = [
    name
    for name, implementation in registry.implementations().items()
    if set(implementation.capabilities.mechanisms) == set(mechanisms()) and not implementation.capabilities.builds
]


def assert_holds(relation: Check, implementation: Implementation, case: Case) -> None:
    """Fail with the relation, the case's id and the command that asks it again."""
    try:
        judged = relation.judge(in_process.subject(implementation, case))
    except OutOfRange:
        reject()
    replay = replay_command(implementation, case)
    assert not judged.reason, f"{relation.name} of {case.id}\n  at {judged.where}: {judged.reason}\n  replay: {replay}"


def assert_no_drawn_case_breaks(relation: Check, implementation: Implementation) -> None:
    """Ask the relation on drawn cases."""

    @PROFILE
    @given(cases(relation, implementation))
    def holds(case: Case) -> None:
        assert_holds(relation, implementation, case)

    holds()


@pytest.mark.parametrize("name", DRAWN_FOR)
@pytest.mark.parametrize("relation", [pytest.param(relation, id=relation.name) for relation in of_kind("relation")])
def test_the_relation_holds(relation: Check, name: str):
    """No drawn case breaks it."""
    [implementation] = registry.select([name])
    if relation.name == "relation.causal_gradient" and not implementation.capabilities.gradients:
        pytest.skip(f"{name} declares no gradients")
    assert_no_drawn_case_breaks(relation, implementation)
