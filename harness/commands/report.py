"""Write report.md and index.html from run directories."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from attention_harness.commands import arguments, console


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the verb takes."""
    parser.add_argument("directories", nargs="+", type=Path, metavar="DIR", help="run directories")
    parser.add_argument("--out", type=Path, metavar="DIR", help="where to write; the first run directory if not given")
    parser.add_argument("--base", type=Path, metavar="DIR", help="an earlier run: what changed since stands at the top")
    arguments.add(parser, "--json")


def run(options: argparse.Namespace) -> int:
    """Write both files and print their paths."""
    from attention_harness import report, store
    from attention_harness.execution import support
    from attention_harness.report.content import settled

    merged = store.merge([store.load(directory) for directory in options.directories])
    for note in merged.notes:
        console.line(note)
    declared = {name: about.options for name, about in merged.facts.implementations.items() if about.options}
    found = support.table(declared, settled(merged.verdicts)[0])
    base = store.load(options.base) if options.base else None
    markdown, page = report.write(merged, options.out or options.directories[0], found, base)
    if options.json:
        print(json.dumps({"markdown": str(markdown), "html": str(page)}, indent=1))
        return 0
    print(f"report: {markdown}")
    print(f"page:   {page}")
    for path in (directory / "benchmark.json" for directory in options.directories):
        if path.exists():
            print(f"json:   {path}")
    return 0
