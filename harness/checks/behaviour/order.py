"""Where in the pipeline an option acts, where libraries differ: before or after each of the options that follow it."""

from __future__ import annotations

from collections.abc import Mapping

from attention_harness.bounds.error_bound import error_bounds
from attention_harness.bounds.judge import Judgement
from attention_harness.cases import inputs
from attention_harness.checks.behaviour.anchor import finding, is_anchor, with_option, within
from attention_harness.checks.declaration import check
from attention_harness.checks.expected import arguments, fully_masked_rows
from attention_harness.checks.form import numbers
from attention_harness.checks.interface import Declaration
from attention_harness.checks.subject import Subject
from attention_harness.model import time_account
from attention_harness.model.case import Case
from attention_harness.options import OPTIONS, Moved, hiding
from attention_harness.registry import mechanisms

_BEFORE = "{option} before {others}"
_AFTER = "{option} after {others}"
_SEEN = "{option} after {others} (hidden keys weigh)"
_UNKNOWN = "{option} in none of the known places beside {others}"


def _others(implementation: Declaration, case: Case) -> dict[str, dict[str, Case]]:
    """Return option -> one that acts after it by the contract, and in some libraries before it -> a case with both.

    Of what builds for seconds the first one of each stage. Those whose tensors hide keys, as masks do, come first.
    """
    tensors = hiding(OPTIONS)
    others = [OPTIONS[name] for name in (*tensors, *(name for name in OPTIONS if name not in tensors))]
    found: dict[str, dict[str, Case]] = {}
    for name, option in OPTIONS.items():
        for alone in list(with_option(implementation, case, name).values())[:1] if option.moves else ():
            stages = []
            for other in (other for other in others if other.stage in option.moves):
                enough = implementation.capabilities.builds and other.stage in stages
                if not enough and (both := with_option(implementation, alone, other.name)):
                    found.setdefault(name, {})[other.name] = next(iter(both.values()))
                    stages.append(other.stage)
    return found


@check("behaviour.order", is_anchor, lambda one, case: bool(_others(one, case)))
def order(subject: Subject) -> Judgement:
    """Whether an option that changes scores acts before biases and masks, where some libraries let it act after them.

    A cap on scores that follows a mask makes a finite score of minus infinity, so that hidden keys weigh. An answer is
    held against the formula in either order, beside one other option at a time. One that is neither contradicts nothing
    here: `accuracy` accuses it.
    """
    measured, declared, contradicted = [], [], False
    for name, cases in _others(subject.implementation, subject.case).items():
        places = {other: _place(subject, case, name, other) for other, case in cases.items()}
        found: dict[str, list[str]] = {}
        for other, word in places.items():
            found.setdefault(word, []).append(other)
        found.pop("", None)
        measured += [word.format(option=name, others=", ".join(others)) for word, others in found.items()]
        distinguished = [other for other, word in places.items() if word]
        declared += [_BEFORE.format(option=name, others=", ".join(distinguished))] if distinguished else []
        contradicted |= not {_BEFORE, _UNKNOWN}.issuperset(found)
    return finding("; ".join(measured) or "nothing to measure", "; ".join(declared), contradicted)


def _place(subject: Subject, case: Case, name: str, other: str) -> str:
    """Return the sentence for the place at which the option acts; "" where the case does not tell the places apart."""
    arguments_of_call = inputs.tensors(case)
    arrays = inputs.exact(arguments_of_call)
    output = subject.prepared_for(case).call(arguments_of_call).output
    rows = ~fully_masked_rows(case, arrays)[..., None]
    fitting = []
    for word, moved in _places(name, other).items():
        tensors, options = arguments(case, arrays)
        evaluate, capabilities = mechanisms()[case.mechanism].evaluate, subject.implementation.capabilities
        options |= {"fully_masked_rows": capabilities.policy, "moved": moved}
        with time_account.spent(time_account.REFERENCE):
            bound, _ = error_bounds(evaluate, tensors, options, case.dtype, capabilities.arithmetic)
        found = numbers(output, case, bound.value.shape, "the output")
        if (within(found, bound) | ~rows).all():
            fitting.append(word)
    return _UNKNOWN if not fitting else fitting[0] if len(fitting) == 1 else ""


def _places(name: str, other: str) -> dict[str, Mapping[str, Moved]]:
    """Return the places that libraries have: a sentence for each -> what is moved there."""
    found: dict[str, Mapping[str, Moved]] = {_BEFORE: {}}
    if OPTIONS[other].adds_to_scores:
        found[_AFTER] = {name: Moved(other)}
    if OPTIONS[other].hides:
        found[_SEEN] = {name: Moved(other, seen=True)}
    return found
