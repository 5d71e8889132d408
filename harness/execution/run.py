"""Runs an item in this process: its checks one after the other, an exception of the implementation being a verdict."""

from __future__ import annotations

import math
import multiprocessing
import time
from collections.abc import Iterator
from dataclasses import replace

from msgspec import structs

from attention_harness.checks import Check, Subject
from attention_harness.checks.expected import OutOfRange
from attention_harness.checks.subject import Refused
from attention_harness.execution import in_process, raised
from attention_harness.execution.plan import Item, replay_command
from attention_harness.execution.process_state import ProcessState, name_few, process_state
from attention_harness.model.verdict import Status, Verdict


def verdicts_of(item: Item, state_before: ProcessState | None = None) -> list[Verdict]:
    """Return the verdicts of an item's checks; a pass counts only if the implementation left the judge alone.

    Where it replaced functions of torch or NumPy, or wrote later into what it had returned, no pass is kept. Where its
    calls changed the state of the process, `purity` fails.

    state_before: of the process before the implementation was imported; the present one by default
    """
    state_before = state_before or process_state()
    subject = in_process.subject(item.implementation, item.case)
    verdicts = list(run_checks(item, subject))
    state_after = process_state()
    doubt = ""
    if replaced := state_before.replaced(state_after):
        doubt = f"it replaced {name_few(replaced)}"
    elif subject.changed_later:
        doubt = "what it returned changed after it was returned"
    if doubt:
        return [_without_pass(verdict, f"{doubt}: its verdicts cannot be trusted") for verdict in verdicts]
    if changed := in_process.changed_by_calls(item.implementation.name, state_before.settings, state_after.settings):
        reason = f"it changed {name_few(changed)}"
        return [_without_pass(verdict, reason) if verdict.check == "purity" else verdict for verdict in verdicts]
    return verdicts


def run_checks(item: Item, subject: Subject | None = None) -> Iterator[Verdict]:
    """Yield the verdict of each check of an item as it is known."""
    subject = subject or in_process.subject(item.implementation, item.case)
    item = item if item.skip else _skipped_if_out_of_range(item, subject)
    for check in item.checks:
        began = time.perf_counter()
        skip = item.skip
        if not skip and (too_large := check.too_large(item.case)):
            skip = (Status.UNSUPPORTED, too_large)
        found = verdict(item, check, skip[0], reason=skip[1]) if skip else _run_check(item, check, subject)
        known = item.implementation.known_failure(check.name, item.case)
        if known and not skip:
            found = found.as_known_failure(known)
        yield structs.replace(found, seconds=round(time.perf_counter() - began, 6))


def verdict(item: Item, check: Check, status: Status, **facts: object) -> Verdict:
    """Return a verdict on a check of an item, with the command that replays it."""
    return Verdict(
        implementation=item.implementation.name,
        mechanism=item.case.mechanism,
        case=item.case.id,
        check=check.name,
        status=status,
        replay=replay_command(item.implementation, item.case),
        **facts,  # type: ignore[arg-type]
    )


def _run_check(item: Item, check: Check, subject: Subject) -> Verdict:
    try:
        judgement = check.judge(subject)
    except OutOfRange as error:
        return verdict(item, check, Status.UNSUPPORTED, reason=f"out of the dtype's range: {error}")
    except Refused as error:
        return verdict(item, check, Status.UNSUPPORTED, reason=str(error))
    except BaseException as error:  # sys.exit in an implementation must not end this run, least of all with 0
        if isinstance(error, KeyboardInterrupt) and not multiprocessing.parent_process():
            raise  # a person's; a worker gets none
        reason = raised.reason(error, item.implementation.name, item.implementation.path)
        return verdict(item, check, Status.ERROR, reason=reason + _if_empty(item))
    return verdict(
        item,
        check,
        Status.FAIL if judgement.reason else Status.PASS,
        error_ratio=_finite(judgement.error_ratio),
        error=_finite(judgement.error),
        where=judgement.where,
        reason=judgement.reason and judgement.reason + _if_empty(item),
        finding=judgement.finding,
        declared=judgement.declared,
        uninformative=judgement.uninformative and not judgement.reason,
    )


def _if_empty(item: Item) -> str:
    """Return how a declaration refuses a problem in which a size is 0, or "" for any other problem."""
    rules = [f'"{axis} >= 1"' for axis, length in item.case.sizes.items() if length == 0]
    return f"; sizes of 0 are asked unless requires=({', '.join(rules)},) refuses them" if rules else ""


def _skipped_if_out_of_range(item: Item, subject: Subject) -> Item:
    """Return the item, skipped where the dtype cannot hold the problem: that is no fault of the implementation."""
    try:
        overflow = subject.error_bound()[0].overflow
    except MemoryError:
        return replace(item, skip=(Status.UNSUPPORTED, "the case does not fit into this machine's memory"))
    except Exception:  # each check that needs the bound raises it again, and has it as its reason
        return item
    return replace(item, skip=(Status.UNSUPPORTED, f"out of the dtype's range: {overflow}")) if overflow else item


def _without_pass(verdict: Verdict, reason: str) -> Verdict:
    """Return a verdict that fails for this reason, unless it is bad already."""
    if verdict.status not in (Status.PASS, Status.UNEXPECTED_PASS, Status.KNOWN_FAILURE):
        return verdict
    return structs.replace(
        verdict, status=Status.FAIL, error_ratio=None, error=None, where=None, reason=reason, uninformative=False
    )


def _finite(value: float) -> float | None:
    """Return a finite number; a wrong shape or a NaN has no error that could be measured."""
    return value if math.isfinite(value) else None
