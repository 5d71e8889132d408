"""Which dtype comes out, and which format sums are made in: the smallest number still seen beside a large one."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from attention_harness.bounds.judge import Judgement
from attention_harness.cases import inputs
from attention_harness.checks.behaviour.anchor import by_word, each_dtype, finding, is_anchor, takes
from attention_harness.checks.declaration import check, quantises_nothing
from attention_harness.checks.form import to_array
from attention_harness.checks.subject import Subject
from attention_harness.model.case import Case
from attention_harness.model.dtypes import DTYPES, DType
from attention_harness.model.errors import ImplementationRaised
from attention_harness.registry import mechanisms

if TYPE_CHECKING:
    from torch import Tensor

_DEEPEST = 60  # bits: more than any accumulator has


@check(
    "behaviour.accumulation",
    is_anchor,
    lambda _, case: mechanisms()[case.mechanism].weighs_directly,
    quantises_nothing,  # codes lose the small number before any sum
)
def accumulation(subject: Subject) -> Judgement:
    """In which format the weighted sum is added up: the smallest number that it still sees beside a large one."""
    capabilities = subject.implementation.capabilities
    found, loose, contradicted = {}, [], False
    for case in each_dtype(subject.implementation, subject.case):
        bits, most = _sum_precision(subject, case)
        declared = capabilities.arithmetic.accumulator or case.format.accumulator
        found[case.dtype] = _format_of(bits, most)
        contradicted |= bits < min(_least(declared), most)
        if bits > _precision(declared) + 1 and capabilities.arithmetic.accumulator:
            loose.append(f"declares {declared}, does {found[case.dtype]}: its error bound is looser than it needs")
    measured = "; ".join([by_word(found), *dict.fromkeys(loose)])
    return finding(measured, capabilities.arithmetic.accumulator or "float32, float64 for float64", contradicted)


def _sum_precision(subject: Subject, case: Case) -> tuple[int, int]:
    r"""Return how many bits the accumulator of $\sum_j p_j v_j$ has, and the most that could have been seen.

    Scores are 0, so that n = 2^m weights are exactly 1/n. The values of a column are $1, \pm 2^{-k}, -1$ at three
    random places and 0 elsewhere: the sum is $\pm 2^{-k}$. Whatever the order and the blocks, the small number meets a
    large one alone in a third of the columns or more, and is lost there when the accumulator has k bits or fewer.
    """
    larger = replace(case, sizes={**case.sizes, "B": 64, "Lk": 256})  # many columns and keys
    larger = larger if takes(subject.implementation, larger) else case
    most, large = _range(case.format)
    tensors = _zero_scores(case, larger)
    shape = tuple(tensors["value"].shape)
    value, exact, depth = _columns(shape, most, large)
    tensors["value"] = value.to(tensors["value"])
    sums = to_array(subject.prepared_for(case).call(tensors).output)[..., 0, :]  # every query has the same: (..., Dv)
    sums = sums * shape[-2]
    repeat = sums.shape[1] // shape[1]
    wanted, depths = (np.repeat(x.reshape(*shape[:-2], shape[-1]), repeat, 1) for x in (exact, depth))
    fetched = mechanisms()[case.mechanism].algebra.fetched
    if fetched is not None:  # the sum is what a key of this value would give alone
        arrays = {name: to_array(x) for name, x in tensors.items()}
        arrays["value"] = exact.reshape(*shape[:-2], 1, shape[-1])
        wanted = fetched(arrays, larger.sizes).parts[..., 0, 0, :]
    lost = np.abs(sums - wanted) > np.abs(wanted) / 2
    return (int(depths[lost].min()), most) if lost.any() else (most, most)


def _zero_scores(case: Case, larger: Case) -> dict[str, Tensor]:
    """Return the tensors of a case at larger sizes; all but its parameters are zero."""
    tensors = inputs.tensors(case)
    for declared in mechanisms()[case.mechanism].inputs:
        if not declared.parameter:
            shape = inputs.shape_of(declared.axes, larger.sizes)
            tensors[declared.name] = tensors[declared.name].new_zeros(shape)
    return tensors


def _columns(shape: tuple[int, ...], most: int, large: float) -> tuple[Tensor, np.ndarray, np.ndarray]:
    """Return values of a shape (..., keys, columns), the exact sum of each column, and the bits k that it needs."""
    import torch

    keys = shape[-2]
    draw = np.random.default_rng(0)
    count = int(np.prod(shape)) // keys
    depth = 2 + np.arange(count) % (most - 1)  # 2 to `most`
    sign = draw.choice([-1.0, 1.0], count)
    places = draw.permuted(np.tile(np.arange(keys), (count, 1)), axis=1)[:, :3]
    value, rows = np.zeros((count, keys)), np.arange(count)
    exact = large * sign * 2.0**-depth
    value[rows, places[:, 0]], value[rows, places[:, 1]], value[rows, places[:, 2]] = large, -large, exact
    arranged = value.reshape(*shape[:-2], shape[-1], keys).swapaxes(-1, -2)
    return torch.from_numpy(arranged.copy()), exact, depth


def _range(dtype: DType) -> tuple[int, float]:
    """Return the largest depth $k$ whose number $2^{-k}$, beside a large number, the dtype holds; and the large one.

    In a dtype of few exponents the large number is two powers of two below the largest, and the small one may be as
    small as half the smallest normal.
    """
    large = 1.0 if dtype.least_exponent <= -_DEEPEST else 2.0 ** (math.floor(math.log2(dtype.largest)) - 2)
    return min(_DEEPEST, round(math.log2(large)) - dtype.least_exponent + 1), large


def _precision(name: str) -> int:
    return DTYPES[name].precision


def _least(name: str) -> float:
    """Return below how many bits a sum was not made in that format: half-way to the next one.

    Parts that are merged through their log-sum-exp cost a bit or three; another format costs many.
    """
    lower = [_precision(other) for other in DTYPES if _precision(other) < _precision(name)]
    return (_precision(name) + max(lower, default=0)) / 2


def _format_of(bits: int, most: int) -> str:
    """Return the format with so many bits, and how many if an order of its own cost more than the last one."""
    if bits >= most:  # nothing was lost: the format is finer than every one that loses something
        finest = max((name for name in DTYPES if _precision(name) < most), key=_precision)
        return finest if finest == max(DTYPES, key=_precision) else f"more than {finest}"
    nearest = min(DTYPES, key=lambda name: abs(_precision(name) - bits))
    return nearest if abs(_precision(nearest) - bits) <= 1 else f"{nearest}, less some bits: {bits}"


@check("behaviour.dtype", is_anchor)
def dtype(subject: Subject) -> Judgement:
    """Which dtype comes out for each declared one, and what becomes of a key and a value wider than the query."""
    wrong = []
    for case in each_dtype(subject.implementation, subject.case):
        output = subject.prepared_for(case).call(inputs.tensors(case)).output
        if _name(output) != case.dtype:
            wrong.append(f"{_name(output)} for {case.dtype}")
    measured = ", ".join(wrong) or "the query's"
    return finding(measured + _mixed(subject), "the query's", bool(wrong))


def _name(tensor: object) -> str:
    return str(tensor.dtype).removeprefix("torch.")  # type: ignore[attr-defined]


def _mixed(subject: Subject) -> str:
    """Return what a query of one dtype does with keys and values of a wider one: outside the contract, so not judged.

    Never a narrower one: a kernel that reads raw memory would read beyond its end.
    """
    import torch

    tensors = inputs.tensors(subject.case)
    others = [declared.name for declared in mechanisms()[subject.case.mechanism].inputs[1:]]
    more = [dtype for dtype in DTYPES.values() if dtype.bits > subject.case.format.bits]
    if not more or not others:
        return ""
    wider = min(more, key=lambda dtype: dtype.bits)
    tensors |= {name: tensors[name].to(getattr(torch, wider.torch)) for name in others}
    try:
        came_out = _name(subject.prepared.call(tensors).output)
    except ImplementationRaised as error:
        came_out = f"raises {error.kind}"
    return f"; beside {wider.name} keys and values: {came_out}"
