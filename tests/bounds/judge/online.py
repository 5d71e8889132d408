"""A correct attention that computes otherwise than the reference: an online softmax.

It takes scores that are finished but for the softmax, values and what is visible, all torch tensors, and returns the
output; `implementation` makes an implementation of it for the pairwise mechanisms.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import torch

from attention_harness import Arithmetic, Capabilities, registry
from attention_harness.implementations import _eager_options, eager

Attend = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


def _wide(x: torch.Tensor) -> torch.Tensor:
    return x if x.dtype == torch.float64 else x.float()


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


FUSED = Arithmetic(rounded_scores=True, stored_probabilities=False)


def implementation(name: str, attend: Attend, arithmetic: Arithmetic) -> registry.Implementation:
    """Return an implementation of every mechanism whose last step is this attention, built on the eager scores."""

    def whole(scores, value, *, mask=None, bias=None, valid_lens=None, causal=None, softcap=None, window=None, **more):
        segments = more.get("segments")
        if segments is not None:
            mask = _eager_options.within_segments(mask, scores, segments)
        cache_lens = more.get("cache_lens")
        if cache_lens is not None:
            mask = _eager_options.within_cache(mask, scores, cache_lens)
        if window is not None:
            mask = _eager_options.windowed(mask, scores, window, causal, segments, cache_lens)
        if softcap is not None:
            scores = softcap * (scores / softcap).tanh()
        finished = scores if bias is None else scores + bias.masked_fill(bias == -math.inf, 0.0)
        visible = _eager_options.visible_keys(scores, mask, bias, valid_lens, causal, segments, cache_lens)
        visible = torch.ones_like(scores, dtype=torch.bool) if visible is None else visible.expand(scores.shape)
        return attend(finished, value, visible), None

    module = ModuleType(name)
    module.__dict__.update({k: v for k, v in vars(eager).items() if not k.startswith("__")})
    exec(compile(Path(eager.__file__).read_text(), f"<eager with {name}>", "exec"), module.__dict__)
    module.attend = whole
    without = ("masked_softmax", "positional_encoding", "rotary_embedding", "linear_attention")  # they weigh no values
    without += ("differential_attention",)  # it sums them by the difference of two softmaxes, in no such step
    mechanisms = tuple(m for m in eager.CAPABILITIES.mechanisms if m not in without)
    module.CAPABILITIES = Capabilities(
        mechanisms=mechanisms,
        dtypes=eager.CAPABILITIES.dtypes,
        options=tuple(one for one in eager.CAPABILITIES.options if one != "lse"),  # it returns the output alone
        arithmetic=arithmetic,
    )
    made = module.prepare
    module.prepare = lambda case: lambda **tensors: made(case)(**tensors)[0]
    return registry.Implementation(name, module, Path(eager.__file__))
