"""Sinusoidal positional encoding, added to a sequence."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attention_harness.reference.algebra import Algebra
from attention_harness.reference.core import computed
from attention_harness.reference.scalars import Scalars, table
from attention_harness.reference.specification import Erratum, Mechanism, Work, tensor

BASE = 10000.0
"""The default base of the wavelengths."""
_ROUNDINGS_OF_EXPONENT = 3
"""In exp(-2i (ln(base)/E)) of logarithm, quotient and product, in pow(base, -2i/E) of the quotient."""
_ROUNDINGS_OF_POWER = 3
"""Of the power itself, which an exponential or its reciprocal gives."""


def positional_encoding(sequence: Any, *, base: float = BASE, first_position: float = 0) -> tuple[Any, None]:
    r"""$$Y = X + P, \quad P_{t,2i} = \sin\frac{t_0 + t}{b^{2i/E}}, \quad P_{t,2i+1} = \cos\frac{t_0 + t}{b^{2i/E}}$$

    Shapes: sequence (B, L, E) -> (B, L, E). E may be odd: the last column is then a sine without its cosine.
    base: b, 10,000 in the note. first_position: t_0, the position of the first element, 0 in the note.
    Fully masked rows: none; there are no scores.
    Source: note 004, `PositionalEncoding`; Vaswani et al. 2017, section 3.5.
    """
    length, width = sequence.shape[-2:]
    column = np.arange(width)
    exponent = 2 * (column // 2) / max(width, 1)
    angle = rates(exponent, base, sequence) * (first_position + np.arange(length, dtype=np.float64))[:, None]
    even = (column % 2 == 0).astype(np.float64)
    return sequence + (np.sin(angle) * even + np.cos(angle) * (1 - even)), None


def rates(exponent: NDArray[np.float64], base: float, like: Any) -> Any:
    """Return base^-exponent, radians a position, as every implementation computes it for itself."""
    # A relative error of the exponent is one of the rate, times the logarithm: d(b^-x) = -x ln(b) b^-x dx/x.
    roundings = _ROUNDINGS_OF_EXPONENT * exponent * math.log(base) + _ROUNDINGS_OF_POWER
    return computed(base**-exponent, like, roundings)


def _exact(s: Scalars) -> tuple[Any, None]:
    """Return the output at 50 digits."""
    return exact_encoding(s), None


def exact_encoding(s: Scalars) -> Any:
    """Return the sequence plus its encoding at 50 digits."""
    sequence = s.x["sequence"]
    width = sequence.shape[-1]

    def entry(b: int, t: int, c: int) -> Any:
        angle = (s.o.get("first_position", 0) + t) / s.mp.power(s.o.get("base", 10000), s.mp.mpf(c - c % 2) / width)
        return sequence[b, t, c] + (s.mp.cos(angle) if c % 2 else s.mp.sin(angle))

    return table(sequence.shape, entry)


MECHANISM = Mechanism(
    name="positional_encoding",
    evaluate=positional_encoding,
    exact=_exact,
    work=lambda sizes, pairs: Work(),
    inputs=(tensor("sequence", "B L E", "one embedding for each position"),),
    output=("B", "L", "E"),
    scores=(),
    kind="positions",
    steps=("Y = X + P",),
    source="note 004",
    options=("base", "first_position"),
    algebra=Algebra(checks=("relation.position_distance",), linear=""),
    errata=(
        Erratum(
            source="note 004, PositionalEncoding",
            says="P[:, :, 1::2] = cos(X) with X of ceil(num_hiddens / 2) columns",
            right="the cosine half of an odd width has one column fewer; as written an odd num_hiddens raises",
            shown_by="tests/reference/test_errata.py::test_the_encoding_of_the_note_raises_for_an_odd_width",
        ),
        Erratum(
            source="note 004, PositionalEncoding",
            says="P has max_len = 1000 rows, and X + P[:, :X.shape[1]]",
            right="the encoding is defined for every position; as written longer inputs raise",
            shown_by="tests/reference/test_errata.py::test_the_encoding_of_the_note_raises_beyond_max_len",
        ),
    ),
)
