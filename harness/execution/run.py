"""Runs the checks of an item one after the other; what the implementation raises is a verdict."""

from __future__ import annotations

import math
import time
import traceback
from collections.abc import Iterator
from dataclasses import replace

from msgspec import structs

from attention_harness.checks import Check, Subject
from attention_harness.checks.expected import OutOfRange
from attention_harness.checks.subject import Refused
from attention_harness.execution import in_process
from attention_harness.execution.apart import Apart
from attention_harness.execution.lost import Lost
from attention_harness.execution.plan import Item, replay_command
from attention_harness.host import memory
from attention_harness.host.process_state import name_few
from attention_harness.host.raised import place
from attention_harness.model.errors import HarnessError, ImplementationRaised, describe
from attention_harness.model.verdict import Status, Verdict


def verdicts_of(item: Item, one: Apart) -> tuple[list[Verdict], bool]:
    """Return the verdicts of an item's checks, and whether the implementation's process must not meet another item.

    No pass is kept where it replaced functions of torch or NumPy, or wrote later into what it had returned. Where its
    calls changed the state of its process, `purity` fails.
    """
    subject = one.subject(item.case)
    verdicts = list(run_checks(item, subject))
    changed_later = subject.changed_later
    now = one.host.ask("end_case")
    doubt = ""
    if now.replaced:
        doubt = f"it replaced {name_few(now.replaced)}"
    elif changed_later:
        doubt = "what it returned changed after it was returned"
    if doubt:
        verdicts = [_without_pass(verdict, f"{doubt}: its verdicts cannot be trusted") for verdict in verdicts]
    elif now.changed_state:
        reason = f"it changed {name_few(now.changed_state)}"
        verdicts = [_without_pass(verdict, reason) if verdict.check == "purity" else verdict for verdict in verdicts]
    return verdicts, now.spoilt


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
    except ImplementationRaised as error:
        return verdict(item, check, Status.ERROR, reason=f"{error}{_if_empty(item)}")
    except Lost:
        raise
    except Exception as error:
        return verdict(item, check, Status.ERROR, reason=_own_fault(error, item.implementation.name))
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


def _own_fault(error: Exception, name: str) -> str:
    """Return the reason of what the harness itself raised."""
    text = memory.out_of_memory(describe(error))
    if isinstance(error, HarnessError) or text != describe(error):  # a user's mistake, the machine's memory
        return text
    where = place(*list(traceback.walk_tb(error.__traceback__))[-1])
    return f"a fault of the harness, not of {name}: {text} ({where}); please report it with the id of the case"


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
