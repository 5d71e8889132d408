"""Begins the run directory of a command, or resumes it: what was planned, of what, on which machine."""

from __future__ import annotations

import argparse
import hashlib
import inspect
import itertools
import shlex
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from attention_harness import registry
from attention_harness.commands import console
from attention_harness.execution.plan import Item
from attention_harness.model.errors import HarnessError
from attention_harness.model.mechanism_facts import ErratumFacts, MechanismFacts
from attention_harness.model.run_facts import ImplementationFacts, RunFacts
from attention_harness.model.verdict import Verdict
from attention_harness.store import Writer, now
from attention_harness.store.layout import HEATMAPS


def writer_of(
    options: argparse.Namespace,
    chosen: Sequence[registry.Declared],
    items: Sequence[Item],
    further: Iterable[object] = (),
    not_asked: int = 0,
) -> tuple[Writer | None, list[Verdict]]:
    """Return the writer of --out for a run of checks, if any, and the verdicts that a resumed run already has.

    further: what has to agree beside the items for a run to be resumed
    not_asked: verdicts of the plan beside those of its items
    """
    if not wants_directory(options):
        return None, []
    from attention_harness.cases.heatmaps import heatmaps

    drawn = getattr(options, "fuzz", 0)
    facts = run_facts(
        tier=f"drawn from seed {options.seed or 0}" if drawn else _tier(options),
        plan=digest_of([*(key for item in items for key in item.keys), *further]),
        planned=sum(len(item.checks) for item in items) + not_asked,
        implementations={one.name: implementation_facts(one) for one in chosen},
        mechanisms=mechanism_facts(item.case.mechanism for item in items),
    )

    def plan_of_first(count: int) -> str:  # more cases of a seed: the same run
        return digest_of(itertools.islice((key for item in items for key in item.keys), count))

    writer, verdicts = begin(options, facts, plan_of_first if drawn else None)
    if getattr(options, "resume", False):
        console.line(f"resume: {len(verdicts)} of {facts.planned} verdicts are there")
    if not (options.out / HEATMAPS).exists():
        writer.write(HEATMAPS, heatmaps())
    return writer, verdicts


def wants_directory(options: argparse.Namespace) -> bool:
    """Return whether results are to be written; --resume alone is a mistake."""
    if options.out is None and getattr(options, "resume", False):
        raise HarnessError("--resume needs --out DIR, the run directory to go on with")
    return options.out is not None


def run_facts(*, tier: str, plan: str, planned: int = 0, **facts: Any) -> RunFacts:
    """Return what run.json says of a run that begins now. planned: its verdicts on implementations."""
    from attention_harness.execution.machine import environment

    command = "python -m attention_harness " + shlex.join(sys.argv[1:])
    return RunFacts(
        command=command, started=now(), environment=environment(), tier=tier, plan=plan, planned=planned, **facts
    )


def begin(
    options: argparse.Namespace, facts: RunFacts, plan_of_first: Callable[[int], str] | None = None
) -> tuple[Writer, list[Verdict]]:
    """Return the writer of a new run, or of a resumed one of the same plan, and the verdicts that it already has."""
    if not getattr(options, "resume", False):
        return Writer.start(options.out, facts), []
    writer, verdicts, repaired = Writer.resume(options.out, facts, plan_of_first)
    if repaired:
        console.line(repaired)
    return writer, verdicts


def digest_of(parts: Iterable[object]) -> str:
    """Return what identifies a plan: the digest of its parts."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(f"{part!r}\n".encode())
    return digest.hexdigest()


def _tier(options: argparse.Namespace) -> str:
    sizes: Iterator[str] = (size for size in ("quick", "full") if getattr(options, size, False))
    tier = str(getattr(options, "tier", next(sizes, "default")))
    sample = getattr(options, "sample", 0)
    return f"{tier}, {sample} cases of each implementation drawn from seed {options.seed or 0}" if sample else tier


def mechanism_facts(names: Iterable[str]) -> dict[str, MechanismFacts]:
    """Return what a report says of the mechanisms, in the order of the registry, so that it is rebuilt from files."""
    from attention_harness.cases.notice import NOTICE
    from attention_harness.cases.worked_examples import input_facts, worked_examples

    concerned = set(names)
    known = {name: one for name, one in registry.mechanisms().items() if name in concerned}
    return {
        name: MechanismFacts(
            summary=(inspect.getdoc(inspect.getmodule(one.evaluate)) or "").split("\n")[0],
            formula=one.formula,
            source=one.source,
            errata=tuple(ErratumFacts(e.source, e.says, e.right, e.shown_by) for e in one.errata),
            kind=one.kind,
            specification=one.specification,
            inputs=input_facts(one),
            output=" ".join(one.output),
            weights=" ".join(one.scores),
            notice=NOTICE.get(one.name, ""),
            examples=worked_examples(one),
        )
        for name, one in known.items()
    }


def implementation_facts(implementation: registry.Declared) -> ImplementationFacts:
    """Return what a run says of an implementation: a resumed run must be of the same file."""
    content = implementation.path.read_bytes() if implementation.path.is_file() else b""
    digest = hashlib.sha256(content).hexdigest()
    options = implementation.capabilities.options
    return ImplementationFacts(implementation.summary, implementation.unavailable(), digest, options)
