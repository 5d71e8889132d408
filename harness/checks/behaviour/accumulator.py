"""Which format sums are made in: the smallest number that a sum still sees beside a large one."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from attention_harness.cases import inputs
from attention_harness.checks.accuracy import to_array
from attention_harness.checks.subject import Subject, prepared
from attention_harness.model.case import Case
from attention_harness.model.dtypes import DTYPES, DType
from attention_harness.registry import mechanisms

if TYPE_CHECKING:
    from torch import Tensor


_DEEPEST = 60  # bits: more than any accumulator has


def sum_precision(subject: Subject, case: Case, larger: Case) -> tuple[int, int]:
    r"""Return how many bits the accumulator of $\sum_j p_j v_j$ has, and the most that could have been seen.

    Scores are 0, so that n = 2^m weights are exactly 1/n. The values of a column are $1, \pm 2^{-k}, -1$ at three
    random places and 0 elsewhere: the sum is $\pm 2^{-k}$. Whatever the order and the blocks, the small number meets a
    large one alone in a third of the columns or more, and is lost there when the accumulator has k bits or fewer.
    larger: the case at the sizes to ask, with as many columns and keys as the implementation takes.
    """
    import torch

    most, large = _range(case.format)
    tensors = inputs.tensors(case)
    axes = {own.name: own.axes for own in mechanisms()[case.mechanism].inputs if not own.parameter}
    shapes = {name: inputs.shape_of(own, larger.sizes) for name, own in axes.items()}
    tensors |= {name: tensors[name].new_zeros(shape) for name, shape in shapes.items()}
    shape = shapes["value"]
    keys = shape[-2]
    draw = np.random.default_rng(0)
    columns = int(np.prod(shape)) // keys
    depth = 2 + np.arange(columns) % (most - 1)  # 2 to `most`
    sign = draw.choice([-1.0, 1.0], columns)
    places = draw.permuted(np.tile(np.arange(keys), (columns, 1)), axis=1)[:, :3]
    value = np.zeros((columns, keys))
    rows = np.arange(columns)
    value[rows, places[:, 0]], value[rows, places[:, 1]] = large, -large
    exact = large * sign * 2.0**-depth
    value[rows, places[:, 2]] = exact
    arranged = value.reshape(*shape[:-2], shape[-1], keys).swapaxes(-1, -2)
    tensors["value"] = torch.from_numpy(arranged.copy()).to(tensors["value"])
    output = to_array(answered(prepared(subject.implementation, case), tensors))
    sums = output[..., 0, :] * keys  # every query has the same sum; axes (..., Dv)
    repeat = sums.shape[1] // shape[1]
    wanted, depths = (np.repeat(x.reshape(*shape[:-2], shape[-1]), repeat, 1) for x in (exact, depth))
    lost = np.abs(sums - wanted) > np.abs(wanted) / 2
    return (int(depths[lost].min()), most) if lost.any() else (most, most)


def _range(dtype: DType) -> tuple[int, float]:
    """Return the largest depth $k$ whose number $2^{-k}$, beside a large number, the dtype holds; and the large one.

    In a dtype of few exponents the large number is two powers of two below the largest, and the small one may be as
    small as half the smallest normal.
    """
    large = 1.0 if dtype.least_exponent <= -_DEEPEST else 2.0 ** (math.floor(math.log2(dtype.largest)) - 2)
    return min(_DEEPEST, round(math.log2(large)) - dtype.least_exponent + 1), large


def precision(name: str) -> int:
    """Return the bits of a format's significand."""
    return DTYPES[name].precision


def least(name: str) -> float:
    """Return below how many bits a sum was not made in that format: half-way to the next one.

    Parts that are merged through their log-sum-exp cost a bit or three; another format costs many.
    """
    lower = [precision(other) for other in DTYPES if precision(other) < precision(name)]
    return (precision(name) + max(lower, default=0)) / 2


def format_of(bits: int, most: int) -> str:
    """Return the format with so many bits, and how many if an order of its own cost more than the last one."""
    if bits >= most:  # nothing was lost: the format is finer than every one that loses something
        finest = max((name for name in DTYPES if precision(name) < most), key=precision)
        return finest if finest == max(DTYPES, key=precision) else f"more than {finest}"
    nearest = min(DTYPES, key=lambda name: abs(precision(name) - bits))
    return nearest if abs(precision(nearest) - bits) <= 1 else f"{nearest}, less some bits: {bits}"


def answered(function: Callable[..., Any], tensors: Mapping[str, Tensor]) -> Tensor:
    import torch

    with torch.no_grad():
        result = function(**tensors)
    return result[0] if isinstance(result, tuple) else result
