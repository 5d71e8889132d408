"""The result of one check of one implementation on one case."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from msgspec import Meta
from msgspec.structs import force_setattr, replace

from attention_harness.model.stored import Amount, Count, Name, Seconds, Stored, Text


class Status(StrEnum):
    """The results that a check can have; README.md, "Verdicts", says what each means."""

    PASS = "pass"
    FAIL = "fail"
    ERROR = "error"
    CRASH = "crash"
    TIMEOUT = "timeout"
    UNSUPPORTED = "unsupported"
    UNAVAILABLE = "unavailable"
    NOT_ASKED = "not_asked"
    KNOWN_FAILURE = "known_failure"
    UNEXPECTED_PASS = "unexpected_pass"


NOT_CHECKED = (Status.UNSUPPORTED, Status.UNAVAILABLE, Status.NOT_ASKED)


NONCONFORMING = (Status.FAIL, Status.ERROR, Status.CRASH, Status.TIMEOUT, Status.UNEXPECTED_PASS)


class Verdict(Stored, frozen=True):
    """The result of one check of one implementation on one case.

    error_ratio  error divided by its error bound at the worst element; at most 1 passes. None where nothing was
                 measured, or the error is not finite: then `reason` says what was found
    error        absolute error there
    where        index of the worst element of the output
    replay       the command that runs the same check again
    finding      what a behaviour was measured to be, and
    declared     what is declared of it; both "" for other checks
    uninformative  of a pass: zeros, or the mean of the right numbers, would have passed as well
    """

    implementation: Name
    mechanism: Name
    case: Name
    check: Name
    status: Status
    error_ratio: Amount | None = None
    error: Amount | None = None
    where: Annotated[tuple[Count, ...], Meta(max_length=16)] | None = None
    reason: Text = ""
    replay: Text = ""
    seconds: Seconds = 0.0
    finding: Text = ""
    declared: Text = ""
    uninformative: bool = False

    def __post_init__(self) -> None:
        if type(self.status) is not Status:
            force_setattr(self, "status", Status(self.status))
        impossible = self._contradiction()
        if impossible:
            raise ValueError(f"{self.status} of {self.implementation} on {self.case}, check {self.check}: {impossible}")

    def _contradiction(self) -> str:
        """Return what makes this verdict impossible, or ""."""
        for name, value in (("error_ratio", self.error_ratio), ("error", self.error)):
            if value is not None and not 0 <= value < float("inf"):
                return f"{name} is {value}; a number that is negative or not finite is stated as None, with a reason"
        if self.status in (Status.PASS, Status.UNEXPECTED_PASS):
            if self.error_ratio is None or self.error_ratio > 1:
                return f"a pass needs a measured error ratio in [0, 1], got {self.error_ratio}"
        elif not self.reason:
            return "every result other than a pass needs a reason"
        if self.uninformative and self.status not in (Status.PASS, Status.UNEXPECTED_PASS):
            return "a pass alone can be uninformative"
        if self.status in NOT_CHECKED and self.error_ratio is not None:
            return "nothing was run, so there is no error ratio to state"
        return ""

    @property
    def key(self) -> tuple[str, str, str]:
        """What names it in a run: implementation, case, check."""
        return self.implementation, self.case, self.check

    def as_known_failure(self, reason: str) -> Verdict:
        """Return this verdict as the declaration of a known upstream failure turns it."""
        if self.status is Status.PASS:
            why = f"passes, although declared a known failure: {reason}; remove the entry"
            return replace(self, status=Status.UNEXPECTED_PASS, reason=why)
        if self.status in (Status.FAIL, Status.ERROR):
            return replace(self, status=Status.KNOWN_FAILURE, reason=f"{reason} ({self.reason})")
        return self
