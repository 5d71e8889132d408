"""How large a problem may be for what is asked of it: said before anything is allocated.

A check that looks at scores, weights or gradients needs arrays with a number for each pair of query and key, some tens
of them. Up to 2^20 pairs (1,024 queries and keys; times the features, where a pair has some) every check is asked.
Above that the output alone is judged, its error bound computed over blocks of queries: 2^28 pairs are 16,384 of each.
"""

from __future__ import annotations

import functools
import math

from attention_harness.bounds import PAIRS, pairs, splits
from attention_harness.cases import inputs
from attention_harness.model.case import Case
from attention_harness.registry import mechanisms

TENSOR = 2**24
"""Elements of one tensor, 128 MB in float64: drawing it takes four such arrays."""
ALL_PAIRS = 2**29
"""Beyond this the reference alone takes minutes."""
_PAIRS_A_SECOND = 2**20  # of the reference, on a core shared by five: an idle one computes 6 times as many
OUTPUT_ALONE = 2**16
"""Scores, times the features of a pair, beyond which a covering row is judged by its output alone: for time."""
WIDE = 2**18
"""Numbers in all inputs, parameters among them, beyond which a row is judged by what stands for a width: for time."""
ROW = 2 * PAIRS
"""Numbers for one query of every batch and head: the smallest block."""


def is_large(case: Case) -> bool:
    """Whether the scores are too many for one piece, so that error bounds are computed over blocks."""
    return pairs(mechanisms()[case.mechanism], case.sizes) > PAIRS


@functools.lru_cache(maxsize=4096)
def too_large(case: Case) -> str:
    """Return why nothing can be asked of a problem of this size, or ""."""
    known = mechanisms()[case.mechanism]
    largest = max((math.prod(inputs.shape_of(own.axes, case.sizes)), own.name) for own in known.inputs)
    for name, shape in inputs.option_shapes(case).items():
        largest = max(largest, (math.prod(shape), name))
    if largest[0] > TENSOR:
        return f"too large: {largest[1]} has more than {TENSOR:,} elements"
    if not is_large(case):
        return ""
    if not splits(known):
        return f"too large: {known.name} cannot be computed over blocks of queries, and has more than {PAIRS:,} scores"
    count = pairs(known, case.sizes)
    if count > ALL_PAIRS:
        return f"too large: more than {ALL_PAIRS:,} scores, times the features of a pair"
    if count // case.sizes["Lq"] > ROW:
        return (
            f"too large: more than {ROW:,} scores of one query in all batches and heads, times the features of a pair"
        )
    return ""


def needs_one_check(case: Case) -> bool:
    """Return whether a problem has so many scores that the suite judges its output alone."""
    return pairs(mechanisms()[case.mechanism], case.sizes) > OUTPUT_ALONE


def is_wide(case: Case) -> bool:
    """Return whether the tensors of a problem are so large that the suite judges its output and gradients alone."""
    return sum(math.prod(inputs.shape_of(x.axes, case.sizes)) for x in mechanisms()[case.mechanism].inputs) > WIDE


def allowance(case: Case) -> float:
    """Return the seconds that the reference may take: a time limit is the implementation's."""
    return pairs(mechanisms()[case.mechanism], case.sizes) / _PAIRS_A_SECOND if is_large(case) else 0.0


def in_one_piece(case: Case) -> str:
    """Return why a question that needs all scores at once cannot be asked, or ""."""
    return f"needs all scores at once, and there are more than {PAIRS:,}" if is_large(case) else ""
