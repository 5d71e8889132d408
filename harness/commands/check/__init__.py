"""Judge implementations on the cases of a tier, of a mechanism, or on single cases."""

from __future__ import annotations

import argparse

from attention_harness.commands import arguments
from attention_harness.model.capabilities import DEVICES


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the verb takes."""
    arguments.add_implementations(parser)
    parser.add_argument("--mechanism", action="append", default=[], metavar="NAME", help="only this mechanism's cases")
    parser.add_argument("--device", choices=DEVICES, default="cpu", help="where; what takes no cpu has its own")
    arguments.add_cases(parser)
    text = "N cases drawn at random, not a tier's"
    parser.add_argument("--fuzz", type=arguments.number_of_cases, default=0, metavar="N", help=text)
    parser.add_argument("--seed", type=arguments.seed, metavar="S", help="of the drawn cases; default 0")
    arguments.add_out(parser, resume=True)
    arguments.add_jobs(parser)
    arguments.add_timeout(parser)
    arguments.add_memory(parser)
    parser.add_argument("--no-diagnosis", action="store_true", help="do not look for what caused the failures")
    arguments.add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Plan, check, keep and print; 0 when something was checked and all of it conforms."""
    from attention_harness.commands.check import session

    return session.check(options)
