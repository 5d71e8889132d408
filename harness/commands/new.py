"""Write an implementation file to start from: a skeleton, or one that calls a library."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the verb takes."""
    parser.add_argument("name", help="name of the implementation, and of its file")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--mechanism", default="scaled_dot_product", metavar="NAME", help="what it computes")
    what.add_argument(
        "--like", metavar="LIBRARY", help="write a file that calls a library: flash_attn, jax, keras, onnx, torch_mha"
    )
    parser.add_argument("--directory", type=Path, default=Path(), metavar="DIR", help="where to write the file")


def run(options: argparse.Namespace) -> int:
    """Write the file and say what comes next."""
    from attention_harness.registry import scaffold

    text = (
        scaffold.from_library(options.like, options.name)
        if options.like
        else scaffold.skeleton(options.mechanism, options.name)
    )
    path = scaffold.write(options.name, text, options.directory)
    step = "change what differs for yours" if options.like else "fill in prepare()"
    print(f"wrote {path}; {step}, then: python -m attention_harness check --load {path}")
    return 0
