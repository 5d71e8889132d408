"""Other ways to compute the softmax."""

from __future__ import annotations

from attention_harness.model.capabilities import Arithmetic
from attention_harness.mutation.equivalent.rewriting import softmax_of
from attention_harness.mutation.equivalent.variant import EquivalentVariant

VARIANTS = (
    EquivalentVariant(
        "softmax in float32, rounded once",
        softmax_of(
            "empty = (s == -math.inf).all(-1, keepdim=True)\nweights = torch.nn.functional.softmax(s.masked_fill(empty, 0.0), -1, dtype=s.dtype).masked_fill(empty, 0.0)"
        ),
    ),
    EquivalentVariant(
        "softmax in float64", softmax_of("weights, total = exponentials(s.double())\nweights = weights / total")
    ),
    EquivalentVariant(
        "softmax by exponentials of base two",
        softmax_of(
            "s = s * math.log2(math.e)\nweights = (s - largest(s)).exp2()\nweights = weights / filled(weights.sum(-1, keepdim=True))"
        ),
    ),
    EquivalentVariant(
        "softmax summed key after key",
        softmax_of(
            "weights, _ = exponentials(s)\ntotal = sum(weights.split(1, -1) if s.shape[-1] else (), s.new_zeros(*s.shape[:-1], 1))\nweights = weights / filled(total)"
        ),
    ),
    EquivalentVariant(
        "softmax by a reciprocal",
        softmax_of("weights, total = exponentials(s)\nweights = weights * total.reciprocal()"),
    ),
    EquivalentVariant(
        "softmax in the log domain",
        softmax_of("_, total = exponentials(s)\nweights = (s - (largest(s) + total.log())).exp()"),
        Arithmetic(split_keys=True),
    ),
    EquivalentVariant(
        "softmax of keys out of order",
        softmax_of(
            "order = torch.cat([torch.arange(s.shape[-1])[::2], torch.arange(s.shape[-1])[1::2]])\nweights, total = exponentials(s[..., order])\nweights = (weights / total)[..., order.argsort()]"
        ),
    ),
    EquivalentVariant(
        "softmax of the transposed scores",
        softmax_of(
            "empty = (s == -math.inf).all(-1, keepdim=True)\nweights = s.masked_fill(empty, 0.0).mT.contiguous().softmax(-2).mT.masked_fill(empty, 0.0)"
        ),
    ),
    EquivalentVariant(
        "softmax of keys padded to a multiple of 32",
        softmax_of(
            "padded = torch.nn.functional.pad(s, (0, -s.shape[-1] % 32), value=-math.inf)\nweights, total = exponentials(padded)\nweights = (weights / total)[..., : s.shape[-1]]"
        ),
    ),
)
