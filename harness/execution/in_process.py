"""Judges an implementation in the judge's own process: mutants and equivalent variants, which are ours."""

from __future__ import annotations

from attention_harness.checks.interface import Prepared
from attention_harness.checks.subject import Subject
from attention_harness.host.calls import prepared
from attention_harness.model.case import Case
from attention_harness.registry import Declared, Implementation


def subject(implementation: Declared, case: Case) -> Subject:
    """Return the subject of the checks of an implementation on a case; its code runs here."""

    def prepare(case: Case) -> Prepared:
        assert isinstance(implementation, Implementation), f"{implementation.name} is not imported here"
        return prepared(implementation, case)

    return Subject(implementation, prepare, case)
