"""Each mechanism on the best primitive that torch has for it on a processor.

- Products of queries and keys go to torch's fused attention, with as few masks as can be.
- The Gaussian kernel goes there as well, by an expansion of its square, where that loses nothing.
- Sums of tanh over pairs are streamed: compiled loops that hold no tensor of (Lq, Lk, hidden).
- Soft caps, sinks and log-sum-exps, which fused attention lacks, go block by block of queries.
- Linear attention goes chunk by chunk; positions come from tables that are kept.
"""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, Any

from attention_harness import Arithmetic, Capabilities
from attention_harness.implementations import eager
from attention_harness.implementations._fused_small import is_small, output_of, unfused, wide
from attention_harness.implementations._upstream import onednn_tails

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from attention_harness import Case
    from attention_harness.implementations._fused_visibility import Visibility

_OF_NOTES = (
    *("dot_product", "scaled_dot_product", "cosine", "additive", "concat_tanh", "tanh_gated", "gaussian_kernel"),
    *("projected", "multi_head", "self_attention", "cross_attention"),
)
CAPABILITIES = Capabilities(
    mechanisms=(
        *_OF_NOTES,
        *("differential_attention", "latent_attention", "location", "masked_softmax"),
        *("linear_attention", "positional_encoding", "rotary_embedding"),
    ),
    dtypes=("float64", "float32", "bfloat16", "float16"),
    options=(
        *("alibi_full", "alibi_causal", "base", "bias", "cache_lens", "causal_top_left", "causal_bottom_right"),
        *("feature_decay", "head_decay", "update_rate"),
        *("first_position", "grouped_heads", "interleaved_pairing", "learned_scale", "lse", "mask"),
        *("partial_rotary_factor", "past", "proportional_pairing", "query_key_norm", "relative_bias", "rotary_half"),
        *("rotary_interleaved", "rotated_query_key_norm", "scale", "segments_self", "segments_cross", "sinks"),
        *("softcap", "valid_lens", "window"),
    ),
    gradients=True,
    # torch 2.13, CPU: the fused backward pass adds up its blocks, of 32 queries or more, in the case's dtype.
    # exp_ulp: _fused_tanh.py
    arithmetic=Arithmetic(rounded_scores=False, gradient_block=32, exp_ulp=5.0),
)

_ON_SCORES = {"alibi", "cache_lens", "relative_bias", "sinks", "softcap"}
_HIDING = {"cache_lens", "causal", "mask", "segments", "valid_lens", "window"}
_ARITHMETIC = {"alibi", "bias", "relative_bias", "softcap"}  # on scores, which narrow dtypes would round
_SMALL_WEIGHTS = 1 << 16  # scores of all heads; fewer are not worth blocks
_SMALL_DIFFERENCE, _SMALL_LATENT = 1 << 21, 1 << 11
_SMALL_SCORES = 1 << 14  # scores of all heads; fewer are better held where an option acts on them
_SMALL_TANH, _SMALL_SQUARES = 1 << 16, 1 << 18  # features of pairs; below them eager's few calls are faster
_TINY = 1 << 12  # scores of a call; below them a function call more is seen in its time


def unsupported(case: Case) -> str:
    """Return what lies beyond this file's reach, or ""."""
    return onednn_tails(case)


def prepare(case: Case) -> Callable[..., Tensor]:
    """Return the mechanism's function with what is not a tensor filled in; loops over pairs are compiled in a call.

    Where there is hardly anything to compute, that is eager's function.
    """
    names = ["alibi", "base", "causal", "first_position", "lse", "pairing", "partial_rotary_factor", "positions"]
    names += ["rotary", "scale", "score", "softcap", "window"]
    settings = {name: case.options[name] for name in names if name in case.options}
    if settings.get("scale") == "learned":  # then it comes with the call
        del settings["scale"]
    if case.mechanism == "multi_head":
        settings["heads"] = case.sizes["H"]
    if is_tiny(case):
        return functools.partial(output_of, getattr(eager, case.mechanism), **settings)
    return functools.partial(globals()[case.mechanism], **settings)


def is_tiny(case: Case) -> bool:
    """Return whether a case has few scores, in single precision or better, and nothing hides keys."""
    plain = set(case.options) <= {"positions", "scale", "score"} and case.options.get("scale") != "learned"
    if case.mechanism not in _OF_NOTES or case.format.bytes < 4 or not plain:
        return False
    lengths = (case.sizes.get(axis, case.sizes.get("L", 1)) for axis in ("Lq", "Lk"))
    return math.prod(lengths) * case.sizes["B"] * case.sizes.get("H", 1) <= _TINY


# --- products


def dot_product(query: Tensor, key: Tensor, value: Tensor, **visibility: Any) -> Tensor:
    """Score by the inner product."""
    return scaled_dot_product(query, key, value, scale=1.0, **visibility)


def scaled_dot_product(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    scale: float | Tensor | None = None,
    query_key_norm: Tensor | None = None,
    past_key: Tensor | None = None,
    past_value: Tensor | None = None,
    lse: str | None = None,
    **visibility: Any,
) -> Any:
    """Score by the inner product over the square root of its length, or times a scale; earlier keys come first."""
    import torch

    if past_key is not None and past_value is not None:
        key, value = torch.cat((past_key, key), -2), torch.cat((past_value, value), -2)
    query, key = normed(query, key, query_key_norm)
    if isinstance(scale, torch.Tensor):
        if torch.is_grad_enabled() and scale.requires_grad:
            return attend_wide(wide(query) * wide(scale), key, value, scale=1.0, lse=lse, **visibility)
        scale = float(scale)
    if lse is not None or not _ON_SCORES.isdisjoint(visibility):
        if is_small(query, key, 1, _SMALL_SCORES):
            found = unfused(eager.scaled_dot_product, query, key, value, scale=scale, lse=lse, **visibility)
            return found[0] if lse is None else found
        if lse is not None:
            from attention_harness.implementations._fused_blocks import attend_by_blocks

            with_sums = functools.partial(attend_by_blocks, scale=scale, lse=True)
            output, log_sums = attend(with_sums, query, key, value, **visibility)
            return output, None, log_sums
    from attention_harness.implementations._fused_products import attend_by_products

    return attend(functools.partial(attend_by_products, scale=scale), query, key, value, **visibility)


def cosine(query: Tensor, key: Tensor, value: Tensor, **visibility: Any) -> Tensor:
    """Score by the inner product of queries and keys over their lengths."""
    return attend_wide(normalise(wide(query)), normalise(wide(key)), value, scale=1.0, **visibility)


def tanh_gated(query: Tensor, key: Tensor, value: Tensor, W: Tensor, **visibility: Any) -> Tensor:
    """Score by the inner product with the keys behind a tanh layer."""
    return attend_wide(query, eager.linear(wide(key), wide(W)).tanh(), value, scale=1.0, **visibility)


def projected(
    query: Tensor, key: Tensor, value: Tensor, W_q: Tensor, W_k: Tensor, W_v: Tensor, *, score: str, **visibility: Any
) -> Tensor:
    """Project query, key and value, then attend with the score of choice."""
    attend = {"dot_product": dot_product, "cosine": cosine, "scaled_dot_product": scaled_dot_product}[score]
    return attend(eager.linear(query, W_q), eager.linear(key, W_k), eager.linear(value, W_v), **visibility)


def multi_head(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    W_q: Tensor,
    W_k: Tensor,
    W_v: Tensor,
    W_o: Tensor,
    *,
    heads: int,
    **visibility: Any,
) -> Tensor:
    """Attend in several subspaces side by side, then project the joined answers."""
    projections = ((query, W_q), (key, W_k), (value, W_v))
    split = (eager.split_heads(eager.linear(x, W), heads) for x, W in projections)
    return eager.linear(eager.merge_heads(scaled_dot_product(*split, **visibility)), W_o)


def self_attention(
    sequence: Tensor,
    *,
    positions: str,
    rotary: str | None = None,
    query_key_norm: Tensor | None = None,
    rotated_query_key_norm: Tensor | None = None,
    **visibility: Any,
) -> Tensor:
    """Attend from a sequence to itself, with or without positions added; query and key may be normed and rotated."""
    if positions == "none" and rotary is None and query_key_norm is None and rotated_query_key_norm is None:
        return scaled_dot_product(sequence, sequence, sequence, **visibility)
    placed = positional_encoding(wide(sequence)) if positions == "sinusoidal" else wide(sequence)
    query, key = normed(placed, placed, query_key_norm)
    if rotary is not None:
        shared = query is key
        query = rotary_embedding(query, pairing=rotary)
        key = query if shared else rotary_embedding(key, pairing=rotary)
    query, key = normed(query, key, rotated_query_key_norm)
    return attend_wide(query, key, placed, **visibility).to(sequence.dtype)


def cross_attention(
    sequence: Tensor, context: Tensor, W_q: Tensor, W_k: Tensor, W_v: Tensor, **visibility: Any
) -> Tensor:
    """Attend from a sequence to another one, and add the answer."""
    query, key, value = eager.linear(sequence, W_q), eager.linear(context, W_k), eager.linear(context, W_v)
    return sequence + scaled_dot_product(query, key, value, **visibility)


def differential_attention(
    query_1: Tensor,
    query_2: Tensor,
    key_1: Tensor,
    key_2: Tensor,
    value: Tensor,
    lambda_q1: Tensor,
    lambda_k1: Tensor,
    lambda_q2: Tensor,
    lambda_k2: Tensor,
    **settings: Any,
) -> Tensor:
    """Weigh by the difference of two softmax maps, the second one times a learned number."""
    if _HIDING.isdisjoint(settings) and is_small(query_1, key_1, 1, _SMALL_DIFFERENCE):  # one product with values
        tensors = (query_1, query_2, key_1, key_2, value, lambda_q1, lambda_k1, lambda_q2, lambda_k2)
        return unfused(eager.differential_attention, *tensors, **settings)[0]
    first, second = (
        scaled_dot_product(query, key, value, **settings) for query, key in ((query_1, key_1), (query_2, key_2))
    )
    factor = (lambda_q1 * lambda_k1).sum().exp() - (lambda_q2 * lambda_k2).sum().exp() + 0.8
    return first - factor * second


def latent_attention(
    query: Tensor,
    query_rotary: Tensor,
    latent: Tensor,
    key_rotary: Tensor,
    W_k: Tensor,
    W_v: Tensor,
    *,
    scale: float | None = None,
    **visibility: Any,
) -> Tensor:
    """Score by keys that each head makes from one latent, and by parts with positions; sum values of that latent."""
    from attention_harness.implementations._fused_latent import keyed

    tensors = (query, query_rotary, latent, key_rotary, W_k, W_v)
    scale = max(query.shape[-1] + query_rotary.shape[-1], 1) ** -0.5 if scale is None else scale
    if is_small(query, latent, 1, _SMALL_LATENT):
        return unfused(eager.latent_attention, *tensors, scale=scale, **visibility)[0]
    *vectors, last = keyed(*map(wide, tensors))
    output = attend_wide(*vectors, scale=scale, **visibility)
    return (output if last is None else output @ last).to(query.dtype)


def masked_softmax(scores: Tensor, **visibility: Any) -> Tensor:
    """Return the softmax of given scores over the visible keys; eager's, where no condition hides any of many keys."""
    if scores.numel() <= _SMALL_WEIGHTS or _HIDING.isdisjoint(visibility):
        if _ARITHMETIC.isdisjoint(visibility):
            return eager.masked_softmax(scores, **visibility)[0]
        return unfused(eager.masked_softmax, scores, **visibility)[0]
    from attention_harness.implementations._fused_softmax import weights_of
    from attention_harness.implementations._fused_visibility import visibility as options

    return weights_of(scores, options(scores.shape[2], scores.shape[3], scores.shape[1], **visibility))


def location(
    query: Tensor, key: Tensor, value: Tensor, W: Tensor, b: Tensor, W_c: Tensor, b_c: Tensor, **visibility: Any
) -> Tensor:
    """Score fixed positions by a layer over [query; key]; another one combines [query; context]. Eager's way.

    Each score is a product with a row of weights: torch has nothing that would not make these products.
    """
    return unfused(eager.location, query, key, value, W, b, W_c, b_c, **visibility)[0]


def attend_wide(query: Tensor, key: Tensor, value: Tensor, *, bias: Tensor | None = None, **others: Any) -> Any:
    """Attend in float32 or better, and store the answer alone in the value's dtype.

    For queries and keys that this file has computed: stored in a narrow dtype, they would be other ones.
    """
    bias = bias if bias is None else wide(bias)
    found = scaled_dot_product(wide(query), wide(key), wide(value), bias=bias, **others)
    return (found[0].to(value.dtype), *found[1:]) if isinstance(found, tuple) else found.to(value.dtype)


def normed(query: Tensor, key: Tensor, weights: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return queries and keys over their root mean squares, each times its row of (2, D); as they are without weights.

    x / sqrt(mean(x^2) + 1e-6)
    """
    if weights is None:
        return query, key
    from torch.nn.functional import rms_norm

    of_query, of_key = weights.to(query.dtype)
    return rms_norm(query, of_query.shape, of_query, 1e-6), rms_norm(key, of_key.shape, of_key, 1e-6)


def normalise(x: Tensor) -> Tensor:
    """Return x over its length; eager's way for lengths whose square or inverse is out of range, or 0."""
    import torch

    length = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    if length.numel() and bool((length.amin() > 1e-15) & (length.amax() < 1e15)):
        return x / length
    return eager.normalise(x)


# --- a state


def linear_attention(query: Tensor, key: Tensor, value: Tensor, **settings: Any) -> Tensor:
    """Read a state that decays, and to which each position adds; chunk by chunk but for short and for exact ones."""
    from attention_harness.implementations import _fused_linear

    return _fused_linear.linear_attention(query, key, value, **settings)


# --- positions


def positional_encoding(sequence: Tensor, **settings: Any) -> Tensor:
    """Add sines and cosines of the position."""
    from attention_harness.implementations import _fused_positions

    return _fused_positions.positional_encoding(sequence, **settings)


def rotary_embedding(sequence: Tensor, **settings: Any) -> Tensor:
    """Rotate pairs of features by the position."""
    from attention_harness.implementations import _fused_positions

    return _fused_positions.rotary_embedding(sequence, **settings)


# --- features of pairs


def additive(
    query: Tensor, key: Tensor, value: Tensor, W_q: Tensor, W_k: Tensor, w_v: Tensor, **visibility: Any
) -> Tensor:
    r"""Score by w^T tanh(W_q q + W_k k)."""
    from attention_harness.implementations._fused_pairs import attend_to_pairs

    if is_small(query, key, len(w_v), _SMALL_TANH):
        return unfused(eager.additive, query, key, value, W_q, W_k, w_v, **visibility)[0]
    query, key, W_q, W_k, w_v = (wide(x) for x in (query, key, W_q, W_k, w_v))
    query, key = eager.linear(query, W_q), eager.linear(key, W_k)

    def scored(q: Tensor, k: Tensor, v: Tensor, visible: Visibility) -> Tensor:
        return attend_to_pairs(q, k, w_v, v, visible)

    return attend(scored, query, key, value, **visibility)


def concat_tanh(query: Tensor, key: Tensor, value: Tensor, W: Tensor, b: Tensor, **visibility: Any) -> Tensor:
    """Score by the sum of tanh(W [q; k] + b)."""
    from attention_harness.implementations._fused_pairs import attend_to_pairs

    if is_small(query, key, len(b), _SMALL_TANH):
        return unfused(eager.concat_tanh, query, key, value, W, b, **visibility)[0]
    size = query.shape[-1]
    query, key, W, b = (wide(x) for x in (query, key, W, b))
    query, key = eager.linear(query, W[:, :size]), eager.linear(key, W[:, size:], b)

    def scored(q: Tensor, k: Tensor, v: Tensor, visible: Visibility) -> Tensor:
        return attend_to_pairs(q, k, W.new_ones(len(W)), v, visible)

    return attend(scored, query, key, value, **visibility)


def gaussian_kernel(query: Tensor, key: Tensor, value: Tensor, w: Tensor, **visibility: Any) -> Tensor:
    """Score by -|w (q - k)|^2 / 2."""
    from attention_harness.implementations._fused_gaussian import attend_by_distance

    if is_small(query, key, query.shape[-1], _SMALL_SQUARES):
        return unfused(eager.gaussian_kernel, query, key, value, w, **visibility)[0]

    def scored(q: Tensor, k: Tensor, v: Tensor, visible: Visibility) -> Tensor:
        return attend_by_distance(q, k, v, w, visible)

    return attend(scored, query, key, value, **visibility)


# --- what they share


def attend(function: Callable[..., Any], query: Tensor, key: Tensor, value: Tensor, **visibility: Any) -> Any:
    """Return function(query, key, value, visible), segment by segment where sequences are packed."""
    from attention_harness.implementations._fused_visibility import packed
    from attention_harness.implementations._fused_visibility import visibility as options

    heads = query.shape[1] if query.ndim == 4 else None
    visible = options(query.shape[-2], key.shape[-2], heads, **visibility)
    if heads is not None:
        return packed(function, query, key, value, visible)
    return packed(function, query[:, None], key[:, None], value[:, None], visible)[:, 0]  # kernels take four axes
