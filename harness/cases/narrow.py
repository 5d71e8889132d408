"""Cases for a narrow declaration: rows of the thorough list, projected onto what is declared.

The matrix combines options freely, so that a kernel which takes one of them would meet hardly any of its cases. A row
is projected by leaving out the options and the groups of heads that are not declared, and by taking a declared dtype in
place of another one. What pairs the row has among declared levels it keeps, and rows that repeat others are left out.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from dataclasses import replace

from attention_harness.cases.anchors import anchors
from attention_harness.cases.coverage import Coverage, Item
from attention_harness.cases.distributions import DISTRIBUTIONS
from attention_harness.cases.matrix import matrix
from attention_harness.cases.space import SIZED, go_together
from attention_harness.model.capabilities import Capabilities
from attention_harness.model.case import Case
from attention_harness.options import OPTIONS
from attention_harness.registry import mechanisms, refuses


@functools.cache
def cases_for(capabilities: Capabilities, tier: str = "default") -> tuple[Case, ...]:
    """Return the cases that a declaration adds to the tier: none unless the tier mostly passes it by."""
    device = capabilities.devices[0]
    shared = [case for case in matrix(tier) if case.mechanism in capabilities.mechanisms]
    taken = [case for case in shared if not refuses(capabilities, case.on(device))]
    if 2 * len(taken) >= len(shared):
        return ()
    rows = [case for case in _projected(capabilities) if not refuses(capabilities, case.on(device))]
    covering = _covering(rows, "quick" if tier == "quick" else "thorough")
    return tuple(case for case in covering if case not in set(shared))


def _projected(capabilities: Capabilities) -> Iterator[Case]:
    """Yield the drawn rows of the thorough tier as far as they are declared, each once."""
    fixed = set(anchors("default"))
    seen = set()
    for case in matrix("thorough"):
        if case.mechanism in capabilities.mechanisms and case.content in DISTRIBUTIONS and case not in fixed:
            made = _onto(case, capabilities)
            if made is not None and made not in seen:
                seen.add(made)
                yield made


def _onto(case: Case, capabilities: Capabilities) -> Case | None:
    """Return the case with what is declared of it; None where its lengths are too long for a declared dtype."""
    choices = mechanisms()[case.mechanism].choices
    declared = set(capabilities.options)
    options = {
        name: form
        for name, form in case.options.items()
        if name in choices or OPTIONS[name].capability(form) in declared
    }
    sizes = dict(case.sizes)
    for option in OPTIONS.values():
        if option.of_sizes is not None and option.of_sizes(sizes) and not declared & set(option.capabilities):
            sizes["Hk"] = sizes["H"]
    lengths = [length for axis, length in sizes.items() if axis in sum(SIZED["lengths"], ())]
    fitting = [dtype for dtype in capabilities.dtypes if go_together(lengths, dtype)]
    if case.dtype not in fitting:
        if not fitting:
            return None
        case = replace(case, dtype=fitting[case.fingerprint % len(fitting)])
    return replace(case, options=options, sizes=sizes)


def _covering(rows: Iterable[Case], tier: str) -> list[Case]:
    """Return the rows that cover something that none before them does."""
    coverage = Coverage(tier)
    covered: set[Item] = set()
    chosen = []
    for case in rows:
        further = coverage.covered(case) - covered
        if further:
            covered |= further
            chosen.append(case)
    return chosen
