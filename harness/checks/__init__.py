"""One file per question that is judged of an implementation: `CHECKS` is what the modules here declare.

What an implementation declares chooses its checks. A check reaches the implementation through `interface` alone.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping

from attention_harness.checks.declaration import Check, check, declared_in
from attention_harness.checks.subject import Subject

__all__ = ["BY_NAME", "CHECKS", "Check", "Subject", "check", "of_kind"]

CHECKS: tuple[Check, ...] = declared_in(sys.modules[__name__])

BY_NAME: Mapping[str, Check] = {found.name: found for found in CHECKS}


def of_kind(kind: str) -> tuple[Check, ...]:
    """Return the checks of a kind: "relation" or "behaviour"."""
    return tuple(found for found in CHECKS if found.name.startswith(f"{kind}."))
