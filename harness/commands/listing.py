"""What there is: rows of plain data for `list`. No framework is imported."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from attention_harness import registry

Rows = list[dict[str, Any]]


def implementations(options: argparse.Namespace) -> Rows:
    """Return name, summary, declarations, and why one is unavailable here."""
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


def cases(options: argparse.Namespace) -> Rows:
    """Return the cases of the tier."""
    from attention_harness.cases.cases import matrix

    return [{"id": case.id, "mechanism": case.mechanism, "dtype": case.dtype} for case in matrix(options.tier)]


def checks(options: argparse.Namespace) -> Rows:
    """Return the questions that are asked."""
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
        {"name": workload.name, "case": workload.case, "quick": workload.quick, "cites": workload.cites}
        for workload in WORKLOADS
    ]


KINDS: dict[str, Callable[[argparse.Namespace], Rows]] = {
    "implementations": implementations,
    "mechanisms": mechanisms,
    "cases": cases,
    "checks": checks,
    "mutants": mutants,
    "workloads": workloads,
}
