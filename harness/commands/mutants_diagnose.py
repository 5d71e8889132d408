"""Measure how often a diagnosis names the mutant. It moves to tools/, and this file goes then."""

from __future__ import annotations

import argparse

from attention_harness.commands import arguments


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the sub-verb takes."""
    parser.add_argument("names", nargs="*", metavar="NAME", help="mutants; all if none")
    arguments.add_tier(parser)
    arguments.add_out(parser, resume=True)
    arguments.add_jobs(parser)
    arguments.add_memory(parser)
    arguments.add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Measure and print the top-3 accuracy."""
    from attention_harness.mutation import diagnosis_accuracy

    return diagnosis_accuracy.command(options)
