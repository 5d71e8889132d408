"""List implementations, mechanisms, options, cases, checks, mutants or workloads."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from typing import Any

from attention_harness.commands import arguments, console

Rows = list[dict[str, Any]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the verb takes."""
    parser.add_argument("kind", nargs="?", choices=KINDS, metavar="KIND", help=", ".join(KINDS))
    arguments.add_load(parser)
    arguments.add_tier(parser)
    arguments.add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Print a table of the kind; of implementations and mechanisms where none is named."""
    kinds = [options.kind] if options.kind else ["implementations", "mechanisms"]
    rows = {kind: KINDS[kind][0](options) for kind in kinds}
    if options.json:
        print(json.dumps(rows[options.kind] if options.kind else rows, indent=1))
        return 0
    for kind in kinds:
        console.table(kind, rows[kind], KINDS[kind][1])
    return 0


def implementations(options: argparse.Namespace) -> Rows:
    """Return name, summary, declarations, and why one is unavailable here."""
    from attention_harness import registry

    return [
        {
            "name": name,
            "summary": found.summary,
            "mechanisms": list(found.capabilities.mechanisms),
            "dtypes": list(found.capabilities.dtypes),
            "devices": list(found.capabilities.devices),
            "options": list(found.capabilities.options),
            "unavailable": found.unavailable(),
        }
        for name, found in registry.implementations(options.load).items()
    ]


def mechanisms(options: argparse.Namespace) -> Rows:
    """Return name, formula, inputs with their axes, options, choices, source and errata."""
    from attention_harness import registry

    return [
        {
            "name": name,
            "formula": known.formula,
            "inputs": {declared.name: list(declared.axes) for declared in known.inputs},
            "output": list(known.output),
            "options": list(known.options),
            "choices": {option: list(values) for option, values in known.choices.items()},
            "source": known.source,
            "examples": [example.name for example in known.examples],
            "errata": [
                {"source": erratum.source, "says": erratum.says, "right": erratum.right, "shown_by": erratum.shown_by}
                for erratum in known.errata
            ],
        }
        for name, known in registry.mechanisms().items()
    ]


def case_options(options: argparse.Namespace) -> Rows:
    """Return what a case may add to a mechanism, and by which names a file declares it."""
    from attention_harness.options import OPTIONS

    return [
        {
            "name": option.name,
            "capabilities": list(option.capabilities),
            "summary": option.summary,
            "expected": option.expected,
        }
        for option in OPTIONS.values()
    ]


def cases(options: argparse.Namespace) -> Rows:
    """Return the cases of the tier."""
    from attention_harness.cases.matrix import matrix

    return [{"id": case.id, "mechanism": case.mechanism, "dtype": case.dtype} for case in matrix(options.tier)]


def checks(options: argparse.Namespace) -> Rows:
    """Return the checks."""
    from attention_harness.checks import CHECKS

    return [{"name": check.name, "summary": check.summary} for check in CHECKS]


def mutants(options: argparse.Namespace) -> Rows:
    """Return the mutants, by kind, and where the like has shipped."""
    from attention_harness.mutation.mutants import MUTANTS

    return [{"name": mutant.name, "kind": mutant.kind, "cites": mutant.cites} for mutant in MUTANTS]


def workloads(options: argparse.Namespace) -> Rows:
    """Return the benchmark's workloads, and where each comes from."""
    from attention_harness.benchmark.workloads import WORKLOADS

    return [
        {"name": workload.name, "case": workload.case, "matrix": workload.matrix, "cites": workload.cites}
        for workload in WORKLOADS
    ]


KINDS: dict[str, tuple[Callable[[argparse.Namespace], Rows], tuple[str, ...]]] = {
    "implementations": (implementations, ("name", "summary", "unavailable")),
    "mechanisms": (mechanisms, ("name", "inputs", "options", "source")),
    "options": (case_options, ("name", "capabilities", "summary")),
    "cases": (cases, ("id",)),
    "checks": (checks, ("name", "summary")),
    "mutants": (mutants, ("kind", "name", "cites")),
    "workloads": (workloads, ("name", "case", "cites")),
}
"""For each kind its rows, and the columns of its table; JSON has all."""
