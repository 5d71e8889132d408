"""Fuzzing: the drawn cases of a run, and each group of failures shrunk to a smallest case."""

from __future__ import annotations

import itertools
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from attention_harness.execution.limits import DEFAULT_LIMITS, Limits
from attention_harness.execution.plan import plan_item
from attention_harness.execution.runner import item_worker
from attention_harness.model.case import Case
from attention_harness.model.errors import HarnessError
from attention_harness.model.run_facts import Smallest
from attention_harness.model.verdict import Status, Verdict
from attention_harness.registry import Declared, mechanism

if TYPE_CHECKING:
    from attention_harness.cases.random import Strategy

TRIES, SECONDS, GROUPS = 400, 60.0, 5
"""What shrinking may cost: cases and seconds for each group of failures, and how many groups."""
SHRUNK = (Status.FAIL, Status.ERROR, Status.CRASH)
"""Not timeouts: every try would cost the whole time limit."""
_REFUSED = 200  # drawn cases in a row that nobody takes, and drawing is given up


@dataclass(frozen=True)
class DrawnCases:
    """The first cases of a seed that some implementation takes, and the number of each, from which it is drawn again.

    They are a function of the seed and of what the implementations declare: a longer run begins with a shorter one's.
    """

    strategy: Strategy
    seed: int
    numbers: Mapping[Case, int]


def draw_cases(
    implementations: Sequence[Declared],
    count: int,
    *,
    seed: int = 0,
    mechanisms: Collection[str] = (),
    device: str = "cpu",
) -> DrawnCases:
    """Return so many cases of a seed, of the named mechanisms alone if any is named.

    Raises HarnessError where hardly any case is taken.
    """
    from attention_harness.cases import random  # here: Hypothesis takes a second to import

    names = [mechanism(name).name for name in mechanisms]
    strategy = random.cases_of([one.capabilities for one in implementations], names)
    numbers: dict[Case, int] = {}
    refused = 0
    for k in itertools.count():
        if len(numbers) == count:
            return DrawnCases(strategy, seed, numbers)
        case = None if strategy.is_empty else random.draw(strategy, seed, k)
        if case and case not in numbers and any(not one.refuses(case.on(device)) for one in implementations):
            numbers[case], refused = k, 0
        elif case is None or (refused := refused + 1) == _REFUSED:
            raise HarnessError(
                f"--fuzz: {len(numbers)} of {k} drawn cases are taken by an implementation; ask for fewer, or for "
                "mechanisms that one declares"
            )
    raise AssertionError("counting has no end")


Groups = dict[tuple[str, str, Status], list[Verdict]]


def failure_groups(verdicts: Iterable[Verdict]) -> Groups:
    """Return the failures that can be shrunk, by implementation, check and status.

    A crash counts once for all checks: its process gave no answer to any.
    """
    found: Groups = {}
    for verdict in verdicts:
        if verdict.status in SHRUNK:
            found.setdefault(_group(verdict), []).append(verdict)
    return found


def shrink(
    drawn: DrawnCases,
    groups: Groups,
    implementations: Sequence[Declared],
    load: Sequence[Path] = (),
    done: Sequence[Smallest] = (),
    limits: Limits = DEFAULT_LIMITS,
) -> Iterator[Smallest]:
    """Yield a smallest failure for each of the first few groups, but for those that are done."""
    named = {one.name: one for one in implementations}
    groups_done = {_group(one.verdict) for one in done}
    for group, verdicts in itertools.islice(groups.items(), GROUPS):
        if group not in groups_done:
            smallest = min(verdicts, key=_size)  # of equals the first
            yield Smallest(shrink_one(drawn, named[group[0]], smallest, load=load, limits=limits), len(verdicts))


def shrink_one(
    drawn: DrawnCases,
    implementation: Declared,
    verdict: Verdict,
    *,
    load: Sequence[Path] = (),
    tries: int = TRIES,
    seconds: float = SECONDS,
    limits: Limits = DEFAULT_LIMITS,
) -> Verdict:
    """Return the verdict on a smallest case of the same mechanism that fails the same check with the same status.

    Every case runs in a worker process: one that crashes is an answer like any other.

    tries, seconds   after which no further case runs; a case may take what is left at most
    limits           of one case
    """
    from attention_harness.cases import random

    original = Case.from_id(verdict.case)
    failing = {original.on("cpu"): verdict}
    tried = {original.on("cpu")}
    deadline = time.monotonic() + seconds
    with item_worker(load, Limits(min(seconds, limits.seconds), limits.memory)) as run:

        def fails(case: Case) -> bool:
            placed = case.on(original.device)
            fresh = case not in tried and len(tried) < tries and time.monotonic() < deadline
            if fresh and case.mechanism == original.mechanism and not implementation.refuses(placed):
                tried.add(case)
                item = plan_item(implementation, placed)
                alike = [one for one in run(item) if (one.check, one.status) == (verdict.check, verdict.status)]
                if alike:
                    failing[case] = alike[0]
            return case in failing

        smallest = random.smallest(drawn.strategy, drawn.seed, drawn.numbers[original.on("cpu")], fails)
    return failing[smallest] if smallest else verdict


def _group(verdict: Verdict) -> tuple[str, str, Status]:
    check = "" if verdict.status is Status.CRASH else verdict.check
    return verdict.implementation, check, verdict.status


def _size(verdict: Verdict) -> tuple[int, int]:
    """Return what makes a failure a small one: few options, and short axes."""
    case = Case.from_id(verdict.case)
    return len(case.options), sum(case.sizes.values())
