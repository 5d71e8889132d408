"""List implementations, mechanisms, options, their support, cases, checks, mutants, variants or workloads."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from attention_harness.commands import arguments, console
from attention_harness.model.errors import HarnessError

Rows = list[dict[str, Any]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the verb takes."""
    parser.add_argument("kind", nargs="?", choices=KINDS, metavar="KIND", help=", ".join(KINDS))
    parser.add_argument("runs", nargs="*", type=Path, metavar="DIR", help="of `support`: runs of check to look into")
    arguments.add(parser, "--load", "tier", "--json")


def run(options: argparse.Namespace) -> int:
    """Print a table of the kind; of implementations and mechanisms where none is named."""
    if options.runs and options.kind != "support":
        directories = " ".join(map(str, options.runs))
        raise HarnessError(f"`list {options.kind}` takes no run directory; did you mean `list support {directories}`?")
    kinds = [options.kind] if options.kind else ["implementations", "mechanisms"]
    rows = {kind: KINDS[kind][0](options) for kind in kinds}
    if options.json:
        from attention_harness.store.encoding import document

        print(document(rows[options.kind] if options.kind else rows))
        return 0
    for kind in kinds:
        columns = KINDS[kind][1] or tuple(rows[kind][0])
        console.table(kind, rows[kind], columns)
    return 0


def _implementations(options: argparse.Namespace) -> Rows:
    from attention_harness.execution import declarations

    found = declarations.implementations(options.load).values()
    declared = ("mechanisms", "dtypes", "devices", "options")
    return [
        _row(one, "name", "summary") | _row(one.capabilities, *declared) | {"unavailable": one.unavailable()}
        for one in found
    ]


def _mechanisms(options: argparse.Namespace) -> Rows:
    from attention_harness import registry

    return [
        {
            "name": known.name,
            "formula": known.formula,
            "inputs": {declared.name: declared.axes for declared in known.inputs},
            **_row(known, "output", "options", "choices", "source"),
            "examples": [example.name for example in known.examples],
            "errata": [_row(erratum, "source", "says", "right", "shown_by") for erratum in known.errata],
        }
        for known in registry.mechanisms().values()
    ]


def _options(options: argparse.Namespace) -> Rows:
    from attention_harness.options import OPTIONS

    return [_row(option, "name", "capabilities", "summary", "expected") for option in OPTIONS.values()]


def _support(options: argparse.Namespace) -> Rows:
    """Return a row for each option: what each implementation declares of it, and what the runs found."""
    from msgspec import to_builtins

    from attention_harness.execution import declarations, support
    from attention_harness.options import capabilities
    from attention_harness.report.content import settled
    from attention_harness.store import load

    runs = [load(directory) for directory in options.runs]
    declared = {one.name: one.capabilities.options for one in declarations.implementations(options.load).values()}
    declared |= {name: about.options for run in runs for name, about in run.facts.implementations.items()}
    verdicts, _ = settled(verdict for run in runs for verdict in run.verdicts)
    found = support.table(declared, verdicts)
    rows = {name: {who: of_one[name] for who, of_one in found.items()} for name in capabilities()}
    if options.json:
        return [{"option": name, "implementations": to_builtins(row)} for name, row in rows.items()]
    return [{"option": name} | {who: one.text for who, one in row.items()} for name, row in rows.items()]


def _cases(options: argparse.Namespace) -> Rows:
    from attention_harness.cases.matrix import matrix

    return [_row(case, "id", "mechanism", "dtype") for case in matrix(options.tier)]


def _checks(options: argparse.Namespace) -> Rows:
    from attention_harness.checks import CHECKS

    return [_row(check, "name", "summary") for check in CHECKS]


def _mutants(options: argparse.Namespace) -> Rows:
    from attention_harness.mutation import catalogue

    return [_row(mutant, "name", "kind", "cites") for mutant in catalogue.mutants()]


def _variants(options: argparse.Namespace) -> Rows:
    from attention_harness.mutation import catalogue

    return [_row(variant, "name", "kind") for variant in catalogue.variants()]


def _workloads(options: argparse.Namespace) -> Rows:
    from attention_harness.benchmark.workloads import WORKLOADS

    return [_row(workload, "name", "case", "matrix", "cites") for workload in WORKLOADS]


def _row(described: object, *names: str) -> dict[str, Any]:
    return {name: getattr(described, name) for name in names}


KINDS: dict[str, tuple[Callable[[argparse.Namespace], Rows], tuple[str, ...]]] = {
    "implementations": (_implementations, ("name", "summary", "unavailable")),
    "mechanisms": (_mechanisms, ("name", "inputs", "options", "source")),
    "options": (_options, ("name", "capabilities", "summary")),
    "support": (_support, ()),
    "cases": (_cases, ("id",)),
    "checks": (_checks, ("name", "summary")),
    "mutants": (_mutants, ("kind", "name", "cites")),
    "variants": (_variants, ("kind", "name")),
    "workloads": (_workloads, ("name", "case", "cites")),
}
"""For each kind its rows, and the columns of its table, or () for all; JSON has all."""
