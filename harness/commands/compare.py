"""Say what changed between two run directories; exit 1 when a regression is confirmed."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from attention_harness.commands import arguments

if TYPE_CHECKING:
    from attention_harness.store import Run


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the verb takes."""
    parser.add_argument("base", type=Path, metavar="BASE", help="run directory of before")
    parser.add_argument("head", type=Path, metavar="HEAD", help="run directory of after")
    parser.add_argument("--confirm", action="store_true", help="measure here again what looks slower or larger")
    text = "for a pull request: to FILE, or instead of the text on standard output"
    parser.add_argument("--markdown", nargs="?", const="-", metavar="FILE", help=text)
    arguments.add(parser, "--load", "--json")


def run(options: argparse.Namespace) -> int:
    """Print what changed from one run to the other; 1 when something is confirmed to be worse, or nothing compares."""
    from attention_harness.report.compare import text as changes_text
    from attention_harness.report.compare.changes import compare
    from attention_harness.store import load
    from attention_harness.store.encoding import document
    from attention_harness.store.files import replaced

    base, head = (load(directory) for directory in (options.base, options.head))
    changes = compare(base, head)
    if options.confirm:
        from attention_harness.commands.confirm import confirmed  # here: it measures

        changes = confirmed(changes, base, head, options.load)
    next_step = _next_step(options, base)
    if options.json:
        print(document(changes.to_json()))
    elif options.markdown == "-":
        print(changes_text.markdown(changes, next_step), end="")
    else:
        print(changes_text.text(changes, next_step))
    if options.markdown and options.markdown != "-":
        replaced(Path(options.markdown), changes_text.markdown(changes, next_step))
    return 1 if changes.regressions or not any(changes.compared.values()) else 0


def _next_step(options: argparse.Namespace, base: Run) -> str:
    git = base.facts.environment.git
    commit = git.commit if git else ""
    against = f", or measure both in one run with bench against {commit[:12] or 'REV'}"
    return f"measure them again with compare {options.base} {options.head} --confirm{against}"
