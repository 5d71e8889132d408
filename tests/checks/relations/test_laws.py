"""Every law holds for every implementation on cases that Hypothesis draws, and a failure shrinks to a smallest case.

Eager torch and the float64 reference are drawn for; compiled and exported implementations, which take seconds for every
new structure, are asked the laws on the fixed cases of the suite alone. HYPOTHESIS_PROFILE=deep draws many more.
"""

from __future__ import annotations

import pytest
from attention_harness import Case, registry
from attention_harness.checks.relations import LAWS, Law, OutOfRange
from attention_harness.checks.subject import Subject
from attention_harness.execution import conformance
from attention_harness.registry import Implementation
from hypothesis import given, reject

from tests.checks.relations.strategies import PROFILE, cases

DRAWN_FOR = ("numpy_reference", "eager")


def assert_holds(law: Law, implementation: Implementation, case: Case) -> None:
    """Fail with the law, the case's id and the command that asks it again."""
    try:
        judged = law.ask(Subject(implementation, case))
    except OutOfRange:
        reject()
    replay = conformance.replay_command(implementation, case)
    assert not judged.reason, f"{law.name} of {case.id}\n  at {judged.where}: {judged.reason}\n  replay: {replay}"


def assert_no_drawn_case_breaks(law: Law, implementation: Implementation) -> None:
    """Ask the law on drawn cases."""

    @PROFILE
    @given(cases(law, implementation))
    def holds(case: Case) -> None:
        assert_holds(law, implementation, case)

    holds()


@pytest.mark.parametrize("name", DRAWN_FOR)
@pytest.mark.parametrize("law", [pytest.param(law, id=law.name) for law in LAWS])
def test_the_law_holds(law: Law, name: str):
    """No drawn case breaks it."""
    [implementation] = registry.select([name])
    if law.name == "law.causal_gradient" and not implementation.capabilities.gradients:
        pytest.skip(f"{name} declares no gradients")
    assert_no_drawn_case_breaks(law, implementation)
