"""Write the skeleton of an implementation file."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the verb takes."""
    parser.add_argument("name", help="name of the implementation, and of its file")
    parser.add_argument("--mechanism", default="scaled_dot_product", metavar="NAME", help="what it computes")
    parser.add_argument("--directory", type=Path, default=Path(), metavar="DIR", help="where to write the file")


def run(options: argparse.Namespace) -> int:
    """Write the file and say what comes next."""
    from attention_harness.registry import scaffold

    path = scaffold.write(options.name, options.mechanism, options.directory)
    print(f"wrote {path}; fill in prepare(), then: python -m attention_harness check --load {path}")
    return 0
