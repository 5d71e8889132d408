"""Begins the run directory of a command, or goes on with it: what was planned, of what, on which machine."""

from __future__ import annotations

import argparse
import hashlib
import inspect
import itertools
import shlex
import sys
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from attention_harness import registry
from attention_harness.checks import CHECKS
from attention_harness.commands import console
from attention_harness.execution.plan import Item
from attention_harness.model.errors import HarnessError
from attention_harness.model.run_facts import ErratumFacts, MechanismFacts
from attention_harness.model.verdict import Verdict
from attention_harness.store.results import Writer, now, write_json

HEATMAPS = "heatmaps.json"


def writer_of(
    options: argparse.Namespace, chosen: Sequence[registry.Implementation], items: Sequence[Item]
) -> tuple[Writer | None, Iterable[Verdict]]:
    """Return the writer of --out, if any, and the verdicts that a resumed run already has, read when asked for."""
    resume = getattr(options, "resume", False)
    if options.out is None:
        if resume:
            raise HarnessError("--resume needs --out DIR, the run directory to go on with")
        return None, ()
    from attention_harness.cases.heatmaps import heatmaps
    from attention_harness.execution.machine import environment

    planned = sum(len(item.checks) for item in items)
    drawn = getattr(options, "fuzz", 0)
    facts = {
        "command": "python -m attention_harness " + shlex.join(sys.argv[1:]),
        "started": now(),
        "tier": f"drawn from seed {options.seed or 0}" if drawn else _tier(options),
        "planned": planned,
        "plan": _plan_of(items),
        "environment": environment(),
        "implementations": {i.name: told_of(i) for i in chosen},
        "mechanisms": msgspec.to_builtins(mechanism_facts(item.case.mechanism for item in items)),
    }
    if resume:
        begins = (lambda count: _plan_of(items, count)) if drawn else None  # more cases of a seed: the same run
        writer, verdicts, repaired = Writer.resume(options.out, facts, begins)
        console.line(repaired or f"resume: {len(verdicts)} of {planned} verdicts are there")
    else:
        writer = Writer.start(options.out, facts)
        verdicts = writer.rows(Verdict)
    if not (options.out / HEATMAPS).exists():
        write_json(options.out / HEATMAPS, heatmaps())
    return writer, verdicts


class Keys:
    """Implementation, case and check, many times: a bit for each check, so that a hundred thousand take little room."""

    def __init__(self) -> None:
        self._bits = {check.name: 1 << number for number, check in enumerate(CHECKS)}
        self._held: dict[tuple[str, str], int] = {}

    def add(self, key: tuple[str, str, str]) -> None:
        """Hold a key."""
        bit = self._bits.setdefault(key[2], 1 << len(self._bits))
        self._held[key[:2]] = self._held.get(key[:2], 0) | bit

    def __contains__(self, key: tuple[str, str, str]) -> bool:
        """Whether a key is held."""
        return bool(self._held.get(key[:2], 0) & self._bits.get(key[2], 0))


def _plan_of(items: Sequence[Item], count: int | None = None) -> str:
    """Return what identifies a plan, or its first checks: the digest of their names, without holding them all."""
    digest = hashlib.sha256()
    keys: Iterator[tuple[str, str, str]] = (key for item in items for key in item.keys)
    for key in itertools.islice(keys, count):
        digest.update(f"{key!r}\n".encode())
    return digest.hexdigest()


def _tier(options: argparse.Namespace) -> str:
    given = [size for size in ("quick", "full") if getattr(options, size, False)]
    return str(getattr(options, "tier", given[0] if given else "default"))


def mechanism_facts(names: Iterable[str]) -> dict[str, MechanismFacts]:
    """Return what a report says of the mechanisms, in the order of the registry, so that it is rebuilt from files."""
    concerned = set(names)
    known = {name: one for name, one in registry.mechanisms().items() if name in concerned}
    return {
        name: MechanismFacts(
            summary=(inspect.getdoc(inspect.getmodule(one.evaluate)) or "").split("\n")[0],
            formula=one.formula,
            source=one.source,
            errata=tuple(ErratumFacts(e.source, e.says, e.right, e.shown_by) for e in one.errata),
        )
        for name, one in known.items()
    }


def told_of(implementation: registry.Implementation) -> dict[str, str]:
    """Return what a run keeps of an implementation: a resumed run must be of the same file."""
    content = implementation.path.read_bytes() if implementation.path.is_file() else b""
    about = {"summary": implementation.summary, "unavailable": implementation.unavailable()}
    return about | {"sha256": hashlib.sha256(content).hexdigest()}
