"""Other ways to compute the weighted sum, in one pass with the softmax as kernels do, or apart from it."""

from __future__ import annotations

from dataclasses import replace

from attention_harness.model.capabilities import Arithmetic
from attention_harness.mutation.equivalent.rewriting import attend_of, weighted_sum_of, wider
from attention_harness.mutation.equivalent.variant import EquivalentVariant

FUSED = Arithmetic(stored_probabilities=False)
SPLIT = Arithmetic(stored_probabilities=False, split_keys=True)


def _online(block: int) -> EquivalentVariant:
    """One pass over blocks of keys with a running maximum, sum and output (Milakov and Gimelshein 2018)."""
    body = f"""\
peak = s.new_full((*s.shape[:-1], 1), -math.inf)
total, output = torch.zeros_like(peak), s[..., :0] @ v[..., :0, :]
for keys in torch.arange(s.shape[-1]).split({block}) if s.shape[-1] else ():
    part = s[..., keys]
    higher = torch.maximum(peak, part.detach().amax(-1, keepdim=True))
    safe = higher.masked_fill(higher == -math.inf, 0.0)
    shrink, weights = (peak - safe).exp(), (part - safe).exp()
    total, output = total * shrink + weights.sum(-1, keepdim=True), output * shrink + weights @ v[..., keys, :]
    peak = higher
output = output / filled(total)"""
    arithmetic = replace(FUSED, block=min(block, 16))
    return EquivalentVariant(f"online softmax in blocks of {block}", attend_of(body), arithmetic)


def _split(parts: int) -> EquivalentVariant:
    """Each part of the keys on its own, merged through their log-sum-exp (split KV, ring attention)."""
    body = f"""\
outs, sums = [s[..., :0] @ v[..., :0, :]], [s.new_full((*s.shape[:-1], 1), -math.inf)]
for keys in torch.arange(s.shape[-1]).tensor_split({parts}):
    if len(keys):
        part = s[..., keys]
        weights, total = exponentials(part)
        outs.append(weights @ v[..., keys, :] / total)
        sums.append((total.log() + largest(part)).masked_fill((part == -math.inf).all(-1, keepdim=True), -math.inf))
sums = torch.stack(sums)
peak = sums.detach().amax(0)
shares = (sums - peak.masked_fill(peak == -math.inf, 0.0)).exp()
output = (shares * torch.stack(outs)).sum(0) / filled(shares.sum(0))"""
    return EquivalentVariant(f"keys in {parts} parts, merged by log-sum-exp", attend_of(body), SPLIT)


VARIANTS = (
    EquivalentVariant(
        "divided last", attend_of("weights, total = exponentials(s)\noutput = weights @ v / total"), FUSED
    ),
    EquivalentVariant(
        "base two, divided last",
        attend_of(
            "s = s * math.log2(math.e)\nweights = (s - largest(s)).exp2()\noutput = weights @ v / filled(weights.sum(-1, keepdim=True))"
        ),
        FUSED,
    ),
    EquivalentVariant(
        "keys backwards",
        attend_of("weights, total = exponentials(s.flip(-1))\noutput = weights @ v.flip(-2) / total"),
        FUSED,
    ),
    EquivalentVariant(
        "keys out of order",
        attend_of(
            "order = torch.cat([torch.arange(s.shape[-1])[::2], torch.arange(s.shape[-1])[1::2]])\nweights, total = exponentials(s[..., order])\noutput = weights @ v[..., order, :] / total"
        ),
        FUSED,
    ),
    EquivalentVariant(
        "keys padded to a multiple of 16",
        attend_of(
            "pad = -s.shape[-1] % 16\nweights, total = exponentials(torch.nn.functional.pad(s, (0, pad), value=-math.inf))\noutput = weights @ torch.nn.functional.pad(v, (0, 0, 0, pad)) / total"
        ),
        FUSED,
    ),
    EquivalentVariant(
        "key after key",
        attend_of(
            "weights, total = exponentials(s)\nweights, output = weights / total, s[..., :0] @ v[..., :0, :]\nfor key in range(s.shape[-1]):\n    output = output + weights[..., key : key + 1] * v[..., key : key + 1, :]"
        ),
        FUSED,
    ),
    EquivalentVariant(
        "compensated sum",
        attend_of(
            "weights, total = exponentials(s)\noutput = lost = s[..., :0] @ v[..., :0, :]\nfor key in range(s.shape[-1]):\n    term = weights[..., key : key + 1] * v[..., key : key + 1, :] - lost\n    grown = output + term\n    output, lost = grown, ((grown - output) - term).detach()\noutput = output / total"
        ),
        FUSED,
    ),
    EquivalentVariant(
        "all in float64",
        attend_of("weights, total = exponentials(s.double())\noutput = weights @ v.double() / total"),
        FUSED,
    ),
    EquivalentVariant(
        "log domain",
        attend_of("_, total = exponentials(s)\noutput = (s - (largest(s) + total.log())).exp() @ v"),
        SPLIT,
    ),
    *(_online(block) for block in (1, 8, 16, 64)),
    *(_split(parts) for parts in (2, 3, 5)),
    EquivalentVariant(
        "value columns one by one",
        weighted_sum_of(wider("torch.cat([a @ column for column in b.split(1, -1)], -1)", "weights", "value")),
    ),
    EquivalentVariant("sum by einsum", weighted_sum_of('torch.einsum("...ij,...jd->...id", weights, value)')),
    EquivalentVariant("sum as the transposed product", weighted_sum_of("(value.mT @ weights.mT).mT")),
    EquivalentVariant(
        "sum by blocks of queries",
        weighted_sum_of(wider("torch.cat([part @ b for part in a.split(4, -2)], -2)", "weights", "value")),
    ),
    EquivalentVariant(
        "sum in a loop over the batch",
        weighted_sum_of("(torch.stack([w @ v for w, v in zip(weights, value)]) if len(value) else weights @ value)"),
    ),
)
