"""Queries, keys and values as codes of 8 bits, each with scales: a number is a code times the scale of its group.

The problem is that of the numbers that codes and scales stand for, which are exact. An implementation may round them to
the case's dtype, or multiply by the scales after the product. The output is in the case's dtype; codes have no
gradient. As FlashAttention-3 takes float8 (Shah et al. 2024) and SageAttention has int8 inside (Zhang et al. 2024).
"""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

from attention_harness.model.dtypes import CODES
from attention_harness.options.option import Axes, Codes, Group, Numbers, Option, Stage, Tensor

BLOCK = 16
"""Positions of one head that share a scale, where each block has its own; the last block may have fewer."""

_SHARED = ("tensor", "head", "block")
_TENSORS = {"query": ("H", "Lq"), "key": ("Hk", "Lk"), "value": ("Hk", "Lk")}
_GOLDEN = (5**0.5 - 1) / 2
_FORMS = tuple(f"{code}_{shared}" for code in CODES for shared in _SHARED)
_IN_MATRIX = ("int8_block", "e4m3_head", "e5m2_tensor")  # each format and each way to share a scale


def factors(scale: Numbers, length: int) -> Numbers:
    """Return what multiplies codes (B, H, L, D), of scales (1), (B, H), (B, H, blocks) or (B, H, L)."""
    if scale.ndim == 1:
        return scale
    if scale.ndim == 2:
        return scale[..., None, None]
    in_blocks = scale.shape[-1] == -(-length // BLOCK)
    return (scale[..., np.arange(length) // BLOCK] if in_blocks else scale)[..., None]


def _cut(scale: Numbers, rows: slice, queries: int) -> Numbers:
    return scale if scale.ndim < 3 else scale[..., np.arange(queries)[rows] // BLOCK]


def _uncut(scale: Numbers, rows: slice, queries: int) -> Numbers:
    return scale


def _encode(form: str, name: str, numbers: NDArray[np.float64], widest: float) -> tuple[Numbers, Numbers]:
    """Return codes, before they are rounded to their format, and scales.

    The largest number of a tensor's first group is the last code, of others a part of it: so their scales are unlike.
    widest: the largest number of the scales' dtype
    """
    code, shared = form.split("_")
    largest, length = CODES[code].largest, numbers.shape[-2]
    sizes = np.abs(numbers).max(-1, initial=0.0)
    if shared == "tensor":
        tops = np.reshape(sizes.max(initial=0.0), 1)
    elif shared == "head":
        tops = sizes.max(-1, initial=0.0)
    else:
        starts = np.arange(0, length, BLOCK)
        tops = np.maximum.reduceat(sizes, starts, -1) if length else sizes
    turn = -_GOLDEN if name == "value" else _GOLDEN  # so that keys' and values' groups are unlike, too
    unlike = 1 + 3 * (np.arange(tops.size).reshape(tops.shape) * turn % 1)
    scales = np.where(tops > 0, tops / largest * unlike, 1.0).clip(1 / widest, widest)
    narrow = np.float32 if widest < np.finfo(np.float64).max else np.float64
    scales = scales.astype(narrow).astype(np.float64)
    codes = (numbers / factors(scales, length)).clip(-largest, largest)
    return (np.rint(codes) if code == "int8" else codes), scales


def _scale(heads: str, length: str) -> Tensor:
    """Return the declaration of the scales of a tensor with these axes. Their numbers come with the codes."""

    def axes(form: str, scores: Axes) -> Axes:
        return {"tensor": ("1",), "head": ("B", heads), "block": ("B", heads, f"{length}/{BLOCK}")}[form.split("_")[1]]

    cut = _cut if length == "Lq" else _uncut
    return Tensor(axes, lambda draw: np.ones(draw.shape), cut, bytes=4)


def _codes(form: str) -> Codes:
    scales = {name: f"{name}_scale" for name in _TENSORS}
    return Codes(CODES[form.split("_")[0]].torch, scales, functools.partial(_encode, form))


OPTION = Option(
    name="quantised",
    summary=(
        "query, key and value are codes of 8 bits; query_scale, key_scale, value_scale (1), (B, H) or "
        f"(B, H, blocks of {BLOCK} positions) multiply them"
    ),
    capability=lambda form: f"quantised_{form.split('_')[0]}",
    capabilities=tuple(f"quantised_{code}" for code in CODES),
    group=Group.NAMED,  # the mechanism multiplies: only that knows its queries, keys and values
    stage=Stage.SCORES,
    forms=_IN_MATRIX,
    more_forms=tuple(form for form in _FORMS if form not in _IN_MATRIX),
    accepts=lambda form: form in _FORMS,
    expected=" or ".join((", ".join(_FORMS[:-1]), _FORMS[-1])),
    brought={f"{name}_scale": _scale(*axes) for name, axes in _TENSORS.items()},
    codes=_codes,
    argument=_FORMS[0],
)
