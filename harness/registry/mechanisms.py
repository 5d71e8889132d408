"""Finds the mechanisms: each file of `reference/` that declares one."""

from __future__ import annotations

import difflib
import functools
import importlib
from collections.abc import Iterable
from pathlib import Path

from attention_harness import reference
from attention_harness.model.errors import HarnessError
from attention_harness.reference.specification import Mechanism


@functools.cache
def mechanisms() -> dict[str, Mechanism]:
    """Return every mechanism by name."""
    found = {}
    for path in sorted(Path(reference.__path__[0]).glob("*.py")):
        declared = getattr(importlib.import_module(f"{reference.__name__}.{path.stem}"), "MECHANISM", None)
        if declared is not None:
            found[declared.name] = declared
    return found


def mechanism(name: str) -> Mechanism:
    """Return a mechanism by name, or say which names are near."""
    if name not in mechanisms():
        raise unknown("mechanism", name, mechanisms())
    return mechanisms()[name]


def unknown(kind: str, name: str, known: Iterable[str], hint: str = "") -> HarnessError:
    """Return the error for a name that does not exist: nearest names, known names, what to do."""
    names = list(known)
    near = difflib.get_close_matches(name, names, 3, 0.5)
    guess = f" Did you mean {' or '.join(repr(n) for n in near)}?" if near else ""
    return HarnessError(f"no {kind} {name!r}.{guess} Known: {', '.join(names)}{'; ' + hint if hint else ''}")
