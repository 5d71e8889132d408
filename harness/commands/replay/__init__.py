"""Rerun one case: its verdicts, where the errors lie, the likely cause; --save writes a standalone script."""

from __future__ import annotations

import argparse
from pathlib import Path

from attention_harness.commands import arguments


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the verb takes."""
    parser.add_argument("case", metavar="CASE", help="id of the case")
    parser.add_argument("--implementation", required=True, metavar="NAME", help="which implementation to run")
    arguments.add(parser, "--load")
    parser.add_argument("--check", metavar="NAME", help="this check alone")
    parser.add_argument("--save", type=Path, metavar="FILE", help="write a script that needs torch and NumPy only")
    arguments.add(parser, "--timeout", "--memory", "--no-diagnosis", "--json")


def run(options: argparse.Namespace) -> int:
    """Check the case again and print everything about it; 0 when it conforms."""
    from attention_harness.commands.replay import session

    return session.replay(options)
