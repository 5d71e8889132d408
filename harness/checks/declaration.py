"""Declares checks: one decorator for a check, a behaviour and a metamorphic relation alike.

A check is a function from a `Subject` (one implementation on one case) to a `Judgement`. Its docstring's first
paragraph is the summary that lists and reports show; the predicates beside it say where it is judged. The list of all
checks is whatever the modules of this package declare.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from attention_harness.bounds.judge import Judgement
from attention_harness.cases import inputs
from attention_harness.checks import size
from attention_harness.checks.form import WrongForm
from attention_harness.checks.interface import Declaration
from attention_harness.checks.subject import Subject
from attention_harness.model.case import Case
from attention_harness.options import broken_relations
from attention_harness.registry import mechanisms

Predicate = Callable[[Declaration, Case], bool]

DRAWN = 1_000_000
"""Draws of cases at random begin here; those of the case matrix are far below."""


@dataclass(frozen=True, slots=True)
class Check:
    """A named question about an implementation on a case.

    measure       the function that answers it
    conditions    where the question makes sense, all of which hold
    sampled       where the suite judges it: many cases would say the same again. Cases drawn at random are all judged.
    other_cases   what it judges beside the subject's case; the implementation must take these too
    large         whether it can be judged where the scores are never there as a whole
    wide          whether the suite judges it, too, on a row whose tensors are very large
    codes         whether it can be judged where tensors are codes with scales, of which no others can be made
    by_chance     whether the order in which threads run decides too: that it passes refutes no explanation
    """

    name: str
    measure: Callable[[Subject], Judgement]
    conditions: tuple[Predicate, ...] = ()
    sampled: Callable[[Case], bool] = lambda case: True
    other_cases: tuple[Callable[[Case], Case], ...] = ()
    large: bool = False
    wide: bool = False
    codes: bool = False
    by_chance: bool = False

    def __post_init__(self) -> None:
        if not self.summary:
            raise ValueError(f"the check {self.name!r} has no docstring: its first paragraph is the summary in lists")

    @property
    def summary(self) -> str:
        """What is judged: the first paragraph of the function's docstring."""
        return " ".join((self.measure.__doc__ or "").split("\n\n")[0].split())

    def holds(self, implementation: Declaration, case: Case) -> bool:
        """Return whether the question makes sense, and the implementation takes all that it needs."""
        if not (self.codes or inputs.codes(case) is None):
            return False
        if not all(condition(implementation, case) for condition in self.conditions):
            return False
        if self.name.removeprefix("relation.") in broken(case):
            return False
        return not any(implementation.refuses(other(case)) for other in self.other_cases)

    def applies(self, implementation: Declaration, case: Case) -> bool:
        """Return whether the suite judges it on a case."""
        return (case.draw >= DRAWN or self.sampled(case)) and self.holds(implementation, case)

    def too_large(self, case: Case) -> str:
        """Return why it cannot be judged on a problem of this size, or ""."""
        return "" if self.large else size.in_one_piece(case)

    def judge(self, subject: Subject) -> Judgement:
        """Return the judgement; what came back in a wrong form is refused."""
        try:
            return self.measure(subject)
        except WrongForm as wrong:
            return Judgement.refuse(str(wrong))


def check(name: str, *conditions: Predicate, **more: Any) -> Callable[[Callable[[Subject], Judgement]], Check]:
    """Return the decorator that makes a check of a function; the arguments are the fields of `Check`."""
    return lambda measure: Check(name, measure, conditions, **more)


def broken(case: Case) -> set[str]:
    """Return the names of the relations that do not hold for a case's formula, or under its options and choices."""
    algebra = mechanisms()[case.mechanism].algebra
    by_choice = {name for value in case.options.values() for name in algebra.breaks.get(str(value), ())}
    return by_choice | set(algebra.lacks) | set(broken_relations(case))


def quantises_nothing(implementation: Declaration, case: Case) -> bool:
    """Return whether no scale of codes is made inside: a group's scale depends on all its numbers, hidden ones too."""
    return not implementation.capabilities.arithmetic.quantised


def of_mechanism(name: str) -> Predicate:
    """Return the predicate that a case's mechanism declares this check: it holds for its formula, not for every one.

    A mechanism that leaves its score to a choice (`score=cosine`) has the checks of the mechanism that is chosen.
    """

    def declares(implementation: Declaration, case: Case) -> bool:
        known = mechanisms()
        chosen = (case.options[choice] for choice in known[case.mechanism].choices)
        return any(name in known[each].algebra.checks for each in (case.mechanism, *chosen) if each in known)

    return declares


def declared_in(package: ModuleType) -> tuple[Check, ...]:
    """Return the checks that a package's modules declare: files in alphabetical order, then folders likewise."""
    found: dict[str, Check] = {}
    for module in _modules(package):
        for value in vars(module).values():
            if isinstance(value, Check) and value.measure.__module__ == module.__name__:
                if value.name in found:
                    raise ValueError(f"{module.__name__} declares the check {value.name!r}, which exists already")
                found[value.name] = value
    return tuple(found.values())


def _modules(package: ModuleType) -> Iterator[ModuleType]:
    for info in sorted(pkgutil.iter_modules(package.__path__), key=lambda info: (info.ispkg, info.name)):
        module = importlib.import_module(f"{package.__name__}.{info.name}")
        if info.ispkg:
            yield from _modules(module)
        else:
            yield module
