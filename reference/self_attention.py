"""Self-attention: query, key and value are one sequence, with or without positions added."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from attention_harness.reference.algebra import SIDE, Algebra, Decided, Fetched, Patterns
from attention_harness.reference.core import normalise_rms
from attention_harness.reference.positional_encoding import exact_encoding, positional_encoding
from attention_harness.reference.rotary_embedding import exact_rotation, rotary_embedding
from attention_harness.reference.scalars import Scalars
from attention_harness.reference.scaled_dot_product import EPSILON, exact_norm, scaled_dot_product
from attention_harness.reference.specification import (
    ATTENTION,
    WEIGHTS,
    Mechanism,
    Work,
    tensor,
)


def self_attention(
    sequence: Any,
    *,
    positions: str,
    rotary: str | None = None,
    query_key_norm: Any = None,
    rotated_query_key_norm: Any = None,
    **visibility: Any,
) -> tuple[Any, Any]:
    r"""$$O = \operatorname{softmax}\left(\frac{R(Z) R(Z)^\top}{\sqrt{E}}\right) Z, \quad Z = X \text{ or } X + P$$

    Shapes: sequence (B, L, E) -> output (B, L, E), weights (B, L, L). positions: "none", or "sinusoidal" to add
    the encoding P first; another raises ValueError. rotary: the pairing of the rotary embedding R of queries and keys;
    without it R is the identity. query_key_norm (2, E): weights of queries and keys, which are normalised before R as
    scaled dot products have it; by rotated_query_key_norm after it. Without positions, permuting the sequence permutes
    the output; with them it does not.
    Fully masked rows: a position that sees no position has zero weights and zero output.
    Source: notes 001, 003 and 004: Q = K = V; note 004 for the positions that are added; Su et al. 2021 for R.
    """
    if positions not in ("none", "sinusoidal"):
        raise ValueError(f"unknown positions {positions!r}; known: none, sinusoidal")
    if positions == "sinusoidal":
        sequence, _ = positional_encoding(sequence)

    def rotated(x: Any) -> Any:
        return x if rotary is None else rotary_embedding(x, pairing=rotary)[0]

    if query_key_norm is None:
        query = key = rotated(sequence)
    else:
        query, key = (rotated(normalise_rms(sequence, query_key_norm[row], EPSILON)) for row in (0, 1))
    return scaled_dot_product(query, key, sequence, query_key_norm=rotated_query_key_norm, **visibility)


def _exact(s: Scalars) -> tuple[Any, Any]:
    """Return output and weights at 50 digits."""
    z = exact_encoding(s) if s.o["positions"] == "sinusoidal" else s.x["sequence"]
    query, key = (_exact_vectors(s, z, row) for row in (0, 1))
    return s.attend(s.scaled(z.shape[-1]), query, key, z)


def _exact_vectors(s: Scalars, x: Any, row: int) -> Any:
    """Return the queries (row 0) or keys (row 1) at 50 digits: normalised, rotated, normalised, as far as asked."""
    if "query_key_norm" in s.o:
        x = exact_norm(s, x, s.o["query_key_norm"][row])
    if "rotary" in s.o:
        x = exact_rotation(s, x, s.o["rotary"])
    return exact_norm(s, x, s.o["rotated_query_key_norm"][row]) if "rotated_query_key_norm" in s.o else x


_BY_POSITION = frozenset(
    {"permuted_keys", "permuted_queries", "hull", "one_key", "equal_keys", "sharp_scores"}
)  # what a key gives is known before positions are added to it


def _decided(p: Patterns, options: Mapping[str, Any]) -> Decided | None:
    """Return a sequence that spells its positions: each is nearest to itself."""
    width, places = p.sizes["E"], np.arange(p.queries)
    if width < p.bits:
        return None
    return Decided({"sequence": p.code("sequence", places)}, places, 2 * SIDE**2 * width**-0.5)


MECHANISM = Mechanism(
    name="self_attention",
    evaluate=self_attention,
    exact=_exact,
    work=lambda sizes, pairs: Work(4 * pairs * sizes["E"]),
    inputs=(tensor("sequence", "B L E", "the one sequence that is query, key and value"),),
    output=("B", "L", "E"),
    scores=("B", "L", "L"),
    kind="layers",
    steps=(
        r"S = \frac{R(Z) R(Z)^\top}{\sqrt{E}}",
        WEIGHTS,
        r"O = P\, Z",
    ),
    source="notes 001, 003 and 004; Su et al. 2021 for rotary positions",
    algebra=Algebra(
        breaks={"sinusoidal": _BY_POSITION},
        linear="",
        fetched=lambda x, sizes: Fetched(x["sequence"][:, None, None]),
        decided=_decided,
    ),
    options=(*ATTENTION, "query_key_norm", "rotary_half", "rotary_interleaved", "rotated_query_key_norm"),
    choices={"positions": ("none", "sinusoidal")},
)
