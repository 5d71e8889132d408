"""Whether a benchmark met a target that was set before: what a run directory holds of each."""

from __future__ import annotations

from typing import Literal

from attention_harness.model.stored import Amount, Name, Stored, Text

Met = Literal["met", "missed", "open", "not measured"]


class TargetResult(Stored, frozen=True):
    """A target on one workload: a row of `targets.json`.

    says       the target in plain words
    of         what was measured: of which implementation, on which workload, over what
    wanted     the bound in plain words, such as "at most 0.25"
    value      what was measured; low and high: its interval of confidence, where there is one
    status     met or missed: the whole interval lies on one side; open: the bound lies inside it
    reason     of what was not measured
    """

    says: Text
    implementation: Name
    of: Text
    wanted: Text
    status: Met
    value: Amount | None = None
    low: Amount | None = None
    high: Amount | None = None
    reason: Text = ""

    @property
    def measured(self) -> str:
        """What was measured with its interval, or why there is nothing."""
        if self.value is None:
            return self.reason
        if self.low is None or self.high is None:
            return f"{self.value:.3g}"
        return f"{self.value:.3g} [{self.low:.3g}, {self.high:.3g}]"

    def __post_init__(self) -> None:
        Stored.__post_init__(self)
        if (self.status == "not measured") is not (self.value is None) or bool(self.reason) is not (self.value is None):
            raise ValueError(f"target {self.says!r} on {self.of!r}: a value, or a reason why there is none")
