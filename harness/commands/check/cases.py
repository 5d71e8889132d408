"""Which implementations `check` runs on which cases."""

from __future__ import annotations

import argparse

from attention_harness import registry
from attention_harness.cases.ids import parse
from attention_harness.cases.matrix import matrix
from attention_harness.cases.projection import cases_for
from attention_harness.checks.behaviour.anchor import anchor
from attention_harness.execution import declarations, fuzz
from attention_harness.execution.plan import Item, plan_items, sampler
from attention_harness.model.case import Case
from attention_harness.model.errors import HarnessError
from attention_harness.registry import Declared


def plan(options: argparse.Namespace) -> tuple[list[Declared], list[Item], fuzz.DrawnCases | None]:
    """Return the implementations that the arguments name, the plan of their checks, and the drawn cases of --fuzz."""
    chosen = declarations.select(options.names, options.load)
    drawn = _drawn_cases(options, chosen)
    shared = [case.on(options.device) for case in drawn.numbers] if drawn else _named_cases(options)
    present = set(shared)

    def added(implementation: Declared) -> list[Case]:
        """Return the rows as far as they are declared, and the case of its behaviours."""
        if options.case or options.fuzz:
            return []
        found = [case.on(options.device) for case in cases_for(implementation.capabilities, options.tier)]
        found = [case for case in found if case not in present]
        measured = anchor(implementation).on(options.device)
        found += [measured] if measured not in {*present, *found} else []
        return [case for case in found if not options.mechanism or case.mechanism in options.mechanism]

    sample = sampler(options.sample, options.seed or 0) if options.sample else None
    items = list(plan_items(chosen, shared, added, sample))
    if not items:
        wanted = " or ".join(dict.fromkeys(case.mechanism for case in shared))
        raise HarnessError(f"nothing to check: {', '.join(one.name for one in chosen)} does not declare {wanted}")
    return chosen, items, drawn


def _drawn_cases(options: argparse.Namespace, chosen: list[Declared]) -> fuzz.DrawnCases | None:
    if not options.fuzz:
        if options.seed is not None and not options.sample:
            raise HarnessError("--seed is that of drawn cases: give --fuzz N or --sample N with it")
        return None
    if options.case or options.tier != "default" or options.sample:
        raise HarnessError("--fuzz draws its own cases: give it without --case, --quick, --thorough and --sample")
    which = {"seed": options.seed or 0, "mechanisms": options.mechanism, "device": options.device}
    return fuzz.draw_cases(chosen, options.fuzz, **which)


def _named_cases(options: argparse.Namespace) -> list[Case]:
    if options.case:
        if options.sample:
            raise HarnessError("--case names its cases itself; give --case or --sample, not both")
        if options.mechanism:
            raise HarnessError("--case names its mechanism itself; give --case or --mechanism, not both")
        return [parse(text) for text in options.case]
    wanted = [registry.mechanism(name).name for name in options.mechanism]
    return [case.on(options.device) for case in matrix(options.tier) if not wanted or case.mechanism in wanted]
