"""The command line. Each verb is a module of this folder with its arguments and `run`; see `VERBS`."""

from __future__ import annotations

import argparse
import importlib
import io
import sys
from collections.abc import Sequence
from types import ModuleType

from attention_harness import __version__
from attention_harness.model.errors import HarnessError
from attention_harness.model.printable import one_line

VERBS = (
    "list",
    "check",
    "replay",
    "mutants",
    "mutants sensitivity",
    "bench",
    "bench against",
    "bench self-check",
    "choose",
    "compare",
    "report",
    "doctor",
    "new",
)
"""Every verb and sub-verb. The module of "bench self-check" is `bench_self_check`: its docstring's first line is the
summary, `add_arguments(parser)` declares what it takes, and `run(options)` returns the exit status."""

EXIT = "Exit status: 0 when all is well, 1 when something is not or nothing was checked, 2 for a usage error."
_LONGEST = 4000  # characters of a complaint: what it cites may be of any length


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a verb. A user's mistake is one line on standard error, and exit status 2."""
    for stream in (sys.stdout, sys.stderr):  # a name that the terminal's encoding lacks is no reason to stop
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    options = parse(sys.argv[1:] if arguments is None else arguments)
    try:
        _import_loaded_files(options)
        status = int(options.run(options))
        sys.stdout.flush()  # here, where a full disk still ends in one line
        return status
    except HarnessError as error:
        return _complain(str(error))
    except ModuleNotFoundError as error:
        return _complain(f"{error}; `python -m attention_harness doctor` says what adds it")
    except MemoryError:
        return _complain("there is not enough memory for this; use smaller sizes")
    except BrokenPipeError:  # the reader, `head` say, has seen enough
        sys.stderr.close()
        return 1
    except OSError as error:  # a full disk, a folder that cannot be written
        return _complain(str(error))
    except KeyboardInterrupt:
        print(f"attention-harness: interrupted; {_left_behind(options)}", file=sys.stderr)
        return 130


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Return the parsed command line; only the module of the verb that it names is imported."""
    words = list(arguments)
    for count in (2, 1):
        verb = " ".join(words[:count])
        if verb in VERBS:
            command = argparse.ArgumentParser(f"attention-harness {verb}", description=summary(verb))
            _declare(command, verb)
            return command.parse_args(words[count:])
    return parser().parse_args(words)


def parser() -> argparse.ArgumentParser:
    """Return the parser of all verbs."""
    whole = argparse.ArgumentParser(
        prog="attention-harness", description="Is this attention right, and is it fast?", epilog=EXIT
    )
    whole.add_argument("--version", action="version", version=__version__)
    commands = whole.add_subparsers(required=True, metavar="VERB")
    for verb in VERBS:
        _declare(commands.add_parser(verb, help=summary(verb), description=summary(verb)), verb)
    return whole


def summary(verb: str) -> str:
    """Return the first line of a verb's docstring, as argparse prints it."""
    return (_module(verb).__doc__ or "").split("\n")[0].replace("%", "%%")


def _declare(command: argparse.ArgumentParser, verb: str) -> None:
    _module(verb).add_arguments(command)
    command.set_defaults(verb=verb, run=_module(verb).run)


def _module(verb: str) -> ModuleType:
    return importlib.import_module(f"attention_harness.commands.{verb.replace(' ', '_').replace('-', '_')}")


def _complain(message: str) -> int:
    print(f"attention-harness: {one_line(message)[:_LONGEST]}", file=sys.stderr)
    return 2


def _left_behind(options: argparse.Namespace) -> str:
    """Return what an interrupted command leaves, and whether it can be resumed."""
    if not getattr(options, "out", None):
        return "nothing was kept"
    return "what was finished is kept" + ("; --resume goes on" if hasattr(options, "resume") else "")


def _import_loaded_files(options: argparse.Namespace) -> None:
    """Import the files of --load, each in a process of its own: whatever is wrong with one is said first."""
    if getattr(options, "load", None):
        from attention_harness.execution import declarations  # here: what loads nothing starts no process
        from attention_harness.execution.limits import ITEM_SECONDS, Limits

        seconds, memory = (getattr(options, name, None) for name in ("timeout", "memory"))
        declarations.implementations(options.load, Limits(seconds or ITEM_SECONDS, memory or 0))
