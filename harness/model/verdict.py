"""The result of one check of one implementation on one case."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from enum import StrEnum
from typing import Any, Self


class Status(StrEnum):
    """The answers that a check can have; README.md, "Verdicts", says what each means."""

    PASS = "pass"
    FAIL = "fail"
    ERROR = "error"
    CRASH = "crash"
    TIMEOUT = "timeout"
    UNSUPPORTED = "unsupported"
    UNAVAILABLE = "unavailable"
    KNOWN_FAILURE = "known_failure"
    UNEXPECTED_PASS = "unexpected_pass"


NOT_CHECKED = (Status.UNSUPPORTED, Status.UNAVAILABLE)


NONCONFORMING = (Status.FAIL, Status.ERROR, Status.CRASH, Status.TIMEOUT, Status.UNEXPECTED_PASS)


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer to one check of one implementation on one case.

    share     error divided by its error bound at the worst element; at most 1 passes
    error     absolute error there
    where     index of the worst element of the output
    replay    the command that asks the same question again
    finding   what a behaviour was measured to be, and
    declared  what is claimed of it; both "" for other checks
    """

    implementation: str
    mechanism: str
    case: str
    check: str
    status: Status
    error_ratio: float | None = None
    error: float | None = None
    where: tuple[int, ...] | None = None
    reason: str = ""
    replay: str = ""
    seconds: float = 0.0
    finding: str = ""
    declared: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "status", Status(self.status))
        subject = f"{self.status} of {self.implementation} on {self.case}, check {self.check}"
        if self.status in (Status.PASS, Status.UNEXPECTED_PASS):
            if self.error_ratio is None or not 0 <= self.error_ratio <= 1:
                raise ValueError(f"{subject}: a pass needs a measured share in [0, 1], got {self.error_ratio}")
        elif not self.reason:
            raise ValueError(f"{subject}: every answer other than a pass needs a reason")
        if self.status in NOT_CHECKED and self.error_ratio is not None:
            raise ValueError(f"{subject}: nothing was run, so there is no share to state")

    def as_known_failure(self, reason: str) -> Verdict:
        """Return this verdict as the declaration of a known upstream failure turns it."""
        if self.status is Status.PASS:
            why = f"passes, although declared a known failure: {reason}; remove the entry"
            return replace(self, status=Status.UNEXPECTED_PASS, reason=why)
        if self.status in (Status.FAIL, Status.ERROR):
            return replace(self, status=Status.KNOWN_FAILURE, reason=f"{reason} ({self.reason})")
        return self

    def to_json(self) -> dict[str, Any]:
        """Return plain data; non-finite numbers become strings, since JSON has none."""
        return {name: _plain(value) for name, value in asdict(self).items()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Rebuild a verdict from `to_json`'s data; rows from before behaviours were measured have no finding."""
        older = {"finding": "", "declared": ""}
        values = {f.name: data[f.name] for f in fields(cls) if f.name not in older}
        values |= {name: data.get(name, default) for name, default in older.items()}
        where = values["where"]
        values.update(
            status=Status(values["status"]),
            where=None if where is None else tuple(where),
            error_ratio=None if values["error_ratio"] is None else float(values["error_ratio"]),
            error=None if values["error"] is None else float(values["error"]),
        )
        return cls(**values)


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
