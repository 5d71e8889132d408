"""Nadaraya-Watson regression: the score is the log of a Gaussian kernel with a learnable inverse bandwidth."""

import math
from typing import Any

import numpy as np

from attention_harness.reference.algebra import Algebra
from attention_harness.reference.core import attend
from attention_harness.reference.scalars import Scalars
from attention_harness.reference.specification import (
    ATTENTION,
    BY_HEAD,
    SUM,
    WEIGHTS,
    Erratum,
    Example,
    Mechanism,
    parameter,
    product_and_sum,
    tensor,
)

_FAR, _NEAR = math.exp(-18), math.exp(-0.5)
_TOTAL = _FAR + 2 * _NEAR


def gaussian_kernel(query: Any, key: Any, value: Any, w: Any, **visibility: Any) -> tuple[Any, Any]:
    r"""$$O = \operatorname{softmax}(S)\, V, \quad S_{ij} = -\tfrac12 \lVert w\,(q_i - k_j) \rVert^2$$

    Shapes: query (B, H, Lq, D); key (B, H, Lk, D); value (B, H, Lk, Dv); w (1) -> output (B, H, Lq, Dv), weights
    (B, H, Lq, Lk). The notes' scalar form is D = Dv = 1; w = 1 is the kernel without bandwidth.
    Fully masked rows: a query that sees no key has zero weights and zero output.
    Source: note 003, one-dimensional sample; note 004, `NWKernelRegression`.
    """
    difference = w * (query[..., :, None, :] - key[..., None, :, :])
    return attend((difference * difference).sum(-1) * -0.5, value, **visibility)


def _exact(s: Scalars) -> tuple[Any, Any]:
    """Return output and weights at 50 digits."""
    return s.pairwise(lambda q, k: -s.mp.fsum((s.x["w"][0] * (a - b)) ** 2 for a, b in zip(q, k, strict=True)) / 2)


MECHANISM = Mechanism(
    name="gaussian_kernel",
    evaluate=gaussian_kernel,
    exact=_exact,
    work=product_and_sum,  # the distance through its expansion
    inputs=(
        tensor("query", "B H Lq D", "where the regression is asked"),
        tensor("key", "B H Lk D", "where it was observed"),
        tensor("value", "B H Lk Dv", "what was observed"),
        parameter("w", "1", "inverse bandwidth"),
    ),
    output=("B", "H", "Lq", "Dv"),
    scores=("B", "H", "Lq", "Lk"),
    features="D",
    kind="scores",
    steps=(
        r"S_{ij} = -\tfrac12 \lVert w\,(q_i - k_j) \rVert^2",
        WEIGHTS,
        SUM,
    ),
    source="notes 003 and 004",
    algebra=Algebra(
        checks=("relation.gaussian_translation", "training"),
        decided=lambda p, options: p.matched("query", "key", 1.0, w=np.ones(1)),  # the distance of two patterns
    ),
    options=(*ATTENTION, *BY_HEAD),
    examples=(
        Example(
            name="waist",
            source="note 003: waist 51, 56, 58 -> weight 40, 43, 48; asked at 57",
            inputs={
                "query": [[[[57]]]],
                "key": [[[[51], [56], [58]]]],
                "value": [[[[40], [43], [48]]]],
                "w": [1],
            },
            scores=[[[[-18, -0.5, -0.5]]]],
            weights=[[[[0, 0.5, 0.5]]]],
            output=[[[[45.5]]]],
            digits=1,
            remark="The note rounds the weight of the far key, exp(-18) over the sum, to 0.",
        ),
        Example(
            name="waist_weights",
            source="note 003: the weights exp(-18), exp(-1/2), exp(-1/2), normalised",
            inputs={
                "query": [[[[57]]]],
                "key": [[[[51], [56], [58]]]],
                "value": [[[[1], [0], [0]]]],
                "w": [1],
            },
            scores=[[[[-18, -0.5, -0.5]]]],
            output=[[[[_FAR / _TOTAL]]]],
            weights=[[[[_FAR / _TOTAL, _NEAR / _TOTAL, _NEAR / _TOTAL]]]],
        ),
    ),
    errata=(
        Erratum(
            source="note 003, one-dimensional sample",
            says="the weight is softmax(1/2 (q - k)^2)",
            right="softmax(-1/2 (q - k)^2), as the numbers below it use: exp(-18), exp(-1/2), exp(-1/2)",
            shown_by="tests/reference/test_errata.py::test_the_kernel_without_its_minus_fetches_the_farthest_key",
        ),
    ),
)
