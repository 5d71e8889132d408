"""The plan of a run: which checks of which implementation on which case. pytest and every verb use the same one."""

from __future__ import annotations

import functools
import itertools
import random
import shlex
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from attention_harness.checks import CHECKS, Check, size
from attention_harness.checks.transformations import ASKED_BY
from attention_harness.execution.machine import cuda_devices
from attention_harness.model.case import Case
from attention_harness.model.verdict import Status, Verdict
from attention_harness.options import required
from attention_harness.registry import Declared, mechanisms


@dataclass(frozen=True)
class Item:
    """An implementation on a case, with the checks that run there.

    skip: where none can run, the status and reason that each check gets instead
    """

    implementation: Declared
    case: Case
    checks: tuple[Check, ...]
    skip: tuple[Status, str] | None = None

    @property
    def keys(self) -> list[tuple[str, str, str]]:
        """Implementation, case and check of each verdict: they name it."""
        return [(self.implementation.name, self.case.id, check.name) for check in self.checks]

    @property
    def allowance(self) -> float:
        """Seconds that the reference may take, beside the time limit of the implementation."""
        return 0.0 if self.skip else size.allowance(self.case)

    @property
    def id(self) -> str:
        """The name in a test report."""
        return f"{self.implementation.name}:{self.case.id}"


def plan_items(
    implementations: Sequence[Declared],
    cases: Iterable[Case],
    cases_for_declaration: Callable[[Declared], Iterable[Case]] = lambda implementation: (),
    sample: Callable[[int], Sequence[int]] | None = None,
) -> Iterator[Item]:
    """Yield an item for every case and implementation that declares its mechanism, then for those it adds itself.

    Where nothing can run the item says why. sample: which of so many cases of an implementation, in place of all
    """
    shared = ((one, case, False) for case in cases for one in implementations)
    added = ((one, case, True) for one in implementations for case in cases_for_declaration(one))
    absent = functools.cache(Declared.unavailable)
    wanted = (one for one in itertools.chain(shared, added) if one[1].mechanism in one[0].capabilities.mechanisms)
    for implementation, case, row in wanted if sample is None else _sampled(wanted, sample):
        yield plan_item(implementation, case, absent, row=row)


def sampler(count: int, seed: int) -> Callable[[int], Sequence[int]]:
    """Return what draws so many places of a number of them, in order: all, if there are no more."""
    return lambda among: sorted(random.Random(seed).sample(range(among), min(count, among)))


Pair = tuple[Declared, Case, bool]


def _sampled(pairs: Iterable[Pair], sample: Callable[[int], Sequence[int]]) -> Iterator[Pair]:
    """Yield a sample of the cases of each implementation; nothing is asked of the others, which takes minutes."""
    of_each: dict[str, list[Pair]] = {}
    for pair in pairs:
        of_each.setdefault(pair[0].name, []).append(pair)
    for found in of_each.values():
        yield from (found[place] for place in sample(len(found)))


def plan_item(
    implementation: Declared,
    case: Case,
    absent: Callable[[Declared], str] = Declared.unavailable,
    *,
    row: bool = False,
) -> Item:
    """Return the item of an implementation on a case, of whatever mechanism.

    absent: why this machine cannot run an implementation, or ""
    row: whether the case is one of a declaration's rows: a row with very many scores is judged by its output alone,
        and one of very large tensors by its output and gradients
    """
    placed = case if case.device != "cpu" else case.on(implementation.device)
    checks = tuple(check for check in CHECKS if check.applies(implementation, placed))
    if row and size.needs_one_check(placed):
        checks = tuple(check for check in checks if check.large)
    elif row and size.is_wide(placed):
        checks = tuple(check for check in checks if check.large or check.wide)
    skip = None
    if refusal := implementation.refuses(placed) or size.too_large(placed):
        skip = (Status.UNSUPPORTED, refusal)
    elif reason := absent(implementation) or ("" if placed.device != "cuda" or cuda_devices() else "no CUDA device"):
        skip = (Status.UNAVAILABLE, reason)
    return Item(implementation, placed, checks, skip)


def unexercised(items: Iterable[Item]) -> dict[str, list[str]]:
    """Return, by implementation, the mechanisms, dtypes, options and transformations that no item exercises.

    Of those that it declares.
    """
    declared: dict[str, set[str]] = {}
    exercised: dict[str, set[str]] = {}
    for item in items:
        name, capabilities = item.implementation.name, item.implementation.capabilities
        known = {option for mechanism in capabilities.mechanisms for option in mechanisms()[mechanism].options}
        options = (option for option in capabilities.options if option in known)
        applied = (field for field in ASKED_BY if getattr(capabilities, field))
        declared[name] = {*capabilities.mechanisms, *capabilities.dtypes, *options, *applied}
        if item.skip is None or item.skip[0] is Status.UNAVAILABLE:
            asked = {check.name.removeprefix("behaviour.") for check in item.checks}
            applied = (field for field, check in ASKED_BY.items() if check in asked)
            parts = (item.case.mechanism, item.case.dtype, *required(item.case), *applied)
            exercised.setdefault(name, set()).update(parts)
    left = {name: sorted(parts - exercised.get(name, set())) for name, parts in declared.items()}
    return {name: parts for name, parts in left.items() if parts}


def unexercised_verdicts(items: Sequence[Item]) -> Iterator[Verdict]:
    """Yield a verdict `not_asked` for everything that an implementation declares and no item exercises."""
    implementations = {item.implementation.name: item.implementation for item in items}
    for name, parts in unexercised(items).items():
        for part in parts:
            declared = implementations[name].capabilities.mechanisms
            takes = [one for one in declared if part in (one, *mechanisms()[one].options)]
            yield Verdict(
                implementation=name,
                mechanism=takes[0] if takes else declared[0],
                case="declaration",
                check=f"declared {part}",
                status=Status.NOT_ASKED,
                reason=f"{part} is declared, and no case asks for it",
            )


def replay_command(implementation: Declared, case: Case) -> str:
    """Return the command that runs the checks of an implementation on a case again."""
    load = f" --load {shlex.quote(str(implementation.path))}" if implementation.loaded else ""
    name = shlex.quote(implementation.name)
    return f"python -m attention_harness replay {shlex.quote(case.id)} --implementation {name}{load}"
