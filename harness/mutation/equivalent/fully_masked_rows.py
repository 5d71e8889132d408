"""Other rules for rows that see no key, each declared."""

from __future__ import annotations

from attention_harness.mutation.equivalent.variant import EquivalentVariant

_ZERO = (
    "scores = scores.masked_fill(~visible, -math.inf).masked_fill(empty, 0.0)\n"
    "    return scores.softmax(-1).masked_fill(empty, 0.0)"
)

VARIANTS = (
    EquivalentVariant(
        "fully masked rows are the mean, as declared",
        ((_ZERO, _ZERO.replace(".softmax(-1).masked_fill(empty, 0.0)", ".softmax(-1)")),),
        fully_masked_rows="mean",
    ),
    EquivalentVariant(
        "fully masked rows are NaN, as declared",
        ((_ZERO, "return (scores + scores.new_zeros(()).masked_fill(~visible, -math.inf)).softmax(-1)"),),
        fully_masked_rows="nan",
    ),
)
