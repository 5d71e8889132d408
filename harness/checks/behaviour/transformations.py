"""Whether it can be called under vmap and autocast, measured also where it is not declared; and forward derivatives."""

from __future__ import annotations

from collections.abc import Callable

from attention_harness.bounds.judge import Judgement
from attention_harness.cases import inputs
from attention_harness.checks.behaviour.anchor import NO_CLAIM, by_word, finding, is_anchor, ways_to_hide
from attention_harness.checks.declaration import check
from attention_harness.checks.form import WrongForm
from attention_harness.checks.gradients import floating
from attention_harness.checks.interface import Declaration
from attention_harness.checks.subject import Subject
from attention_harness.checks.transformations import can_autocast, judge_autocast, judge_forward, judge_mapped, parts_of
from attention_harness.model.capabilities import AUTOCAST
from attention_harness.model.case import Case
from attention_harness.model.errors import ImplementationRaised

_RIGHT = "right"


def is_cheap(implementation: Declaration, case: Case) -> bool:
    """Return whether preparing it for further structures takes no seconds."""
    return not implementation.capabilities.builds


@check("behaviour.vmap", is_anchor, is_cheap)
def vmap(subject: Subject) -> Judgement:
    """Whether it is right under torch.func.vmap: over all tensors, of a plain problem and of each way to hide keys."""
    ways = {"plain": subject.case} | ways_to_hide(subject.implementation, subject.case)
    found = {way: _word(lambda case=case: _mapped(subject, case)) for way, case in ways.items()}  # type: ignore[misc]
    claimed = subject.implementation.capabilities.vmap
    contradicted = claimed and set(found.values()) != {_RIGHT}
    return finding(by_word(found), "vmap" if claimed else NO_CLAIM, contradicted)


def _mapped(subject: Subject, case: Case) -> Judgement:
    parts = parts_of(case)
    return judge_mapped(subject, case, parts, list(parts[0]))


@check("behaviour.forward_derivative", is_anchor, lambda one, _: one.capabilities.forward_derivatives)
def forward_derivative(subject: Subject) -> Judgement:
    """Whether the derivative along directions of all floating tensors is right: measured where it is declared alone.

    Torch imports for seconds before the first one of a process.
    """
    found = _word(lambda: judge_forward(subject, floating(inputs.tensors(subject.case))))
    return finding(found, "forward_derivatives", found != _RIGHT)


@check("behaviour.autocast", is_anchor, is_cheap, can_autocast)
def autocast(subject: Subject) -> Judgement:
    """Whether it is right under torch.autocast, by dtype."""
    found = {dtype: _word(lambda dtype=dtype: judge_autocast(subject, dtype)) for dtype in AUTOCAST}  # type: ignore[misc]
    claimed = subject.implementation.capabilities.autocast
    contradicted = any(found[dtype] != _RIGHT for dtype in claimed)
    return finding(by_word(found), ", ".join(claimed) or NO_CLAIM, contradicted)


def _word(judge: Callable[[], Judgement]) -> str:
    try:
        judged = judge()
    except WrongForm as wrong:
        return f"wrong: {wrong}"
    except ImplementationRaised as error:
        return f"raises {error.kind}"
    return f"wrong: {judged.reason}" if judged.reason else _RIGHT
