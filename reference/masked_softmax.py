"""The softmax over the visible keys, on its own."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from attention_harness.reference.algebra import LARGE, Algebra, Arrays, Decided, Fetched, Patterns, Sizes
from attention_harness.reference.core import visible_weights
from attention_harness.reference.scalars import Scalars
from attention_harness.reference.specification import (
    BY_HEAD,
    VISIBILITY,
    Erratum,
    Example,
    Mechanism,
    Work,
    spread,
    tensor,
)


def masked_softmax(scores: Any, **visibility: Any) -> tuple[Any, Any]:
    r"""$$P_{ij} = \frac{\exp S_{ij}}{\sum_{j' \in \mathcal{N}(i)} \exp S_{ij'}} \text{ for } j \in \mathcal{N}(i),
    \quad 0 \text{ otherwise}$$

    Shapes: scores (B, H, Lq, Lk) -> the weights, of the same shape. N(i) holds the keys that mask, bias, valid lengths
    and causality all allow.
    Fully masked rows: a query that sees no key has zero weights.
    Source: note 003, `mask_softmax`.
    """
    weights = visible_weights(scores, **visibility)
    return weights, weights


def _exact(s: Scalars) -> tuple[Any, Any]:
    """Return the weights at 50 digits, twice."""
    scores = s.x["scores"]
    weights = s.softmax(lambda *at: scores[at], scores.shape)
    return weights, weights


def _fetched(x: Arrays, sizes: Sizes) -> Fetched:
    """Return that each key gives its own place: the output is the weights."""
    return Fetched(np.eye(sizes["Lk"])[None, None, None])


def _decided(p: Patterns, options: Mapping[str, Any]) -> Decided:
    """Return scores with one large number in each row."""
    return Decided({"scores": p.filled("scores", p.best[:, None] == np.arange(p.keys), LARGE)}, p.best, LARGE)


MECHANISM = Mechanism(
    name="masked_softmax",
    evaluate=masked_softmax,
    exact=_exact,
    work=lambda sizes, pairs: Work(),
    inputs=(tensor("scores", "B H Lq Lk", "one score for each query and key"),),
    output=("B", "H", "Lq", "Lk"),
    scores=("B", "H", "Lq", "Lk"),
    kind="softmax",
    steps=(
        "",
        r"P_{ij} = \frac{\exp S_{ij}}{\sum_{j' \in \mathcal{N}(i)} \exp S_{ij'}}",
        "",
    ),
    source="note 003",
    algebra=Algebra(shifted="scores", linear="", fetched=_fetched, decided=_decided),
    options=(*VISIBILITY, *BY_HEAD),
    examples=(
        Example(
            name="valid_lens",
            source="note 003: scores (2, 2, 4) with lengths [2, 3]; zero scores, so that the weights are known",
            inputs={"scores": np.zeros((2, 1, 2, 4))},
            options={"valid_lens": [2, 3]},
            output=[[[[1 / 2, 1 / 2, 0, 0]] * 2], [[[1 / 3, 1 / 3, 1 / 3, 0]] * 2]],
        ),
        Example(
            name="valid_lens_per_query",
            source="note 003: scores (2, 2, 4) with lengths [[1, 3], [2, 4]]; zero scores",
            inputs={"scores": np.zeros((2, 1, 2, 4))},
            options={"valid_lens": [[1, 3], [2, 4]]},
            output=[
                [[[1, 0, 0, 0], [1 / 3, 1 / 3, 1 / 3, 0]]],
                [[[1 / 2, 1 / 2, 0, 0], [1 / 4, 1 / 4, 1 / 4, 1 / 4]]],
            ],
        ),
        Example(
            name="spread_scores",
            source="note 003: scores (2, 2, 4), no lengths: an ordinary softmax of the same shape",
            inputs={"scores": spread(2, 1, 2, 4)},
            shapes={"output": (2, 1, 2, 4)},
        ),
    ),
    errata=(
        Erratum(
            source="note 003, mask_softmax",
            says="masked scores are filled with -1e6",
            right="they are left out: a finite fill is wrong where kept scores lie below it (they lose to the fill)",
            shown_by="tests/reference/test_errata.py::test_a_finite_fill_loses_kept_scores_below_it",
        ),
        Erratum(
            source="note 003, mask_softmax",
            says="a length of 0 fills the whole row with -1e6, whose softmax is uniform: the mean of V",
            right="a row that sees no key has zero weights",
            shown_by="tests/reference/test_errata.py::test_a_length_of_zero_gives_the_mean_in_the_note_and_zero_here",
        ),
    ),
)
