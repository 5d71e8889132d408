"""Begins the run directory of a command, or goes on with it: what was planned, of what, on which machine."""

from __future__ import annotations

import argparse
import hashlib
import shlex
import sys
from collections.abc import Sequence

from harness import console, registry
from harness.conformance import Item
from harness.results import Writer, now, write_json
from harness.values import HarnessError, Verdict


def writer_of(
    options: argparse.Namespace, chosen: Sequence[registry.Implementation], items: Sequence[Item]
) -> tuple[Writer | None, list[Verdict]]:
    """Return the writer of --out, if any, and the verdicts that a resumed run already has."""
    resume = getattr(options, "resume", False)
    if options.out is None:
        if resume:
            raise HarnessError("--resume needs --out DIR, the run directory to go on with")
        return None, []
    from harness.heatmaps import heatmaps
    from harness.machine import environment

    keys = [key for item in items for key in item.keys]
    drawn = getattr(options, "fuzz", 0)
    facts = {
        "command": "python -m harness " + shlex.join(sys.argv[1:]),
        "started": now(),
        "tier": f"drawn from seed {options.seed or 0}" if drawn else _tier(options),
        "planned": len(keys),
        "plan": _digest(repr(keys)),
        "environment": environment(),
        "implementations": {i.name: told_of(i) for i in chosen},
    }
    if resume:
        begins = (lambda count: _digest(repr(keys[:count]))) if drawn else None  # more cases of a seed: the same run
        writer, verdicts, repaired = Writer.resume(options.out, facts, begins)
        console.line(repaired or f"resume: {len(verdicts)} of {len(keys)} verdicts are there")
        return writer, list(verdicts)
    writer = Writer.start(options.out, facts)
    write_json(options.out / "heatmaps.json", heatmaps())
    return writer, []


def _tier(options: argparse.Namespace) -> str:
    return str(getattr(options, "tier", "quick" if getattr(options, "quick", False) else "default"))


def told_of(implementation: registry.Implementation) -> dict[str, str]:
    """Return what a run keeps of an implementation: a resumed run must be of the same file."""
    text = implementation.path.read_bytes() if implementation.path.is_file() else b""
    about = {"summary": implementation.summary, "unavailable": implementation.unavailable()}
    return about | {"sha256": _digest(text.hex())}


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
