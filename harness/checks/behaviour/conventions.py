"""Options whose forms libraries compute in more than one way: which way an implementation has is measured."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from attention_harness.bounds.judge import Judgement
from attention_harness.cases import inputs
from attention_harness.checks.behaviour.anchor import finding, is_anchor, with_option, within
from attention_harness.checks.declaration import check
from attention_harness.checks.expected import bounds_of
from attention_harness.checks.form import numbers
from attention_harness.checks.interface import Declaration
from attention_harness.checks.subject import Subject
from attention_harness.model.case import Case, spelt
from attention_harness.options import OPTIONS
from attention_harness.registry import mechanisms

_READ_AS = {name: option.read_as for name, option in OPTIONS.items() if option.read_as is not None}
_NO_READING = "no known reading"


def _cases_by_option(implementation: Declaration, case: Case) -> dict[str, dict[Any, Case]]:
    """Return the cases with each such option that is taken: option -> form -> case."""
    found = {name: with_option(implementation, case, name) for name in _READ_AS}
    return {name: cases for name, cases in found.items() if cases}


@check("behaviour.conventions", is_anchor, lambda one, case: bool(_cases_by_option(one, case)))
def conventions(subject: Subject) -> Judgement:
    """Which form of an option the answers belong to, where libraries compute the same form differently.

    An answer is held against the reference of the form that is asked, then against its other readings. One that is
    none of these contradicts nothing here: `accuracy` accuses it.
    """
    measured, declared, contradicted = [], [], False
    for name, cases in _cases_by_option(subject.implementation, subject.case).items():
        words = {spelt(form): _reading(subject, case, name, form) for form, case in cases.items()}
        contradicted |= any(word not in (form, _NO_READING) for form, word in words.items())
        said = [word if word == form else f"{word} where {form} is asked" for form, word in words.items()]
        measured.append(f"{name} {' and '.join(said)}")
        declared.append(f"{name} {' and '.join(words)}")
    return finding("; ".join(measured), "; ".join(declared), contradicted)


def _reading(subject: Subject, case: Case, name: str, form: Any) -> str:
    """Return the word for the form whose right answer the implementation gives; `_NO_READING` if it is none's."""
    capabilities, tensors = subject.implementation.capabilities, inputs.tensors(case)
    output = subject.prepared_for(case).call(tensors).output
    queries, keys = (case.sizes[axis] for axis in mechanisms()[case.mechanism].scores[-2:])
    for word, read in {spelt(form): form, **_READ_AS[name](form, queries, keys)}.items():
        meant = replace(case, options={**case.options, name: read})
        bound = bounds_of(meant, inputs.exact(tensors), capabilities.arithmetic, capabilities.policy)[0]
        found = numbers(output, case, bound.value.shape, "the output")
        if within(found, bound).all():
            return word
    return _NO_READING
