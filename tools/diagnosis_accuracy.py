"""Measure the top-3 accuracy of the diagnosis: each mutant under another name, judged, and its failures diagnosed.

    python tools/diagnosis_accuracy.py [NAME...] [--quick] [--jobs N] [--out FILE]

Every mutant is measured if none is named. Each result is appended to FILE as a line of JSON; mutants that stand there
are not measured again. The exit status is 1 where fewer than 80 % of the mutants are among the first three.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import msgspec

from attention_harness.cases.matrix import matrix
from attention_harness.execution import pool
from attention_harness.execution.limits import Limits
from attention_harness.execution.lost import Lost
from attention_harness.execution.plan import plan_items
from attention_harness.execution.run import run_checks
from attention_harness.model.diagnosis import Match
from attention_harness.model.verdict import NONCONFORMING, Verdict
from attention_harness.mutation import catalogue
from attention_harness.mutation.campaign import TASK_SECONDS
from attention_harness.mutation.diagnosis import diagnose
from attention_harness.mutation.patched import Mutant
from attention_harness.mutation.restored import state_restored
from attention_harness.registry import Implementation

GOAL = 0.8
"""The fraction of the mutants that a diagnosis has to name among its first three."""

_ENOUGH = 8  # cases that fail: those that come after them are like them


class Naming(msgspec.Struct, frozen=True):
    """A mutant, and the mutants that its diagnosis names. lost: why there is no diagnosis, or ""."""

    mutant: str
    kind: str
    matches: tuple[Match, ...]
    lost: str = ""

    @property
    def named(self) -> bool:
        """Whether the mutant is among the matches."""
        return self.mutant in [match.mutant for match in self.matches]


def name(mutant: Mutant, tier: str = "default") -> Naming:
    """Diagnose a mutant under another name, by its failures on the cases of a tier."""
    anonymous = replace(mutant.implementation(), name="anonymous")
    failures = _failures(anonymous, tier, ("accuracy",)) or _failures(anonymous, tier, ())
    return Naming(mutant.name, mutant.kind, diagnose(anonymous, failures, further=matrix(tier)).matches)


def _failures(implementation: Implementation, tier: str, names: tuple[str, ...]) -> list[Verdict]:
    """Return the first failures of the named checks, or of all."""
    failures: list[Verdict] = []
    for item in plan_items([implementation], matrix(tier)):
        item = replace(item, checks=tuple(check for check in item.checks if not names or check.name in names))
        with state_restored():
            failures += [verdict for verdict in run_checks(item) if verdict.status in NONCONFORMING]
        if len({verdict.case for verdict in failures}) >= _ENOUGH:
            break
    return failures


def measure(mutants: Sequence[Mutant], tier: str, jobs: int = 0, seconds: float = TASK_SECONDS) -> Iterator[Naming]:
    """Yield how each mutant is diagnosed, as it is known; one whose process dies or hangs is not named."""
    tasks = [pool.Task(name, (mutant, tier)) for mutant in mutants]
    for place, result in pool.run_tasks(tasks, jobs=jobs, limits=Limits(seconds, 0)):
        if isinstance(result, Lost):
            result = Naming(mutants[place].name, mutants[place].kind, (), str(result))
        elif isinstance(result, BaseException):
            raise result
        yield result


def accuracy(found: Sequence[Naming]) -> float:
    """Return the fraction of the mutants that were named."""
    return sum(one.named for one in found) / len(found)


def table(found: Sequence[Naming]) -> str:
    """Return named and all by class of mutant, and the accuracy."""
    kinds, named = Counter(one.kind for one in found), Counter(one.kind for one in found if one.named)
    lines = [f"{kind:14} {named[kind]:4} of {count:4} named" for kind, count in kinds.items()]
    total = f"{sum(named.values())} of {len(found)} mutants named among the first three: {accuracy(found):.1%}"
    return "\n".join([*lines, f"{total}, goal {GOAL:.0%}"])


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, append to --out and print; 0 when enough mutants are named."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", choices=[*(one.name for one in catalogue.mutants()), []])
    parser.add_argument("--quick", dest="tier", action="store_const", const="quick", default="default")
    parser.add_argument("--jobs", type=int, default=0)
    parser.add_argument("--out", type=Path, metavar="FILE")
    options = parser.parse_args(arguments)
    mutants = [one for one in catalogue.mutants() if not options.names or one.name in options.names]
    earlier = _read(options.out) if options.out else {}
    found = {one.name: earlier[one.name] for one in mutants if one.name in earlier}
    for one in measure([one for one in mutants if one.name not in found], options.tier, options.jobs):
        found[one.mutant] = one
        if options.out:
            with options.out.open("ab") as file:
                file.write(msgspec.json.encode(one) + b"\n")
        if not one.named:
            matches = ", ".join(match.mutant for match in one.matches) or "nothing"
            print(f"{one.mutant} taken for {matches}" + (f": {one.lost}" if one.lost else ""), file=sys.stderr)
    ordered = [found[one.name] for one in mutants]
    print(table(ordered))
    return 0 if accuracy(ordered) >= GOAL else 1


def _read(path: Path) -> dict[str, Naming]:
    """Return the results in a file by mutant; a last line that was cut short is cut off."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    data = path.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    if whole != data:
        path.write_bytes(whole)
    return {one.mutant: one for one in msgspec.json.Decoder(Naming).decode_lines(whole)}


if __name__ == "__main__":  # by its name, under which other processes find what they run
    sys.exit(importlib.import_module("diagnosis_accuracy").main())
