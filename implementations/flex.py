"""torch's flex_attention, compiled, with a score_mod and a mask_mod for what the options do. Inference on the CPU."""

from __future__ import annotations

import functools
import types
from typing import TYPE_CHECKING, Any

from attention_harness import Arithmetic, Capabilities, processor

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import Tensor
    from torch.nn.attention.flex_attention import BlockMask

    from attention_harness import Case

# What torch 2.13 refuses or does when it compiles flex_attention for the CPU, each tried:
# - float64: "`torch.float` , `torch.float16` and `torch.bfloat16` are supported in FlexAttention for CPU device"
# - gradients: "FlexAttention does not support backward on CPU"
# - weights and sinks: "`return_lse` is not supported yet", and a sink needs the rows' denominators
# - dropout: there is no argument for it
# - `requires`: a length of 0 ends the process (SIGFPE), Dv = 0 is std::bad_alloc, and D = 0 divides by zero
CAPABILITIES = Capabilities(
    mechanisms=("dot_product", "scaled_dot_product", "cosine"),
    dtypes=("float32", "bfloat16", "float16"),
    options=(
        *("alibi_full", "alibi_causal", "bias", "causal_top_left", "causal_bottom_right", "grouped_heads"),
        *("learned_scale", "mask", "query_key_norm", "relative_bias", "scale", "segments_self", "segments_cross"),
        *("softcap", "valid_lens", "window"),
    ),
    requires=("Lq >= 1", "Lk >= 1", "D >= 1", "Dv >= 1"),
    builds=True,
    # its exponential is ATen's exp_u20, "a faster version of exp with ULP=20"
    arithmetic=Arithmetic(rounded_scores=False, exp_ulp=20.0),
)

_BUCKETS, _FARTHEST = 32, 128  # of T5's biases; what is as far or farther shares a bucket


def unavailable() -> str:
    """Return what the processor lacks."""
    known = processor().extensions
    return "torch 2.13 compiles flex_attention for processors with AVX2 alone" if known and "avx2" not in known else ""


def prepare(case: Case) -> Callable[..., Tensor]:
    """Return the call. Cases that differ in numbers alone share a compiled operator; calls of other lengths do not."""
    import torch

    options = case.options
    number = options.get("scale") if case.mechanism == "scaled_dot_product" else 1.0
    forms = tuple((name, form if isinstance(form, str) else "") for name, form in options.items())
    attend = functools.partial(_compiled, 1.0 if number == "learned" else number, case.sizes["H"] != case.sizes["Hk"])
    cap = torch.tensor(options["softcap"]) if "softcap" in options else None
    slopes = _slopes(case.sizes["H"]) if "alibi" in options else None

    @functools.lru_cache(maxsize=64)
    def without_tensors(queries: int, keys: int) -> tuple[Tensor, BlockMask | None]:
        places = _places(options, queries, keys, None)
        return places, _blocks(options, queries, keys, places, None)

    def flex(
        query: Tensor,
        key: Tensor,
        value: Tensor,
        *,
        scale: Tensor | None = None,
        bias: Tensor | None = None,
        relative_bias: Tensor | None = None,
        query_key_norm: Tensor | None = None,
        segments: Tensor | None = None,
        **conditions: Tensor,
    ) -> Tensor:
        queries, keys = query.shape[-2], key.shape[-2]
        if query_key_norm is not None:
            query, key = (_normalised_rms(x, query_key_norm[place]) for place, x in enumerate((query, key)))
        if case.mechanism == "cosine":
            query, key = _normalised(query), _normalised(key)
        if segments is None and not conditions:
            places, blocks = without_tensors(queries, keys)
        else:
            documents = None if segments is None else _documents(segments, queries, keys)
            places = _places(options, queries, keys, segments)
            blocks = _blocks(options, queries, keys, places, documents, **conditions)
        score_mod = _score_mod(
            scale=scale if scale is None else scale.squeeze(),
            cap=cap,
            bias=bias if bias is None else _reader(bias),
            slopes=slopes,
            both_sides=options.get("alibi") == "full",
            by_distance=relative_bias if relative_bias is None else _by_distance(relative_bias, "causal" in options),
            places=places,
        )
        structure = (forms, query.dtype, *((x.shape, x.stride()) for x in (query, key, value)))
        return attend(structure)(query, key, value, score_mod, blocks)

    return flex


# --- one operator for many calls


@functools.cache
def _compiled(scale: float | None, grouped: bool, structure: tuple[Any, ...]) -> Callable[..., Tensor]:
    """Return the operator, compiled for one structure of inputs."""
    import torch
    from torch.nn.attention.flex_attention import flex_attention

    def operator(query: Tensor, key: Tensor, value: Tensor, score_mod: Any, blocks: BlockMask | None) -> Any:
        return flex_attention(query, key, value, score_mod, blocks, scale, grouped)

    # torch.compile counts its graphs towards its recompile limit by code object: a copy for each structure stays far
    # from the limit. Beyond it fullgraph raises, where the default falls back to eager silently.
    own = types.FunctionType(
        operator.__code__.replace(), operator.__globals__, operator.__name__, None, operator.__closure__
    )
    # torch 2.13, dynamic=True: a captured tensor brings the symbols of its lengths into the kernel, where a part of
    # such a name is taken for another's: "`cur_qSplitSize2` was not declared in this scope".
    compiled: Callable[..., Tensor] = torch.compile(own, fullgraph=True, dynamic=False)
    return compiled


# --- what the options do to a score, and which scores there are


def _score_mod(
    *,
    scale: Tensor | None,
    cap: Tensor | None,
    bias: Callable[..., Tensor] | None,
    slopes: Tensor | None,
    both_sides: bool,
    by_distance: Tensor | None,
    places: Tensor,
) -> Callable[..., Tensor] | None:
    """Return the function from a score and its place to the score with the cap and the biases; None for none."""
    import torch

    if all(part is None for part in (scale, cap, bias, slopes, by_distance)):
        return None

    def score_mod(score: Tensor, b: Tensor, h: Tensor, i: Tensor, j: Tensor) -> Tensor:
        if scale is not None:
            score = score * scale
        if cap is not None:
            score = cap * torch.tanh(score / cap)
        if bias is not None:
            score = score + bias(b, h, i, j)
        if slopes is not None:
            distance = places[i] - j
            score = score - slopes[h] * (distance.abs() if both_sides else distance)
        if by_distance is not None:
            score = score + by_distance[(places[i] - j).clamp(-_FARTHEST, _FARTHEST) + _FARTHEST, h]
        return score

    return score_mod


def _blocks(
    options: Mapping[str, Any],
    queries: int,
    keys: int,
    places: Tensor,
    documents: tuple[Tensor, Tensor] | None,
    *,
    mask: Tensor | None = None,
    valid_lens: Tensor | None = None,
) -> BlockMask | None:
    """Return the BlockMask of the keys that each query sees; None where nothing but a bias hides any."""
    import torch
    from torch.nn.attention.flex_attention import create_block_mask

    window, causal = options.get("window"), "causal" in options
    if not causal and all(part is None for part in (window, documents, mask, valid_lens)):
        return None
    left, right = (torch.tensor(side) for side in window or (0, 0))  # a number would make another graph
    shown = mask if mask is None else _reader(mask)
    lens = valid_lens if valid_lens is None else _reader(valid_lens.reshape(len(valid_lens), 1, -1, 1))

    def mask_mod(b: Tensor, h: Tensor, i: Tensor, j: Tensor) -> Tensor:
        seen = j >= 0
        if causal:
            seen = seen & (j <= places[i])
        if window is not None:
            seen = seen & (places[i] - left <= j) & (j <= places[i] + right)
        if documents is not None:
            seen = seen & (documents[0][i] == documents[1][j])
        if lens is not None:
            seen = seen & (j < lens(b, h, i, j))
        if shown is not None:
            seen = seen & shown(b, h, i, j)
        return seen

    of_mask = () if mask is None else (1,) * (4 - mask.ndim) + mask.shape
    batch = max([1, *of_mask[:1], *([] if valid_lens is None else valid_lens.shape[:1])])
    heads = max([1, *of_mask[1:2]])
    return create_block_mask(mask_mod, batch, heads, queries, keys, device="cpu")


def _reader(numbers: Tensor) -> Callable[..., Tensor]:
    """Return the function from a score's place to what a tensor that broadcasts to the scores has there."""
    axes = [axis for axis, length in enumerate(numbers.shape, 4 - numbers.ndim) if length != 1]
    # torch 2.13 copies a captured tensor with gaps, loads from the one it copied, and fails: "All the buffers in the
    # score and mask subgraph should be in kernel_group.args.input_buffers"
    dense = numbers.squeeze().contiguous()

    def read(*place: Tensor) -> Tensor:
        return dense[tuple(place[axis] for axis in axes)] if axes else dense

    return read


# --- places of queries among the keys, and what is counted by them


def _places(options: Mapping[str, Any], queries: int, keys: int, segments: Tensor | None) -> Tensor:
    """Return, (Lq,), the key at each query's place under causality's corner, of the whole or of the query's segment."""
    import torch

    place = torch.arange(queries)
    bottom_right = options.get("causal") == "bottom_right"
    if segments is None:
        return place + (keys - queries if bottom_right else 0)
    of_queries, of_keys = segments.expand(2, -1)
    corner = _documents(segments, queries, keys)[0].clamp(min=0) + int(bottom_right)
    return place - of_queries[corner] + of_keys[corner]


def _documents(segments: Tensor, queries: int, keys: int) -> tuple[Tensor, Tensor]:
    """Return the number of the segment of each query and of each key; past the last end numbers that match nothing."""
    import torch

    found = []
    for ends, length, nowhere in zip(segments.expand(2, -1), (queries, keys), (-1, -2), strict=True):
        place = torch.arange(length)
        number = torch.searchsorted(ends[1:].contiguous(), place, right=True)
        found.append(number.masked_fill(place >= ends[-1], nowhere))
    return found[0], found[1]


def _slopes(heads: int) -> Tensor:
    """Return the slope of each head of attention with linear biases (Press et al. 2022)."""
    import torch

    def powers(count: int) -> list[float]:
        whole = 2 ** (count.bit_length() - 1)
        if count == whole:
            return [8 * (head + 1) / count for head in range(count)]
        return powers(whole) + powers(2 * whole)[::2][: count - whole]

    return (0.5 ** torch.tensor(powers(heads), dtype=torch.float64)).float()


def _by_distance(table: Tensor, causal: bool) -> Tensor:
    """Return, (257, H), the biases of Raffel et al. 2020 for a query's place 128 before a key to 128 behind it."""
    return table[_buckets(causal)]


@functools.cache
def _buckets(causal: bool) -> list[int]:
    """Return T5's bucket of each distance, from -128 to 128, of a query's place from a key."""
    buckets = _BUCKETS if causal else _BUCKETS // 2  # of a side
    single = buckets // 2
    rest = buckets - single

    def of_side(distance: int) -> int:
        if distance < single:
            return distance
        # floor(rest * log(distance / single) / log(128 / single)) in whole numbers
        ratio = _FARTHEST // single
        return single + sum(distance**rest >= single**rest * ratio**step for step in range(1, rest))

    distances = range(-_FARTHEST, _FARTHEST + 1)
    if causal:
        return [of_side(max(distance, 0)) for distance in distances]
    return [of_side(abs(distance)) + buckets * (distance < 0) for distance in distances]


# --- what is done to queries and keys before the call


def _normalised(x: Tensor) -> Tensor:
    """Return x over its length, and zero where that is zero."""
    from torch.nn.functional import normalize

    wide = x.float()
    largest = wide.abs().amax(-1, keepdim=True)  # divided out, so that no square over- or underflows
    return normalize(wide / largest.where(largest > 0, 1.0), dim=-1).to(x.dtype)


def _normalised_rms(x: Tensor, weight: Tensor) -> Tensor:
    """Return x over its root mean square, times the weight."""
    from torch.nn.functional import rms_norm

    return rms_norm(x, x.shape[-1:], weight, 1e-6)
