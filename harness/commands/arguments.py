"""Arguments that several verbs take, and the types of their values."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from attention_harness.model import units
from attention_harness.model.dtypes import DTYPES

_LEAST_MEMORY = 2**20
_LONGEST_WAIT = 7 * 86_400


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


def whole(least: int, most: int) -> Callable[[str], int]:
    """Return the type of whole numbers in a range."""

    def number(text: str) -> int:
        if not text.isdecimal() or len(text) > 20 or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"{text[:40]!r} is not a whole number from {least} to {most}")
        return int(text)

    return number


count = whole(1, 1024)  # of processes, threads or repetitions
number_of_cases = whole(1, 100_000)
seed = whole(0, 2**63 - 1)  # a result file holds it


def counts(text: str) -> tuple[int, ...]:
    """Return numbers of threads, each once."""
    return tuple(dict.fromkeys(map(count, text.split(","))))


def dtypes(text: str) -> tuple[str, ...]:
    """Return names of dtypes, each once."""
    names = tuple(dict.fromkeys(text.split(",")))
    for name in names:
        if name not in DTYPES:
            raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(DTYPES)}")
    return names


def _time(unit: str, most: int) -> Callable[[str], float]:
    def limit(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not 0 < value <= most:
            raise argparse.ArgumentTypeError(f"{text[:40]!r} is not a time in {unit} above 0 and up to {most}")
        return value

    return limit


seconds, minutes = _time("seconds", _LONGEST_WAIT), _time("minutes", _LONGEST_WAIT // 60)

_SHARED: dict[str, tuple[str, dict[str, Any]]] = {
    "names": ("implementations; all, or the loaded ones, if none", {"nargs": "*", "metavar": "NAME"}),
    "--load": (
        "an implementation file; its code is run. May be given more than once",
        {"action": "append", "default": [], "type": Path, "metavar": "FILE"},
    ),
    "--case": ("only this case, whatever the tier", {"action": "append", "default": [], "metavar": "ID"}),
    "--out": ("keep the results in this run directory", {"type": Path, "metavar": "DIR"}),
    "--resume": ("go on with the run in --out", {"action": "store_true"}),
    "--jobs": ("worker processes; default one for each core", {"type": count, "default": 0, "metavar": "N"}),
    "--timeout": ("seconds for one case; default 300", {"type": seconds, "metavar": "S"}),
    "--memory": (
        "what one worker may take beyond torch, such as 4GiB, or none for no limit; default a share of the machine's",
        {"type": memory_limit, "default": 0, "metavar": "SIZE"},
    ),
    "--no-diagnosis": ("do not look for what caused the failures", {"action": "store_true"}),
    "--json": ("one JSON document on standard output", {"action": "store_true"}),
}


def add(parser: argparse.ArgumentParser, *names: str) -> None:
    """Add arguments of several verbs by their names; "tier" is `--quick` and `--thorough`, which set `tier`."""
    for name in names:
        if name == "tier":
            tier = parser.add_mutually_exclusive_group()
            for size, text in (("quick", "fewer cases"), ("thorough", "many more cases")):
                tier.add_argument(f"--{size}", dest="tier", action="store_const", const=size, help=text)
            parser.set_defaults(tier="default")
        else:
            text, facts = _SHARED[name]
            parser.add_argument(name, help=text, **facts)
