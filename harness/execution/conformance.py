"""The plan - which check of which implementation on which case - and the verdicts; pytest and the CLI share it."""

from __future__ import annotations

import itertools
import math
import multiprocessing
import shlex
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from attention_harness.checks import CHECKS, Check, Subject, size
from attention_harness.checks.relations import OutOfRange
from attention_harness.execution import processes
from attention_harness.execution.machine import cuda_devices
from attention_harness.execution.process_state import World, listed, world
from attention_harness.model.case import Case
from attention_harness.model.verdict import Status, Verdict
from attention_harness.registry import Implementation, mechanisms


@dataclass(frozen=True)
class Item:
    """An implementation on a case, with the checks that are asked there. `skip` says why none is, with its status."""

    implementation: Implementation
    case: Case
    checks: tuple[Check, ...]
    skip: tuple[Status, str] | None = None

    @property
    def keys(self) -> list[tuple[str, str, str]]:
        """What names each of its verdicts: implementation, case, check."""
        return [(self.implementation.name, self.case.id, check.name) for check in self.checks]

    @property
    def allowance(self) -> float:
        """Seconds that the reference may take, beside the time limit of the implementation."""
        return 0.0 if self.skip else size.allowance(self.case)

    @property
    def id(self) -> str:
        """Name in a test report."""
        return f"{self.implementation.name}:{self.case.id}"


def plan(
    implementations: Sequence[Implementation],
    cases: Iterable[Case],
    own: Callable[[Implementation], Iterable[Case]] = lambda implementation: (),
) -> Iterator[Item]:
    """Yield every implementation on every case, and its own; what cannot be asked is planned with its reason."""
    absent = {implementation.name: implementation.unavailable() for implementation in implementations}
    no_cuda = "" if cuda_devices() else "no CUDA device"
    shared = ((implementation, case) for case in cases for implementation in implementations)
    further = ((implementation, case) for implementation in implementations for case in own(implementation))
    for implementation, case in itertools.chain(shared, further):
        here = case if case.device != "cpu" else case.on(implementation.device)
        checks = tuple(check for check in CHECKS if check.applies(implementation, here))
        skip = None
        refusal = implementation.refuses(here) or size.too_large(here)
        if refusal:
            skip = (Status.UNSUPPORTED, refusal)
        elif absent[implementation.name] or (here.device == "cuda" and no_cuda):
            skip = (Status.UNAVAILABLE, absent[implementation.name] or no_cuda)
        yield Item(implementation, here, checks, skip)


def unexercised(items: Iterable[Item]) -> dict[str, list[str]]:
    """Return, by implementation, what it declares and no item asks of it: such a declaration is not proven."""
    declared: dict[str, set[str]] = {}
    asked: dict[str, set[str]] = {}
    for item in items:
        own = item.implementation.capabilities
        known = {option for name in own.mechanisms for option in mechanisms()[name].options}
        names = {*own.mechanisms, *own.dtypes, *(option for option in own.options if option in known)}
        declared.setdefault(item.implementation.name, names)
        if item.skip is None or item.skip[0] is Status.UNAVAILABLE:
            asked.setdefault(item.implementation.name, set()).update(
                (item.case.mechanism, item.case.dtype, *item.case.requires)
            )
    left = {name: sorted(names - asked.get(name, set())) for name, names in declared.items()}
    return {name: names for name, names in left.items() if names}


def settled(item: Item, before: World | None = None) -> list[Verdict]:
    """Return the verdicts of an item, none of which is believed that the implementation may have made itself.

    before: the process before the implementation was imported; as it is now, if not given
    """
    before = before or world()
    subject = Subject(item.implementation, item.case)
    verdicts = list(run(item, subject))
    now = world()
    doubt = ""
    if replaced := before.replaced(now):
        doubt = f"it replaced {listed(replaced)}"
    elif subject.changed_later:
        doubt = "what it returned changed after it was returned"
    if doubt:
        return [_refused(verdict, f"{doubt}: its verdicts cannot be trusted") for verdict in verdicts]
    if changed := before.changed(now):
        told = f"it changed {listed(changed)}"
        return [_refused(verdict, told) if verdict.check == "purity" else verdict for verdict in verdicts]
    return verdicts


def _refused(verdict: Verdict, reason: str) -> Verdict:
    if verdict.status not in (Status.PASS, Status.UNEXPECTED_PASS, Status.KNOWN_FAILURE):
        return verdict
    return replace(verdict, status=Status.FAIL, error_ratio=None, error=None, where=None, reason=reason)


def run(item: Item, subject: Subject | None = None) -> Iterator[Verdict]:
    """Yield the verdict of each check of an item. An exception of the implementation is a verdict, not the end."""
    subject = subject or Subject(item.implementation, item.case)
    item = item if item.skip else _in_range(item, subject)
    for check in item.checks:
        began = time.perf_counter()
        large = "" if item.skip else check.too_large(item.case)
        whole = replace(item, skip=(Status.UNSUPPORTED, large)) if large else item
        answer = _skipped(whole, check) if whole.skip else _asked(item, check, subject)
        known = item.implementation.known_failure(check.name, item.case)
        if known and not whole.skip:
            answer = answer.as_known_failure(known)
        yield replace(answer, seconds=round(time.perf_counter() - began, 6))


def _in_range(item: Item, subject: Subject) -> Item:
    """Return the item, skipped where the dtype cannot hold the problem: no mutant of the implementation's."""
    try:
        overflow = subject.error_bound()[0].overflow
    except MemoryError:
        return replace(item, skip=(Status.UNSUPPORTED, "the case does not fit into this machine's memory"))
    except Exception:  # a check will raise it again, and tell
        return item
    return replace(item, skip=(Status.UNSUPPORTED, f"out of the dtype's range: {overflow}")) if overflow else item


def _asked(item: Item, check: Check, subject: Subject) -> Verdict:
    try:
        judgement = check.ask(subject)
    except OutOfRange as error:
        return verdict(item, check, Status.UNSUPPORTED, reason=f"out of the dtype's range: {error}")
    except BaseException as error:  # sys.exit in an implementation must not end this run, least of all with 0
        if isinstance(error, KeyboardInterrupt) and not multiprocessing.parent_process():
            raise  # a person's; a worker gets none
        return verdict(item, check, Status.ERROR, reason=raised(error, item.implementation.path))
    status = Status.FAIL if judgement.reason else Status.PASS
    return verdict(
        item,
        check,
        status,
        error_ratio=_measured(judgement.error_ratio),
        error=_measured(judgement.error),
        where=judgement.where,
        reason=judgement.reason,
        finding=judgement.finding,
        declared=judgement.declared,
    )


def _measured(value: float) -> float | None:
    """Return a finite number; a wrong shape or a NaN has no error that could be measured."""
    return value if math.isfinite(value) else None


def _skipped(item: Item, check: Check) -> Verdict:
    assert item.skip is not None
    status, reason = item.skip
    return verdict(item, check, status, reason=reason)


def verdict(item: Item, check: Check, status: Status, **facts: object) -> Verdict:
    """Return a verdict on an item's check, with the command that replays it."""
    return Verdict(
        implementation=item.implementation.name,
        mechanism=item.case.mechanism,
        case=item.case.id,
        check=check.name,
        status=status,
        replay=replay_command(item.implementation, item.case),
        **facts,  # type: ignore[arg-type]
    )


def replay_command(implementation: Implementation, case: Case) -> str:
    """Return the command that asks the same questions again."""
    load = f" --load {shlex.quote(str(implementation.path))}" if implementation.loaded else ""
    name = shlex.quote(implementation.name)
    return f"python -m attention_harness replay {shlex.quote(case.id)} --implementation {name}{load}"


def raised(error: BaseException, path: Path) -> str:
    """Return an exception in one line: what it says, where in the file of an implementation, whether memory ran out."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path.resolve())]
    place = f" ({path.name}:{frames[-1].lineno} in {frames[-1].name})" if frames else ""
    return f"{processes.out_of_memory(last_line(error))}{place}"


def last_line(error: BaseException) -> str:
    """Return an exception's name and the first line of its message."""
    try:
        text = str(error).strip().split("\n")[0]
    except BaseException:  # an exception whose own text raises is still only an error
        text = "(its message cannot be shown)"
    return f"{type(error).__name__}: {text}"[:500]
