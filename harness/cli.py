"""The command line: a verb is a function that calls, prints and returns 0 (conforms), 1 (does not) or 2 (usage)."""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness import __version__, console
from harness.values import DEVICES, HarnessError

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


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a verb. A user's mistake is one line on standard error, and exit status 2."""
    options = _parser().parse_args(arguments)
    try:
        status = int(options.verb(options))
        sys.stdout.flush()  # here, where a full disk is still told in one line
        return status
    except HarnessError as error:
        print(f"attention-harness: {' '.join(str(error).splitlines())}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader, `head` say, has seen enough
        sys.stderr.close()
        return 1
    except OSError as error:  # a full disk, a folder that cannot be written
        print(f"attention-harness: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        kept = "what was finished is kept; --resume goes on" if getattr(options, "out", None) else "nothing was kept"
        print(f"attention-harness: interrupted; {kept}", file=sys.stderr)
        return 130


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
    from harness.bench import command

    return command.bench(options)


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
    return 0


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
    command.add_argument("--fuzz", type=_count, default=0, metavar="N", help="N cases drawn at random, not a tier's")
    command.add_argument("--seed", type=_seed, default=None, metavar="S", help="of the drawn cases; default 0")
    _out(command)
    command.add_argument("--resume", action="store_true", help="go on with the run in --out")
    command.add_argument("--jobs", type=_count, default=0, help="worker processes; one for each core if not given")
    command.add_argument(
        "--timeout", type=_seconds, default=None, metavar="S", help="seconds for one case; default 300"
    )

    command.add_argument("--no-diagnosis", action="store_true", help="do not look for what caused the failures")

    command = _verb(verbs, "replay", replay)
    command.add_argument("case", metavar="CASE", help="id of the case")
    command.add_argument("--implementation", required=True, metavar="NAME", help="what is asked")
    _load(command)
    command.add_argument("--check", metavar="NAME", help="this check alone")
    command.add_argument("--save", type=Path, metavar="FILE", help="write a script that needs torch and NumPy only")
    command.add_argument("--timeout", type=_seconds, default=None, metavar="S", help="seconds; default 300")
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
    command.add_argument("--jobs", type=_count, default=0, help="worker processes; one for each core if not given")

    command = _verb(verbs, "bench", bench)
    _implementations(command)
    command.add_argument("--workload", action="append", default=[], metavar="NAME", help="only this workload")
    command.add_argument("--quick", action="store_true", help="few workloads, 3 passes")
    command.add_argument("--baseline", default="eager", metavar="NAME", help="what the others are compared with")
    command.add_argument("--threads", type=_count, default=1, help="threads of one call; default 1")
    command.add_argument("--seed", type=int, default=0, help="of the order of the calls")
    _out(command)

    command = _verb(verbs, "report", report)
    command.add_argument("directories", nargs="+", type=Path, metavar="DIR", help="run directories")
    command.add_argument("--out", type=Path, metavar="DIR", help="where to write; the first run directory if not given")

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


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of 1 or more")
    return int(text)


def _seed(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of 0 or more")
    return int(text)


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time in seconds above 0")
    return value


def _json(data: Any) -> int:
    print(json.dumps(data, indent=1))
    return 0
