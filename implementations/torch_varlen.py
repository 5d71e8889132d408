"""torch.nn.attention.varlen.varlen_attn: packed sequences, without padding or a mask, on a GPU.

Its limits are those that torch 2.13 documents and that FlashAttention has. This file was never run on a GPU: what
surrounds the operator is tested with a stand-in of the documented meaning (`tests/conformance/test_torch_varlen.py`).
"""

from __future__ import annotations

import functools
import importlib.metadata
import math
from typing import TYPE_CHECKING, Any

from attention_harness import Arithmetic, Capabilities, cuda_devices

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from attention_harness import Case

CAPABILITIES = Capabilities(
    mechanisms=("dot_product", "scaled_dot_product"),
    dtypes=("bfloat16", "float16"),
    devices=("cuda",),
    options=("causal_bottom_right", "grouped_heads", "scale", "segments_self", "segments_cross", "window"),
    requires=("D == Dv", "D % 8 == 0", "D >= 8", "D <= 256", "Lq >= 1", "Lk >= 1", "B >= 1"),
    gradients=True,
    arithmetic=Arithmetic(rounded_scores=False),
)


def unavailable() -> str:
    """Return what is missing."""
    if not cuda_devices():
        return "no CUDA device: torch 2.13 has no CPU kernel for it"
    if "+cpu" in importlib.metadata.version("torch"):
        return "this torch is a CPU build: install one for CUDA"
    try:
        importlib.import_module("torch.nn.attention.varlen")
    except ImportError:
        return "this torch has no varlen_attn: it came with torch 2.10"
    return ""


def unsupported(case: Case) -> str:
    """Return why the operator does not take a case, or ""."""
    if "window" in case.options and case.options.get("causal") != "bottom_right":
        return "its windows count from the bottom-right corner alone"
    return ""


def prepare(case: Case) -> Callable[..., Tensor]:
    """Return the call."""
    left, right = case.options.get("window", (-1, -1))
    if "causal" in case.options:
        right = 0
    scale = case.options.get("scale", 1 / math.sqrt(case.sizes["D"])) if case.mechanism != "dot_product" else 1.0
    return functools.partial(packed, window=(left, right), scale=scale)


def packed(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    segments: Tensor | None = None,
    *,
    window: tuple[int, int],
    scale: float,
) -> Tensor:
    """Attend to (B, H, L, D): each batch element and each segment is a sequence of its own.

    What lies past the last end of `segments` is one more sequence, whose output is zero.
    """
    import torch
    from torch.nn.attention.varlen import varlen_attn

    batch, heads, queries, _ = query.shape
    keys, of_queries, of_keys = key.shape[-2], None, None
    if segments is not None:
        of_queries, of_keys = (segments, segments) if segments.ndim == 1 else segments
    output: Any = varlen_attn(
        in_one_row(query),
        in_one_row(key),
        in_one_row(value),
        ends(of_queries, batch, queries, query.device),
        ends(of_keys, batch, keys, query.device),
        queries,
        keys,
        scale=scale,
        window_size=window,
        enable_gqa=heads != key.shape[1],
    )
    output = output.unflatten(0, (batch, queries)).transpose(1, 2)
    if of_queries is None:
        return output
    return output.masked_fill((torch.arange(queries, device=query.device) >= of_queries[-1])[:, None], 0.0)


def in_one_row(x: Tensor) -> Tensor:
    """(B, H, L, D) -> (B L, H, D)."""
    return x.transpose(1, 2).flatten(0, 1)


def ends(segments: Tensor | None, batch: int, length: int, device: Any) -> Tensor:
    """Return the cumulative lengths of all sequences, int32: those of one batch element after the other."""
    import torch

    starts = torch.arange(batch + 1, device=device) * length
    if segments is not None:
        inner = segments[1:].clamp(max=length).to(device)
        starts = torch.cat([starts[:1], (torch.cat([inner, inner.new_tensor([length])]) + starts[:-1, None]).flatten()])
    return starts.to(torch.int32)
