"""Judge implementations on the cases of a tier, of a mechanism, or on single cases."""

from __future__ import annotations

import argparse

from attention_harness.commands import arguments
from attention_harness.model.capabilities import DEVICES


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the verb takes."""
    arguments.add(parser, "names", "--load")
    parser.add_argument("--mechanism", action="append", default=[], metavar="NAME", help="only this mechanism's cases")
    parser.add_argument("--device", choices=DEVICES, default="cpu", help="where; what takes no cpu has its own")
    arguments.add(parser, "--case", "tier")
    text = "N cases drawn at random, not a tier's"
    parser.add_argument("--fuzz", type=arguments.number_of_cases, default=0, metavar="N", help=text)
    text = "N cases of each implementation, drawn at random from the tier's"
    parser.add_argument("--sample", type=arguments.number_of_cases, default=0, metavar="N", help=text)
    parser.add_argument("--seed", type=arguments.seed, metavar="S", help="of the drawn cases; default 0")
    text = "begin no further case once so many have failed"
    parser.add_argument("--max-failures", type=arguments.count, default=0, metavar="N", help=text)
    arguments.add(parser, "--out", "--resume", "--jobs", "--timeout", "--memory", "--no-diagnosis", "--json")


def run(options: argparse.Namespace) -> int:
    """Plan, check, keep and print; 0 when something was checked and all of it conforms."""
    from attention_harness.commands.check import session

    return session.check(options)
