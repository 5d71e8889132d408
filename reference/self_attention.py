"""Self-attention: query, key and value are one sequence, with or without positions added."""

from typing import Any

from attention_harness.reference.positional_encoding import exact_encoding, positional_encoding
from attention_harness.reference.scalars import Scalars
from attention_harness.reference.scaled_dot_product import scaled_dot_product
from attention_harness.reference.specification import ATTENTION, Mechanism, Work, tensor


def self_attention(sequence: Any, *, positions: str, **visibility: Any) -> tuple[Any, Any]:
    r"""$$O = \operatorname{softmax}\left(\frac{Z Z^\top}{\sqrt{E}}\right) Z, \quad Z = X \text{ or } X + P$$

    Shapes: sequence (B, L, E) -> output (B, L, E), weights (B, L, L). positions: "none", or "sinusoidal" to add
    the encoding P first; another raises ValueError. Without positions, permuting the sequence permutes the output; with
    them it does not.
    Fully masked rows: a position that sees no position has zero weights and zero output.
    Source: notes 001, 003 and 004: Q = K = V; note 004 for the positions.
    """
    if positions not in ("none", "sinusoidal"):
        raise ValueError(f"unknown positions {positions!r}; known: none, sinusoidal")
    if positions == "sinusoidal":
        sequence, _ = positional_encoding(sequence)
    return scaled_dot_product(sequence, sequence, sequence, **visibility)


def _exact(s: Scalars) -> tuple[Any, Any]:
    """Return output and weights at 50 digits."""
    z = exact_encoding(s) if s.o["positions"] == "sinusoidal" else s.x["sequence"]
    return s.attend(s.scaled(z.shape[-1]), z, z, z)


MECHANISM = Mechanism(
    name="self_attention",
    evaluate=self_attention,
    exact=_exact,
    work=lambda sizes, pairs: Work(4 * pairs * sizes["E"]),
    inputs=(tensor("sequence", "B L E", "the one sequence that is query, key and value"),),
    output=("B", "L", "E"),
    scores=("B", "L", "L"),
    source="notes 001, 003 and 004",
    checks=("relation.sharp_scores",),
    options=ATTENTION,
    choices={"positions": ("none", "sinusoidal")},
)
