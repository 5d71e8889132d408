"""The command line: a verb is a function that calls, prints and returns 0 (conforms), 1 (does not) or 2 (usage)."""

from __future__ import annotations

import argparse
import io
import json
import sys
from collections.abc import Sequence
from typing import Any

from attention_harness.commands import arguments, console
from attention_harness.model.errors import HarnessError
from attention_harness.model.printable import one_line

_LONGEST = 4000  # characters of a complaint: what it cites may be of any length

# What `mutants` takes, but not in place of planting: an option that is ignored would be taken for obeyed.
_NOT_WITH = {
    "sensitivity": {
        "names": ("NAME", "it measures cases, not mutants; name them with --case"),
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


def main(given: Sequence[str] | None = None) -> int:
    """Run a verb. A user's mistake is one line on standard error, and exit status 2."""
    for stream in (sys.stdout, sys.stderr):  # a name that the terminal's encoding lacks is no reason to stop
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    options = _parser().parse_args(given)
    try:
        _importable(options)
        status = int(options.verb(options))
        sys.stdout.flush()  # here, where a full disk is still told in one line
        return status
    except HarnessError as error:
        print(f"attention-harness: {one_line(str(error))[:_LONGEST]}", file=sys.stderr)
        return 2
    except ModuleNotFoundError as error:
        print(f"attention-harness: {error}; `python -m attention_harness doctor` says what adds it", file=sys.stderr)
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
        from attention_harness.execution import pool  # here: it imports torch, which listing does without

        given = (getattr(options, name, None) for name in ("timeout", "memory"))
        seconds, memory = given if options.verb is not choose else (None, None)  # its memory is that of a call
        pool.importable(options.load, seconds or pool.ITEM_SECONDS, memory or 0)


# --- verbs


def list_(options: argparse.Namespace) -> int:
    """Print implementations, mechanisms, cases, checks or workloads."""
    from attention_harness.commands import listing

    kinds = [options.kind] if options.kind else ["implementations", "mechanisms"]
    found = {kind: listing.KINDS[kind](options) for kind in kinds}
    if options.json:
        return _json(found[options.kind] if options.kind else found)
    for kind, rows in found.items():
        console.table(kind, rows)
    return 0


def check(options: argparse.Namespace) -> int:
    """Judge implementations on the cases of a tier, of a mechanism, or on single cases."""
    from attention_harness.commands import check

    return check.check(options)


def replay(options: argparse.Namespace) -> int:
    """Run one case again: verdicts, where the errors lie, the likely cause; --save writes a script of its own."""
    from attention_harness.commands import replay as again

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
        from attention_harness.commands import bench_self_check

        return bench_self_check.command(options)
    if options.against:
        from attention_harness.commands import bench_against

        return bench_against.command(options)
    from attention_harness.commands import bench as matrix

    return matrix.bench(options)


def choose(options: argparse.Namespace) -> int:
    """Rank the conforming implementations on a problem of yours; 1 when none can be recommended."""
    from attention_harness.commands import choose

    return choose.command(options)


def compare(options: argparse.Namespace) -> int:
    """Tell what changed between two run directories; 1 when a regression is confirmed."""
    from attention_harness.commands import compare

    return compare.command(options)


def mutants(options: argparse.Namespace) -> int:
    """Plant mutants and print what the suite catches; 1 when it misses one, or accuses a equivalent variant."""
    for instead, others in _NOT_WITH.items():
        for name, (option, why) in others.items():
            if getattr(options, instead) and getattr(options, name):
                raise HarnessError(f"mutants --{instead} takes no {option}: {why}")
    if options.sensitivity:
        from attention_harness.mutation import sensitivity

        return sensitivity.command(options)
    from attention_harness.mutation import diagnosis_accuracy, power

    return diagnosis_accuracy.command(options) if options.diagnose else power.command(options)


def report(options: argparse.Namespace) -> int:
    """Write report.md and index.html from run directories."""
    from attention_harness import report as pages
    from attention_harness.store import results

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
    from attention_harness.commands import doctor as ask

    return ask.doctor(options)


def new(options: argparse.Namespace) -> int:
    """Write the skeleton of an implementation file."""
    from attention_harness.registry import scaffold

    path = scaffold.write(options.name, options.mechanism, options.directory)
    print(f"wrote {path}; fill in prepare(), then: python -m attention_harness check --load {path}")
    return 0


_VERBS = {
    "list": list_,
    "check": check,
    "replay": replay,
    "mutants": mutants,
    "bench": bench,
    "choose": choose,
    "compare": compare,
    "report": report,
    "doctor": doctor,
    "new": new,
}


def _parser() -> argparse.ArgumentParser:
    return arguments.parser(_VERBS)


def _json(data: Any) -> int:
    print(json.dumps(data, indent=1))
    return 0
