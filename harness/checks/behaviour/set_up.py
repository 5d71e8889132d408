"""What an implementation changes in its process before it is ever called."""

from __future__ import annotations

from attention_harness.bounds.judge import Judgement
from attention_harness.checks.behaviour.anchor import NO_CLAIM, finding, is_anchor
from attention_harness.checks.declaration import check
from attention_harness.checks.subject import Subject

_SHOWN = 60  # characters of a value


@check("behaviour.set_up", is_anchor)
def set_up(subject: Subject) -> Judgement:
    """What importing and preparing it change in the process. What a call changes is for `purity`."""
    changes = subject.prepared.set_up
    found = (f"{name}: {_short(before)} becomes {_short(after)}" for name, (before, after) in changes.items())
    return finding("; ".join(found) or "changes nothing", NO_CLAIM, False)


def _short(value: object) -> str:
    text = "unset" if value is None else str(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
