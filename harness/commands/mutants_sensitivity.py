"""Measure the smallest error that each case can see."""

from __future__ import annotations

import argparse

from attention_harness.commands import arguments


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the sub-verb takes."""
    arguments.add_cases(parser)
    arguments.add_out(parser, resume=True)
    arguments.add_memory(parser)
    arguments.add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Measure and print the thresholds of each case."""
    from attention_harness.mutation import sensitivity

    return sensitivity.command(options)
