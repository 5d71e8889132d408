"""Run the suite against its mutants: mutation score, survivors, and equivalent variants that were accused."""

from __future__ import annotations

import argparse

from attention_harness.commands import arguments


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the verb takes."""
    parser.add_argument("names", nargs="*", metavar="NAME", help="mutants and equivalent variants; all if none")
    arguments.add_cases(parser)
    arguments.add_out(parser, resume=True)
    arguments.add_jobs(parser)
    arguments.add_memory(parser)
    arguments.add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Measure and print the mutation score; 0 when every mutant is killed and no equivalent variant is accused."""
    from attention_harness.mutation import power

    return power.command(options)
