"""Whether calls that overlap in time answer as they do one after the other."""

from __future__ import annotations

from dataclasses import replace

from attention_harness.bounds.judge import Judgement
from attention_harness.cases import inputs
from attention_harness.checks.behaviour.anchor import NO_CLAIM, finding, is_anchor, takes
from attention_harness.checks.declaration import check
from attention_harness.checks.form import WrongForm, numbers
from attention_harness.checks.relations.problem import agree
from attention_harness.checks.subject import Subject
from attention_harness.model.case import Case
from attention_harness.model.errors import ImplementationRaised
from attention_harness.model.returned import Returned

_ROUNDS = 24
_SAFE = "as one after the other"


@check("behaviour.thread_safety", is_anchor, by_chance=True)
def thread_safety(subject: Subject) -> Judgement:
    """Whether calls from several threads at once, of the same and of other lengths, answer as they do alone."""
    claimed = subject.implementation.capabilities.thread_safe
    measured = _measured(subject)
    declared = "thread_safe" if claimed else NO_CLAIM
    return finding(measured, declared, claimed and measured.startswith("overlapping"))


def _measured(subject: Subject) -> str:
    cases = _problems(subject)
    tensors = [inputs.tensors(case) for case in cases]
    alone = [[subject.prepared.call(one) for one in tensors] for _ in range(2)]
    if not all(_alike(subject, *answers) for answers in zip(cases, *alone, strict=True)):
        return "not measured: calls one after the other differ"
    try:
        together = subject.prepared.call_together(tensors, _ROUNDS)
    except ImplementationRaised as error:
        return f"overlapping calls raise {error}"
    for case, first, answers in zip(cases, alone[0], together, strict=True):
        if not all(_alike(subject, case, first, answer) for answer in answers):
            return "overlapping calls differ"
    return _SAFE


def _problems(subject: Subject) -> list[Case]:
    """Return what is called at once: two draws of the case, and two of twice its lengths if these are taken."""
    case = subject.case
    doubled = {axis: 2 * length for axis, length in case.sizes.items() if axis in ("Lq", "Lk", "L")}
    longer = replace(case, sizes={**case.sizes, **doubled})
    sizes = [case, longer if takes(subject.implementation, longer) else case]
    return [replace(sizes[draw % 2], draw=draw) for draw in range(4)]


def _alike(subject: Subject, case: Case, one: Returned, other: Returned) -> bool:
    """Return whether two answers to a case differ by no more than two right ones may."""
    error_bound = subject.error_bound(case)[0]
    try:
        first = numbers(one.output, case, error_bound.value.shape, "output")
        second = numbers(other.output, case, error_bound.value.shape, "output")
    except WrongForm:
        return False
    return not agree(first, second, 2 * error_bound.bound).reason
