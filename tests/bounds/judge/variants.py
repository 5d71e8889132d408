"""Correct attentions computed in other ways than the reference: the judge must accuse none of them.

Each takes scores that are finished but for the softmax, values and what is visible, all torch tensors, and returns the
output; `implementation` makes an implementation of it for the pairwise mechanisms.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import torch

from attention_harness import Arithmetic, Capabilities, registry
from attention_harness.implementations import eager

Attend = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


def _wide(x: torch.Tensor) -> torch.Tensor:
    return x if x.dtype == torch.float64 else x.float()


def peak_of(scores: torch.Tensor, visible: torch.Tensor) -> torch.Tensor:
    if scores.shape[-1] == 0:
        return scores.new_zeros(*scores.shape[:-1], 1)
    peak = scores.masked_fill(~visible, -math.inf).amax(-1, keepdim=True)
    return peak.masked_fill(peak == -math.inf, 0.0)


def _exponentials(scores: torch.Tensor, visible: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    peak = peak_of(scores, visible)
    # Masked before the exponential: of a hidden score it may be infinite, and 0 * inf in the gradient is NaN.
    return (scores - peak).masked_fill(~visible, -math.inf).exp(), peak


def divide_last(scores, value, visible):
    """Sum the unnormalised weights' products, divide at the end, as fused kernels do."""
    weights, _ = _exponentials(_wide(scores), visible)
    total = weights.sum(-1, keepdim=True)
    return (weights @ _wide(value) / total.masked_fill(total == 0, 1.0)).to(value.dtype)


def base_two(scores, value, visible):
    """Exponentials of base two, with log2(e) folded into the scores."""
    scaled = _wide(scores) * math.log2(math.e)
    weights = (scaled - peak_of(scaled, visible)).masked_fill(~visible, -math.inf).exp2()
    total = weights.sum(-1, keepdim=True)
    return (weights / total.masked_fill(total == 0, 1.0) @ _wide(value)).to(value.dtype)


def online(scores, value, visible, block=16):
    """One pass over blocks of keys with a running maximum, sum and output (Milakov and Gimelshein 2018)."""
    scores, wide = _wide(scores), _wide(value)
    peak = torch.full_like(scores[..., :1], -math.inf) if scores.shape[-1] else None
    total = torch.zeros_like(scores.sum(-1, keepdim=True))
    out = torch.zeros(*scores.shape[:-1], value.shape[-1], dtype=scores.dtype)
    for start in range(0, scores.shape[-1], block):
        keys = slice(start, start + block)
        seen = visible[..., keys]
        part = scores[..., keys].masked_fill(~seen, -math.inf)
        higher = torch.maximum(peak, part.amax(-1, keepdim=True))
        safe = higher.masked_fill(higher == -math.inf, 0.0)
        shrink = (peak - safe).exp()
        weights = (part - safe).exp()
        total = total * shrink + weights.sum(-1, keepdim=True)
        out = out * shrink + weights @ wide[..., keys, :]
        peak = higher
    return (out / total.masked_fill(total == 0, 1.0)).to(value.dtype)


def split_keys(scores, value, visible, parts=3):
    """Each part of the keys on its own, merged through their log-sum-exp (split KV, ring attention)."""
    scores, wide = _wide(scores), _wide(value)
    keys = scores.shape[-1]
    outs, sums = [], []
    for part in torch.arange(keys).tensor_split(parts):
        weights, peak = _exponentials(scores[..., part], visible[..., part]) if len(part) else (None, None)
        if weights is None:
            continue
        total = weights.sum(-1, keepdim=True)
        outs.append(weights @ wide[..., part, :] / total.masked_fill(total == 0, 1.0))
        sums.append(total.log() + peak)
    if not outs:
        return torch.zeros(*scores.shape[:-1], value.shape[-1], dtype=value.dtype)
    whole = torch.stack(sums).logsumexp(0)
    error_ratio = [(one - whole.masked_fill(whole == -math.inf, 0.0)).exp() for one in sums]
    return sum(out * s for out, s in zip(outs, error_ratio, strict=True)).to(value.dtype)


def keys_backwards(scores, value, visible):
    """The sum over the keys in the opposite order."""
    return divide_last(scores.flip(-1), value.flip(-2), visible.flip(-1))


def one_by_one(scores, value, visible):
    """A loop over the keys, each product added on its own."""
    weights, _ = _exponentials(_wide(scores), visible)
    total = weights.sum(-1, keepdim=True)
    weights = weights / total.masked_fill(total == 0, 1.0)
    out = torch.zeros(*scores.shape[:-1], value.shape[-1], dtype=weights.dtype)
    for key in range(scores.shape[-1]):
        out = out + weights[..., key : key + 1] * _wide(value)[..., key : key + 1, :]
    return out.to(value.dtype)


def stored_weights(scores, value, visible):
    """The weights rounded to the case's dtype before they meet the values, as eager code does."""
    weights, _ = _exponentials(_wide(scores), visible)
    total = weights.sum(-1, keepdim=True)
    return (weights / total.masked_fill(total == 0, 1.0)).to(value.dtype) @ value


def in_double(scores, value, visible):
    """Everything in float64, rounded once."""
    return divide_last(scores.double(), value.double(), visible).to(value.dtype)


def log_softmax(scores, value, visible):
    """Weights as the exponential of a log-softmax."""
    masked = _wide(scores).masked_fill(~visible, -math.inf)
    whole = masked.logsumexp(-1, keepdim=True)
    weights = (masked - whole.masked_fill(whole == -math.inf, 0.0)).exp()
    return (weights @ _wide(value)).to(value.dtype)


FUSED = Arithmetic(rounded_scores=True, stored_probabilities=False)
VARIANTS: dict[str, tuple[Attend, Arithmetic]] = {
    "divide_last": (divide_last, FUSED),
    "base_two": (base_two, FUSED),
    "online": (online, FUSED),
    "split_keys": (split_keys, Arithmetic(stored_probabilities=False, split_keys=True)),
    "keys_backwards": (keys_backwards, FUSED),
    "one_by_one": (one_by_one, FUSED),
    "stored_weights": (stored_weights, Arithmetic()),
    "in_double": (in_double, FUSED),
    "log_softmax": (log_softmax, Arithmetic(stored_probabilities=False, split_keys=True)),
}


def implementation(name: str, attend: Attend, arithmetic: Arithmetic) -> registry.Implementation:
    """Return an implementation of every mechanism whose last step is this attention, built on the eager scores."""

    def whole(scores, value, *, bias=None, **visibility):
        finished = scores if bias is None else scores + bias.masked_fill(bias == -math.inf, 0.0)
        visible = eager.visible_keys(
            scores, visibility.get("mask"), bias, visibility.get("valid_lens"), visibility.get("causal")
        )
        visible = torch.ones_like(scores, dtype=torch.bool) if visible is None else visible.expand(scores.shape)
        return attend(finished, value, visible), None

    own = ModuleType(name)
    own.__dict__.update({k: v for k, v in vars(eager).items() if not k.startswith("__")})
    exec(compile(Path(eager.__file__).read_text(), f"<eager with {name}>", "exec"), own.__dict__)
    own.attend = whole
    mechanisms = tuple(m for m in eager.CAPABILITIES.mechanisms if m not in ("masked_softmax", "positional_encoding"))
    own.CAPABILITIES = Capabilities(
        mechanisms=mechanisms,
        dtypes=eager.CAPABILITIES.dtypes,
        options=eager.CAPABILITIES.options,
        arithmetic=arithmetic,
    )
    made = own.prepare
    own.prepare = lambda case: lambda **tensors: made(case)(**tensors)[0]
    return registry.Implementation(name, own, Path(eager.__file__))
