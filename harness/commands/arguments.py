"""Arguments that several verbs take, and the types of their values."""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path

from attention_harness.model import units
from attention_harness.model.dtypes import DTYPES

_LEAST_MEMORY = 2**20
_LARGEST_SEED = 2**63 - 1  # a result file holds it
_MOST_CASES, _MOST_PROCESSES, _LONGEST_AXIS, _LONGEST_WAIT = 100_000, 1024, 2**24, 7 * 86_400


# --- arguments


def add_json(parser: argparse.ArgumentParser) -> None:
    """Add `--json`."""
    parser.add_argument("--json", action="store_true", help="one JSON document on standard output")


def add_implementations(parser: argparse.ArgumentParser) -> None:
    """Add names of implementations, and `--load`."""
    parser.add_argument("names", nargs="*", metavar="NAME", help="implementations; all, or the loaded ones, if none")
    add_load(parser)


def add_load(parser: argparse.ArgumentParser) -> None:
    """Add `--load`."""
    text = "an implementation file; its code is run. May be given more than once"
    parser.add_argument("--load", action="append", default=[], type=Path, metavar="FILE", help=text)


def add_cases(parser: argparse.ArgumentParser) -> None:
    """Add `--case` and the tiers."""
    parser.add_argument("--case", action="append", default=[], metavar="ID", help="only this case, whatever the tier")
    add_tier(parser)


def add_tier(parser: argparse.ArgumentParser) -> None:
    """Add `--quick` and `--thorough`, which set `tier`."""
    tier = parser.add_mutually_exclusive_group()
    for name, text in (("quick", "fewer cases"), ("thorough", "many more cases")):
        tier.add_argument(f"--{name}", dest="tier", action="store_const", const=name, help=text)
    parser.set_defaults(tier="default")


def add_out(parser: argparse.ArgumentParser, *, resume: bool = False) -> None:
    """Add `--out`, and `--resume` for a verb that can go on with a run."""
    parser.add_argument("--out", type=Path, metavar="DIR", help="keep the results in this run directory")
    if resume:
        parser.add_argument("--resume", action="store_true", help="go on with the run in --out")


def add_jobs(parser: argparse.ArgumentParser) -> None:
    """Add `--jobs`."""
    parser.add_argument(
        "--jobs", type=count, default=0, metavar="N", help="worker processes; default one for each core"
    )


def add_timeout(parser: argparse.ArgumentParser) -> None:
    """Add `--timeout`."""
    parser.add_argument("--timeout", type=seconds, metavar="S", help="seconds for one case; default 300")


def add_memory(parser: argparse.ArgumentParser) -> None:
    """Add `--memory`, the limit of a worker process."""
    text = "what one worker may take beyond torch, such as 4GiB, or none for no limit; default a share of the machine's"
    parser.add_argument("--memory", type=memory_limit, default=0, metavar="SIZE", help=text)


# --- types


def number_of_bytes(text: str) -> int:
    """Return a size such as 2GiB in bytes."""
    try:
        return units.parsed(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def memory_limit(text: str) -> int:
    """Return the limit of a worker's memory in bytes; `none` is more than any machine has."""
    limit = sys.maxsize if text == "none" else number_of_bytes(text)
    if limit < _LEAST_MEMORY:
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is less than 1MiB; give a size such as 4GiB, or none")
    return limit


def number_of_cases(text: str) -> int:
    """Return how many cases to draw."""
    return _whole(text, 1, _MOST_CASES)


def length(text: str) -> int:
    """Return the length of an axis."""
    return _whole(text, 1, _LONGEST_AXIS)


def count(text: str) -> int:
    """Return a number of processes, threads or repetitions."""
    return _whole(text, 1, _MOST_PROCESSES)


def counts(text: str) -> tuple[int, ...]:
    """Return numbers of threads, each once."""
    return tuple(dict.fromkeys(map(count, text.split(","))))


def seed(text: str) -> int:
    """Return a seed."""
    return _whole(text, 0, _LARGEST_SEED)


def dtypes(text: str) -> tuple[str, ...]:
    """Return names of dtypes, each once."""
    names = tuple(dict.fromkeys(text.split(",")))
    for name in names:
        if name not in DTYPES:
            raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(DTYPES)}")
    return names


def seconds(text: str) -> float:
    """Return a time limit in seconds."""
    return _time(text, "seconds", _LONGEST_WAIT)


def minutes(text: str) -> float:
    """Return a time limit in minutes."""
    return _time(text, "minutes", _LONGEST_WAIT // 60)


def _whole(text: str, least: int, most: int) -> int:
    if not text.isdecimal() or len(text) > 20 or not least <= int(text) <= most:
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is not a whole number from {least} to {most}")
    return int(text)


def _time(text: str, unit: str, most: int) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value <= most:
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is not a time in {unit} above 0 and up to {most}")
    return value
