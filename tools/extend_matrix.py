"""Append to the case matrix what the mechanisms, options, levels and dtypes of today ask for.

    python tools/extend_matrix.py

Rows are found greedily: each starts from the first item that is missing and takes, factor by factor, the level that
covers most of what is missing besides. Nothing is drawn by chance, and no line of a list is changed.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from attention_harness.benchmark.workloads import WORKLOADS
from attention_harness.cases.anchors import anchors
from attention_harness.cases.coverage import Coverage, Item, shows
from attention_harness.cases.distributions import DISTRIBUTIONS
from attention_harness.cases.ids import parse
from attention_harness.cases.matrix import LIST, TIERS, listed, matrix, row
from attention_harness.cases.problems import LIST as PROBLEMS
from attention_harness.cases.problems import problems
from attention_harness.cases.rows import LIST as ROWS
from attention_harness.cases.rows import rows
from attention_harness.cases.space import PLAIN, Variant, go_together
from attention_harness.model.case import Case
from attention_harness.options import OPTIONS, required

sys.path.insert(0, str(Path(__file__).parents[1]))
from tools.covering import further as rows_to_add

_SHORT, _FEW = 17, 2  # queries and keys, and batch elements, of a workload that is asked of everybody
_TURNS = 6  # orders of the factors that are tried for each row


def further(tier: str, cases: Sequence[Case]) -> Iterator[Case]:
    """Yield the cases to add to these, so that the tier covers every pair of levels."""
    present = set(cases)
    for anchor in anchors(tier):
        if anchor not in present:
            present.add(anchor)
            yield anchor
    coverage = Coverage(tier)
    missing = coverage.missing(present)
    while missing:
        case = _best(coverage, missing)
        covered = coverage.covered(case) & missing.keys()
        if not covered:
            raise AssertionError(f"{case.id} covers nothing of {sorted(map(str, next(iter(missing))))}")
        for item in covered:
            del missing[item]
        yield case


def _best(coverage: Coverage, missing: dict[Item, None]) -> Case:
    """Return the case that covers the first missing item and most of the others."""
    first = dict(next(iter(missing)))
    found: list[tuple[int, Case]] = []
    for variant in _variants(coverage, first):
        for turn in range(_TURNS):
            case = _row(coverage, missing, variant, first, turn)
            if case is not None:
                found.append((len(coverage.covered(case) & missing.keys()), case))
    if not found:
        raise ValueError(f"no case has {first} and a query that sees two keys: choose other levels")
    return max(found, key=lambda pair: pair[0])[1]


def _variants(coverage: Coverage, first: dict[str, Any]) -> list[Variant]:
    """Return the variants that know these levels."""
    return [
        variant
        for name, variant in coverage.variants.items()
        if first.get("variant", name) == name
        and first.get("mechanism", variant.mechanism.name) == variant.mechanism.name
        and first.get("capability", "") in ("", *variant.mechanism.options)
        and all(level in coverage.known[name, f] for f, level in first.items() if f in coverage.factors)
    ]


def _row(
    coverage: Coverage, missing: dict[Item, None], variant: Variant, first: dict[str, Any], turn: int
) -> Case | None:
    """Return a case of a variant with the first item; None where these levels do not go together."""
    levels = {factor: level for factor, level in first.items() if factor in coverage.factors}
    if "capability" in first:
        levels |= _levels_of(coverage, variant, first["capability"])
    order = [factor for factor in coverage.factors if factor not in levels]
    order = order[turn % max(len(order), 1) :] + order[: turn % max(len(order), 1)]
    for factor in order:
        fitting = [one for one in coverage.known[variant.name, factor] if _fits(variant, levels | {factor: one}, first)]
        if not fitting:
            return None
        gained = [sum(i in missing for i in coverage.gained(variant.name, levels, factor, one)) for one in fitting]
        levels[factor] = fitting[gained.index(max(gained))]
    return variant.case(levels)


def _levels_of(coverage: Coverage, variant: Variant, capability: str) -> dict[str, Any]:
    """Return a level with which a case needs a capability."""
    for factor in coverage.factors:
        for level in coverage.known[variant.name, factor]:
            if capability in required(variant.plain(**{factor: level})):
                return {factor: level}
    return {}


def _fits(variant: Variant, levels: dict[str, Any], first: dict[str, Any]) -> bool:
    """Whether levels go together, and some query sees two keys: else only what is about lengths would show."""
    if "lengths" not in levels:
        return True
    if "dtype" in levels and not go_together(levels["lengths"], levels["dtype"]):
        return False
    sizes = variant.sizes(PLAIN | levels)
    return "lengths" in first or shows(variant.mechanism, sizes, {n: f for n, f in levels.items() if n in OPTIONS})


def problems_to_add() -> list[str]:
    """Return the lines of the workloads that no problem stands for: their widths, heads, groups and options are."""
    found: dict[Case, list[str]] = {}
    for workload in WORKLOADS:
        case = parse(workload.case)
        if case.content in DISTRIBUTIONS:  # a recording is a case of the matrix itself
            found.setdefault(shortened(case), []).append(workload.name)
    return [f"{case.id}  # {', '.join(names)}\n" for case, names in found.items() if case not in problems()]


def shortened(case: Case) -> Case:
    """Return a workload with few batch elements, and with lengths past one tile of 16; which one is longer stays."""
    most = dict.fromkeys(("Lq", "Lk", "L", "P"), _SHORT) | {"B": _FEW}
    sizes = {
        axis: most[axis] + (axis != "B" and length > 64) if length > most.get(axis, length) else length
        for axis, length in case.sizes.items()
    }
    return replace(case, sizes=sizes, dtype="float32", draw=0)


def main() -> int:
    """Append to the lists what every tier and the covering rows lack; print how much that is."""
    lines = [f"{row.line}\n" for row in rows_to_add(rows())]
    with ROWS.open("a") as file:
        file.writelines(lines)
    rows.cache_clear()
    print(f"{len(lines)} covering rows appended to {ROWS.name}")
    lines = problems_to_add()
    with PROBLEMS.open("a") as file:
        file.writelines(lines)
    print(f"{len(lines)} problems of workloads appended to {PROBLEMS.name}")
    for tier in TIERS:
        made = list(further(tier, matrix(tier)))
        with LIST.open("a") as file:
            file.writelines(row(tier, case.id) for case in made)
        listed.cache_clear()
        matrix.cache_clear()
        print(f"{tier}: {len(made)} cases appended to {LIST.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
