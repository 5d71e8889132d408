"""Where nothing runs that a patch changes, the answer is eager's: what the campaign and the diagnosis rest on."""

from __future__ import annotations

import sys
import zlib

import pytest

from attention_harness.cases import inputs
from attention_harness.cases.ids import parse
from attention_harness.cases.matrix import matrix
from attention_harness.execution import in_process
from attention_harness.model.case import Case
from attention_harness.mutation.campaign import select
from attention_harness.mutation.catalogue import mutants
from attention_harness.mutation.executed import EVERY, RIGHT, changed, recorded
from attention_harness.mutation.judging import digest
from attention_harness.mutation.patched import Mutant, eager
from tests.conftest import DEEP

HEAD = "scaled_dot_product-B2H3Hk3Lq5Lk7D16Dv8-float32"
PLAIN, LINEAR = (parse(f"{HEAD}-{options}-ordinary-contiguous") for options in ("plain", "alibi=full"))


def _executed(case: Case) -> int:
    with recorded() as run:
        _call(case)
    return run.statements


def _call(case: Case) -> None:
    in_process.subject(eager(), case).prepared.call(inputs.tensors(case))


def _changed(name: str) -> int:
    [[mutant], []] = select([name])
    return changed(mutant)


@pytest.mark.parametrize(
    "mutant",
    [one for one in mutants() if DEEP or zlib.crc32(one.name.encode()) % 32 == 5],
    ids=lambda mutant: mutant.name,
)
def test_the_answer_is_eager_s_where_nothing_changed_runs(mutant):
    """To the bit, on every quick case of what the patch reaches that is said not to reach a changed statement."""
    made = mutant.implementation()
    cases = [one for one in matrix("quick") if one.mechanism in mutant.mechanisms()]
    untouched = [case for case in cases if not changed(mutant) & _executed(case)]
    assert [] == [case.id for case in untouched if digest(made, case) != digest(eager(), case)]


def test_what_a_case_leaves_out_is_not_executed():
    """A mutant of an option is executed where the option is given."""
    fault = _changed("linear biases in bfloat16")
    assert fault & _executed(LINEAR)
    assert not fault & _executed(PLAIN)


def test_every_mutant_changes_something():
    """And the right source nothing."""
    assert [] == [mutant.name for mutant in mutants() if not changed(mutant)]
    assert changed(RIGHT) == 0


def test_what_runs_at_import_concerns_every_case():
    """A changed declaration does; a new function, which others have to call, does not."""
    assert _changed("promises to be poison-safe") == EVERY
    added = Mutant("x", "x", (("# --- what they share", "def unused():\n    return 1\n\n\n# --- what they share"),))
    constant = Mutant("x", "x", (("# --- what they share", "torch.manual_seed(1)\n# --- what they share"),))
    assert changed(constant) == EVERY != changed(added)


def test_a_trace_that_is_taken_away_concerns_every_mutant():
    """What ran after it is not known."""
    with recorded() as run:
        _call(PLAIN)
        sys.settrace(None)
    assert run.statements == EVERY


def test_the_trace_of_another_tool_is_given_back():
    """A debugger or a coverage tool goes on after it."""

    def theirs(*_):
        return None

    before = sys.gettrace()
    sys.settrace(theirs)
    try:
        with recorded():
            pass
        assert sys.gettrace() is theirs
    finally:
        sys.settrace(before)
