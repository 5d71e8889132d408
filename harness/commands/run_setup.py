"""Begins the run directory of a command, or goes on with it: what was planned, of what, on which machine."""

from __future__ import annotations

import argparse
import hashlib
import inspect
import itertools
import shlex
import sys
from collections.abc import Iterable, Iterator, Sequence

from attention_harness import registry
from attention_harness.commands import console
from attention_harness.execution.plan import Item
from attention_harness.model.errors import HarnessError
from attention_harness.model.run_facts import ErratumFacts, ImplementationFacts, MechanismFacts, RunFacts
from attention_harness.model.verdict import Verdict
from attention_harness.store import Writer, now
from attention_harness.store.layout import HEATMAPS


def writer_of(
    options: argparse.Namespace, chosen: Sequence[registry.Implementation], items: Sequence[Item]
) -> tuple[Writer | None, list[Verdict]]:
    """Return the writer of --out, if any, and the verdicts that a resumed run already has."""
    resume = getattr(options, "resume", False)
    if options.out is None:
        if resume:
            raise HarnessError("--resume needs --out DIR, the run directory to go on with")
        return None, []
    from attention_harness.cases.heatmaps import heatmaps
    from attention_harness.execution.machine import environment

    planned = sum(len(item.checks) for item in items)
    drawn = getattr(options, "fuzz", 0)
    facts = RunFacts(
        command="python -m attention_harness " + shlex.join(sys.argv[1:]),
        started=now(),
        tier=f"drawn from seed {options.seed or 0}" if drawn else _tier(options),
        planned=planned,
        plan=_plan_of(items),
        environment=environment(),
        implementations={one.name: implementation_facts(one) for one in chosen},
        mechanisms=mechanism_facts(item.case.mechanism for item in items),
    )
    if resume:
        begins = (lambda count: _plan_of(items, count)) if drawn else None  # more cases of a seed: the same run
        writer, verdicts, repaired = Writer.resume(options.out, facts, begins)
        console.line(repaired or f"resume: {len(verdicts)} of {planned} verdicts are there")
    else:
        writer = Writer.start(options.out, facts)
        verdicts = []
    if not (options.out / HEATMAPS).exists():
        writer.write(HEATMAPS, heatmaps())
    return writer, verdicts


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


def implementation_facts(implementation: registry.Implementation) -> ImplementationFacts:
    """Return what a run says of an implementation: a resumed run must be of the same file."""
    content = implementation.path.read_bytes() if implementation.path.is_file() else b""
    digest = hashlib.sha256(content).hexdigest()
    return ImplementationFacts(implementation.summary, implementation.unavailable(), digest)
