"""The arguments of each verb: what they are called, what they may be, and what `--help` says."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from attention_harness import __version__
from attention_harness.model import units
from attention_harness.model.capabilities import DEVICES
from attention_harness.model.dtypes import DTYPES

_LEAST_MEMORY = 2**20
_LARGEST_SEED = 2**63 - 1  # a result file holds it
_MOST_CASES, _MOST_PROCESSES, _LONGEST_AXIS, _LONGEST_WAIT = 100_000, 1024, 2**24, 7 * 86_400

EXIT = "exit status: 0 conforms, 1 does not or nothing was asked, 2 usage"
_NOT_JSON = ("new",)  # it writes a file, and reports nothing


def parser(verbs: Mapping[str, Callable[[argparse.Namespace], int]]) -> argparse.ArgumentParser:
    """Return the parser of these verbs, each with its function as `verb`; its summary is the function's first line."""
    whole = argparse.ArgumentParser(
        prog="attention-harness", description="Is this attention right, and is it fast?", epilog=EXIT
    )
    whole.add_argument("--version", action="version", version=__version__)
    commands = whole.add_subparsers(required=True, metavar="VERB")
    for name, function in verbs.items():
        summary = (function.__doc__ or "").strip().split("\n")[0]
        command = commands.add_parser(name, help=summary, description=summary, epilog=EXIT)
        command.set_defaults(verb=function)
        if name not in _NOT_JSON:
            command.add_argument("--json", action="store_true", help="one JSON document on standard output")
        if name in _OPTIONS_OF:
            _OPTIONS_OF[name](command)
    return whole


# --- each verb's


def _list(command: argparse.ArgumentParser) -> None:
    kinds = ("implementations", "mechanisms", "cases", "checks", "mutants", "workloads")
    command.add_argument("kind", nargs="?", choices=kinds, metavar="KIND", help=", ".join(kinds))
    _load(command)
    _tier(command)


def _check(command: argparse.ArgumentParser) -> None:
    _implementations(command)
    command.add_argument("--mechanism", action="append", default=[], metavar="NAME", help="only this mechanism's cases")
    command.add_argument("--device", choices=DEVICES, default="cpu", help="where; what takes no cpu has its own")
    command.add_argument("--case", action="append", default=[], metavar="ID", help="only this case, whatever the tier")
    _tier(command)
    command.add_argument("--fuzz", type=_cases, default=0, metavar="N", help="N cases drawn at random, not a tier's")
    command.add_argument("--seed", type=_seed, default=None, metavar="S", help="of the drawn cases; default 0")
    _out(command)
    command.add_argument("--resume", action="store_true", help="go on with the run in --out")
    command.add_argument("--jobs", type=_processes, default=0, help="worker processes; one for each core if not given")
    command.add_argument(
        "--timeout", type=_seconds, default=None, metavar="S", help="seconds for one case; default 300"
    )
    _memory(command)
    command.add_argument("--no-diagnosis", action="store_true", help="do not look for what caused the failures")


def _replay(command: argparse.ArgumentParser) -> None:
    command.add_argument("case", metavar="CASE", help="id of the case")
    command.add_argument("--implementation", required=True, metavar="NAME", help="what is asked")
    _load(command)
    command.add_argument("--check", metavar="NAME", help="this check alone")
    command.add_argument("--save", type=Path, metavar="FILE", help="write a script that needs torch and NumPy only")
    command.add_argument("--timeout", type=_seconds, default=None, metavar="S", help="seconds; default 300")
    _memory(command)
    command.add_argument("--no-diagnosis", action="store_true", help="do not look for what caused a failure")


def _mutants(command: argparse.ArgumentParser) -> None:
    command.add_argument("names", nargs="*", metavar="NAME", help="mutants and equivalent variants; all if none")
    instead = command.add_mutually_exclusive_group()
    instead.add_argument("--sensitivity", action="store_true", help="the smallest error that each case sees, instead")
    instead.add_argument("--diagnose", action="store_true", help="how often a diagnosis names the mutant, instead")
    command.add_argument("--case", action="append", default=[], metavar="ID", help="only this case, whatever the tier")
    _tier(command)
    _out(command)
    command.add_argument("--resume", action="store_true", help="go on with the run in --out")
    command.add_argument("--jobs", type=_processes, default=0, help="worker processes; one for each core if not given")
    _memory(command)


def _bench(command: argparse.ArgumentParser) -> None:
    _implementations(command)
    command.add_argument("--workload", action="append", default=[], metavar="NAME", help="only this workload")
    size = command.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help="few workloads, forward in float32, 3 passes")
    size.add_argument("--full", action="store_true", help="all workloads, models' own lengths and the whole sweep too")
    command.add_argument("--dtype", type=_dtypes, default=(), metavar="D[,D]", help="the workloads' own if not given")
    directions = ("forward", "forward_backward", "both")
    command.add_argument("--direction", choices=directions, default="", help="the workloads' own if not given")
    command.add_argument("--baseline", default="eager", metavar="NAME", help="what the others are compared with")
    command.add_argument("--threads", type=_counts, default=(1,), metavar="N[,N]", help="of one call; default 1")
    command.add_argument("--seed", type=_seed, default=0, help="of the order of the calls")
    minutes = "no further passes of what is inconclusive beyond; the first ones are always made"
    command.add_argument("--minutes", type=_minutes, metavar="M", help=minutes)
    _memory(command)
    _out(command)
    command.add_argument("--resume", action="store_true", help="go on with the run in --out")
    other = command.add_argument_group("instead of the matrix")
    other.add_argument("--self-check", action="store_true", help="measure the method's own error rates here")
    text = "time today's implementations over those of a git revision, or of a folder with another version of them"
    other.add_argument("--against", metavar="REV", help=text)
    other.add_argument("--repetitions", type=_processes, default=0, metavar="N", help="of the self-check; default 10")


def _choose(command: argparse.ArgumentParser) -> None:
    command.add_argument("mechanism", metavar="MECHANISM", help="what is to be computed; or the id of a case")
    command.add_argument("--shape", metavar="1x32x2048x128", help="of its first tensor: B x H x L x D of a query")
    command.add_argument("--dtype", choices=DTYPES, help="default float32")
    command.add_argument(
        "--kv-heads", type=_length, metavar="N", help="heads of key and value; those of the query else"
    )
    command.add_argument("--kv-length", type=_length, metavar="N", help="keys; as many as queries else")
    command.add_argument("--size", action="append", default=[], metavar="AXIS=N", help="any other size")
    text = "top_left or bottom_right, where there are more keys than queries or fewer"
    command.add_argument("--causal", nargs="?", const="either", metavar="CORNER", help=text)
    for name, form in (("mask", "full"), ("bias", "full"), ("valid-lens", "batch")):
        command.add_argument(f"--{name}", nargs="?", const=form, metavar="FORM", help=f"default form: {form}")
    command.add_argument("--scale", type=float, metavar="X", help="in place of the mechanism's own")
    command.add_argument("--option", action="append", default=[], metavar="NAME=VALUE", help="a mechanism's choice")
    command.add_argument("--backward", action="store_true", help="forward and backward as one call")
    command.add_argument("--memory", type=_bytes, metavar="SIZE", help="most that one call may add: 2GiB")
    command.add_argument("--device", choices=DEVICES, default="cpu", help="where the tensors live")
    command.add_argument("--threads", type=_processes, default=1, help="threads of one call; default 1")
    command.add_argument("--only", action="append", default=[], metavar="NAME", help="consider this implementation")
    text = "take what this run directory has, if it is of this machine, these versions and these files"
    command.add_argument("--reuse", type=Path, metavar="DIR", help=text)
    _out(command)
    _load(command)


def _compare(command: argparse.ArgumentParser) -> None:
    command.add_argument("base", type=Path, metavar="BASE", help="run directory of before")
    command.add_argument("head", type=Path, metavar="HEAD", help="run directory of after")
    command.add_argument("--confirm", action="store_true", help="measure here again what looks slower or larger")
    text = "for a pull request: to FILE, or instead of the text on standard output"
    command.add_argument("--markdown", nargs="?", const="-", metavar="FILE", help=text)
    _load(command)


def _report(command: argparse.ArgumentParser) -> None:
    command.add_argument("directories", nargs="+", type=Path, metavar="DIR", help="run directories")
    command.add_argument("--out", type=Path, metavar="DIR", help="where to write; the first run directory if not given")


def _new(command: argparse.ArgumentParser) -> None:
    command.add_argument("name", help="name of the implementation, and of its file")
    command.add_argument("--mechanism", default="scaled_dot_product", metavar="NAME", help="what it computes")
    command.add_argument("--directory", type=Path, default=Path(), metavar="DIR", help="where to write the file")


_OPTIONS_OF: Mapping[str, Callable[[argparse.ArgumentParser], None]] = {
    "list": _list,
    "check": _check,
    "replay": _replay,
    "mutants": _mutants,
    "bench": _bench,
    "choose": _choose,
    "compare": _compare,
    "report": _report,
    "new": _new,
}


# --- what verbs share


def _implementations(command: argparse.ArgumentParser) -> None:
    command.add_argument("names", nargs="*", metavar="NAME", help="implementations; all, or the loaded ones, if none")
    _load(command)


def _load(command: argparse.ArgumentParser) -> None:
    text = "an implementation file; its code is run. May be given more than once"
    command.add_argument("--load", action="append", default=[], type=Path, metavar="FILE", help=text)


def _tier(command: argparse.ArgumentParser) -> None:
    tier = command.add_mutually_exclusive_group()
    for name, text in (("quick", "fewer cases"), ("thorough", "many more cases")):
        tier.add_argument(f"--{name}", dest="tier", action="store_const", const=name, help=text)
    command.set_defaults(tier="default")


def _out(command: argparse.ArgumentParser) -> None:
    command.add_argument("--out", type=Path, metavar="DIR", help="keep the results in this run directory")


def _memory(command: argparse.ArgumentParser) -> None:
    text = "what one worker may take beyond torch, such as 4GiB, or none for no limit; default a share of the machine's"
    command.add_argument("--memory", type=_limit, default=0, metavar="SIZE", help=text)


# --- values


def _bytes(text: str) -> int:
    try:
        return units.parsed(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _limit(text: str) -> int:
    count = sys.maxsize if text == "none" else _bytes(text)
    if count < _LEAST_MEMORY:
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is less than 1MiB; give a size such as 4GiB, or none")
    return count


def _cases(text: str) -> int:
    return _count(text, _MOST_CASES)


def _length(text: str) -> int:
    return _count(text, _LONGEST_AXIS)


def _processes(text: str) -> int:
    return _count(text, _MOST_PROCESSES)


def _count(text: str, most: int) -> int:
    if not text.isdecimal() or len(text) > 20 or not 1 <= int(text) <= most:
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is not a whole number from 1 to {most}")
    return int(text)


def _counts(text: str) -> tuple[int, ...]:
    return tuple(dict.fromkeys(_processes(part) for part in text.split(",")))


def _dtypes(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(text.split(",")))
    for name in names:
        if name not in DTYPES:
            raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(DTYPES)}")
    return names


def _seed(text: str) -> int:
    if not text.isdecimal() or len(text) > 20 or int(text) > _LARGEST_SEED:
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is not a whole number from 0 to {_LARGEST_SEED}")
    return int(text)


def _seconds(text: str) -> float:
    return _time(text, "seconds", _LONGEST_WAIT)


def _minutes(text: str) -> float:
    return _time(text, "minutes", _LONGEST_WAIT // 60)


def _time(text: str, unit: str, most: int) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value <= most:
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is not a time in {unit} above 0 and up to {most}")
    return value
