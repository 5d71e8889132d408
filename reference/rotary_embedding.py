"""Rotary position embedding: pairs of features are rotated by an angle that grows with the position."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from attention_harness.reference.algebra import Algebra
from attention_harness.reference.positional_encoding import BASE, rates
from attention_harness.reference.scalars import Scalars, table
from attention_harness.reference.specification import Mechanism, Work, tensor


def rotary_embedding(
    sequence: Any,
    *,
    pairing: str = "half",
    base: float = BASE,
    first_position: float = 0,
    partial_rotary_factor: float = 1.0,
) -> tuple[Any, None]:
    r"""$$y_a = x_a \cos\theta - x_b \sin\theta, \quad y_b = x_a \sin\theta + x_b \cos\theta, \quad
    \theta = (t_0 + t) \, b^{-j/n}$$

    Shapes: sequence (B, H, L, D) -> (B, H, L, D): the queries or the keys of attention, before their products.
    partial_rotary_factor: f. r = floor(f D/2) pairs of features, j = 0 ... r - 1, are rotated; f D is of float64. The
    other features stay as they are, among them the last one of an odd D.
    pairing: which features (a, b) are pair j. "half": (j, j + r), and n = r. "interleaved": (2j, 2j + 1), and n = r.
    "proportional": (j, j + floor(D/2)), and n = floor(D/2), so that the pairs left out are those with the lowest rates;
    with f = 1 that is "half".
    base: b. first_position: t_0, the position of the first element. The product of a query and a key that are both
    rotated depends on the distance of their positions alone.
    Fully masked rows: none; there are no scores.
    Source: beyond the notes. "interleaved": Su et al. 2021, RoFormer, eq. 34. "half": GPT-NeoX, and Llama in
    transformers. "proportional": Gemma 4, transformers' rope type of that name. ONNX RotaryEmbedding-23 has the first
    two.
    """
    partner, pair_index, sign, denominator = _pairs(sequence.shape[-1], pairing, partial_rotary_factor)
    rotated = np.abs(sign)
    rate = rates(pair_index / max(denominator, 1), base, sequence)
    angle = rate * (first_position + np.arange(sequence.shape[-2], dtype=np.float64))[:, None]
    return sequence * (np.cos(angle) * rotated + (1 - rotated)) + sequence[..., partner] * (np.sin(angle) * sign), None


def _pairs(width: int, pairing: str, factor: float) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], int]:
    """Return for each feature its partner, its pair's j and the sine's sign, 0 where it stays as it is; and n."""
    pair = np.arange(int(factor * width) // 2)
    denominator = width // 2 if pairing == "proportional" else len(pair)
    first, second = (2 * pair, 2 * pair + 1) if pairing == "interleaved" else (pair, pair + denominator)
    partner, pair_index, sign = np.arange(width), np.zeros(width), np.zeros(width)
    partner[first], partner[second] = second, first
    pair_index[first] = pair_index[second] = pair
    sign[first], sign[second] = -1.0, 1.0
    return partner, pair_index, sign, denominator


def _exact(s: Scalars) -> tuple[Any, None]:
    """Return the output at 50 digits."""
    return exact_rotation(s, s.x["sequence"], s.o.get("pairing", "half")), None


def exact_rotation(s: Scalars, x: Any, pairing: str) -> Any:
    """Return vectors (..., L, D), rotated by their positions, at 50 digits."""
    width = x.shape[-1]
    half, pairs = width // 2, int(width * s.o.get("partial_rotary_factor", 1)) // 2

    def entry(*at: int) -> Any:
        *vector, position, feature = at
        for j in range(pairs):
            a, b = {"half": (j, j + pairs), "interleaved": (2 * j, 2 * j + 1), "proportional": (j, j + half)}[pairing]
            if feature not in (a, b):
                continue
            rate = s.mp.power(s.o.get("base", 10000), -s.mp.mpf(j) / (half if pairing == "proportional" else pairs))
            angle = (s.o.get("first_position", 0) + position) * rate
            x_a, x_b = x[(*vector, position, a)], x[(*vector, position, b)]
            cos, sin = s.mp.cos(angle), s.mp.sin(angle)
            return x_a * cos - x_b * sin if feature == a else x_a * sin + x_b * cos
        return x[at]

    return table(x.shape, entry)


MECHANISM = Mechanism(
    name="rotary_embedding",
    evaluate=rotary_embedding,
    exact=_exact,
    work=lambda sizes, pairs: Work(),
    inputs=(tensor("sequence", "B H L D", "the vectors of each head, one for each position"),),
    output=("B", "H", "L", "D"),
    scores=(),
    kind="positions",
    steps=(r"y_a = x_a \cos\theta - x_b \sin\theta, \quad y_b = x_a \sin\theta + x_b \cos\theta",),
    source="beyond the notes: Su et al. 2021",
    options=("base", "first_position", "interleaved_pairing", "partial_rotary_factor", "proportional_pairing"),
    algebra=Algebra(checks=("relation.rotated_distance",), linear=""),
)
