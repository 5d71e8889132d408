"""The command line: a verb is a function that calls, prints and returns 0 (conforms), 1 (does not) or 2 (usage)."""

from __future__ import annotations

import argparse
import io
import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness import __version__, console, memory_size
from harness.printable import one_line
from harness.values import DEVICES, DTYPES, HarnessError

_LONGEST = 4000  # characters of a complaint: what it cites may be of any length
_LEAST_MEMORY = 2**20
_LARGEST_SEED = 2**63 - 1  # a result file holds it
_MOST_CASES, _MOST_PROCESSES, _LONGEST_AXIS, _LONGEST_WAIT = 100_000, 1024, 2**24, 7 * 86_400

EXIT = "exit status: 0 conforms, 1 does not, 2 usage"

# What `faults` takes, but not in place of planting: an option that is ignored would be taken for obeyed.
_NOT_WITH = {
    "sensitivity": {
        "names": ("NAME", "it measures cases, not faults; name them with --case"),
        "jobs": ("--jobs", "it measures in one process; leave --jobs out"),
    },
    "diagnose": {
        "case": ("--case", "it looks for failures in a whole tier; choose one with --quick or --thorough"),
    },
}


# What `bench` takes for its matrix, and not in place of it.
_MATRIX_ONLY = ("quick", "full", "minutes", "resume")
_NO_SELF_CHECK = (
    *_MATRIX_ONLY,
    "names",
    "workload",
    "load",
    "dtype",
    "direction",
    "against",
    "baseline",
    "threads",
    "memory",
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a verb. A user's mistake is one line on standard error, and exit status 2."""
    for stream in (sys.stdout, sys.stderr):  # a name that the terminal's encoding lacks is no reason to stop
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    options = _parser().parse_args(arguments)
    try:
        _importable(options)
        status = int(options.verb(options))
        sys.stdout.flush()  # here, where a full disk is still told in one line
        return status
    except HarnessError as error:
        print(f"attention-harness: {one_line(str(error))[:_LONGEST]}", file=sys.stderr)
        return 2
    except ModuleNotFoundError as error:
        print(f"attention-harness: {error}; `python -m harness doctor` says what adds it", file=sys.stderr)
        return 2
    except MemoryError:
        print("attention-harness: there is not enough memory for this; ask for smaller sizes", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader, `head` say, has seen enough
        sys.stderr.close()
        return 1
    except OSError as error:  # a full disk, a folder that cannot be written
        print(f"attention-harness: {one_line(str(error))[:_LONGEST]}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"attention-harness: interrupted; {_left(options)}", file=sys.stderr)
        return 130


def _left(options: argparse.Namespace) -> str:
    """Return what an interrupted command leaves, and whether it can be gone on with."""
    if not getattr(options, "out", None):
        return "nothing was kept"
    goes_on = hasattr(options, "resume") and not any(getattr(options, name, None) for name in ("self_check", "against"))
    return "what was finished is kept" + ("; --resume goes on" if goes_on else "")


def _importable(options: argparse.Namespace) -> None:
    """Import what is loaded in a worker first, whatever the verb: a file that ends its process would end this one."""
    if getattr(options, "load", None):
        from harness import execution  # here: it imports torch, which listing does without

        given = (getattr(options, name, None) for name in ("timeout", "memory"))
        seconds, memory = given if options.verb is not choose else (None, None)  # its memory is that of a call
        execution.importable(options.load, seconds or execution.ITEM_SECONDS, memory or 0)


# --- verbs


def list_(options: argparse.Namespace) -> int:
    """Print implementations, mechanisms, cases, checks or workloads."""
    from harness import listing

    kinds = [options.kind] if options.kind else ["implementations", "mechanisms"]
    found = {kind: listing.KINDS[kind](options) for kind in kinds}
    if options.json:
        return _json(found[options.kind] if options.kind else found)
    for kind, rows in found.items():
        console.table(kind, rows)
    return 0


def check(options: argparse.Namespace) -> int:
    """Judge implementations on the cases of a tier, of a mechanism, or on single cases."""
    from harness import session

    return session.check(options)


def replay(options: argparse.Namespace) -> int:
    """Run one case again: verdicts, where the errors lie, the likely cause; --save writes a script of its own."""
    from harness import replay as again

    return again.replay(options)


def bench(options: argparse.Namespace) -> int:
    """Time what conforms, side by side with the baseline."""
    if options.repetitions and not options.self_check:
        raise HarnessError("bench --repetitions is for --self-check; give both")
    instead = "self_check" if options.self_check else "against"
    default = _parser().parse_args(["bench"])
    for name in (_NO_SELF_CHECK if options.self_check else _MATRIX_ONLY) if getattr(options, instead) else ():
        if getattr(options, name) != getattr(default, name):
            given = "NAME" if name == "names" else f"--{name}"
            raise HarnessError(f"bench --{instead.replace('_', '-')} takes no {given}: leave it out")
    if options.self_check:
        from harness.bench import self_check

        return self_check.command(options)
    if options.against:
        from harness.bench import against

        return against.command(options)
    from harness.bench import command

    return command.bench(options)


def choose(options: argparse.Namespace) -> int:
    """Rank the conforming implementations on a problem of yours; 1 when none can be recommended."""
    from harness.choose import command

    return command.command(options)


def compare(options: argparse.Namespace) -> int:
    """Tell what changed between two run directories; 1 when a regression is confirmed."""
    from harness.compare import command

    return command.command(options)


def faults(options: argparse.Namespace) -> int:
    """Plant faults and print what the suite catches; 1 when it misses one, or accuses a correct variant."""
    for instead, others in _NOT_WITH.items():
        for name, (option, why) in others.items():
            if getattr(options, instead) and getattr(options, name):
                raise HarnessError(f"faults --{instead} takes no {option}: {why}")
    if options.sensitivity:
        from harness import sensitivity

        return sensitivity.command(options)
    from harness import hit_rate, power

    return hit_rate.command(options) if options.diagnose else power.command(options)


def report(options: argparse.Namespace) -> int:
    """Write report.md and index.html from run directories."""
    from harness import report as pages
    from harness import results

    run = results.merge([results.load(directory) for directory in options.directories])
    for note in run.notes:
        console.line(note)
    markdown, page = pages.write(run, options.out or options.directories[0])
    if options.json:
        return _json({"markdown": str(markdown), "html": str(page)})
    print(f"report: {markdown}")
    print(f"page:   {page}")
    for path in (directory / "benchmark.json" for directory in options.directories):
        if path.exists():
            print(f"json:   {path}")
    return 0


def doctor(options: argparse.Namespace) -> int:
    """Say what this machine can run, what is missing, and the command that adds it; 1 when a default run lacks it."""
    from harness import doctor as ask

    return ask.doctor(options)


def new(options: argparse.Namespace) -> int:
    """Write the skeleton of an implementation file."""
    from harness import scaffold

    path = scaffold.write(options.name, options.mechanism, options.directory)
    print(f"wrote {path}; fill in prepare(), then: python -m harness check --load {path}")
    return 0


# --- arguments


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="attention-harness", description="Is this attention right, and is it fast?", epilog=EXIT
    )
    parser.add_argument("--version", action="version", version=__version__)
    verbs = parser.add_subparsers(required=True, metavar="VERB")

    command = _verb(verbs, "list", list_)
    kinds = ("implementations", "mechanisms", "cases", "checks", "faults", "workloads")
    command.add_argument("kind", nargs="?", choices=kinds, metavar="KIND", help=", ".join(kinds))
    _load(command)
    _tier(command)

    command = _verb(verbs, "check", check)
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

    command = _verb(verbs, "replay", replay)
    command.add_argument("case", metavar="CASE", help="id of the case")
    command.add_argument("--implementation", required=True, metavar="NAME", help="what is asked")
    _load(command)
    command.add_argument("--check", metavar="NAME", help="this check alone")
    command.add_argument("--save", type=Path, metavar="FILE", help="write a script that needs torch and NumPy only")
    command.add_argument("--timeout", type=_seconds, default=None, metavar="S", help="seconds; default 300")
    _memory(command)
    command.add_argument("--no-diagnosis", action="store_true", help="do not look for what caused a failure")

    command = _verb(verbs, "faults", faults)
    command.add_argument("names", nargs="*", metavar="NAME", help="faults and correct variants; all if none")
    instead = command.add_mutually_exclusive_group()
    instead.add_argument("--sensitivity", action="store_true", help="the smallest error that each case sees, instead")
    instead.add_argument("--diagnose", action="store_true", help="how often a diagnosis names the fault, instead")
    command.add_argument("--case", action="append", default=[], metavar="ID", help="only this case, whatever the tier")
    _tier(command)
    _out(command)
    command.add_argument("--resume", action="store_true", help="go on with the run in --out")
    command.add_argument("--jobs", type=_processes, default=0, help="worker processes; one for each core if not given")
    _memory(command)

    command = _verb(verbs, "bench", bench)
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

    command = _verb(verbs, "choose", choose)
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

    command = _verb(verbs, "compare", compare)
    command.add_argument("base", type=Path, metavar="BASE", help="run directory of before")
    command.add_argument("head", type=Path, metavar="HEAD", help="run directory of after")
    command.add_argument("--confirm", action="store_true", help="measure here again what looks slower or larger")
    text = "for a pull request: to FILE, or instead of the text on standard output"
    command.add_argument("--markdown", nargs="?", const="-", metavar="FILE", help=text)
    _load(command)

    command = _verb(verbs, "report", report)
    command.add_argument("directories", nargs="+", type=Path, metavar="DIR", help="run directories")
    command.add_argument("--out", type=Path, metavar="DIR", help="where to write; the first run directory if not given")

    _verb(verbs, "doctor", doctor)

    command = _verb(verbs, "new", new, json_=False)
    command.add_argument("name", help="name of the implementation, and of its file")
    command.add_argument("--mechanism", default="scaled_dot_product", metavar="NAME", help="what it computes")
    command.add_argument("--directory", type=Path, default=Path(), metavar="DIR", help="where to write the file")
    return parser


def _verb(verbs: Any, name: str, function: Any, json_: bool = True) -> argparse.ArgumentParser:
    summary = (function.__doc__ or "").strip().split("\n")[0]
    command: argparse.ArgumentParser = verbs.add_parser(name, help=summary, description=summary, epilog=EXIT)
    command.set_defaults(verb=function)
    if json_:
        command.add_argument("--json", action="store_true", help="one JSON document on standard output")
    return command


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


def _bytes(text: str) -> int:
    try:
        return memory_size.parsed(text)
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


def _json(data: Any) -> int:
    print(json.dumps(data, indent=1))
    return 0
