"""Whether the same bits come out: call after call, alone as in a batch, for some of the queries as for all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from attention_harness.bounds.judge import Judgement
from attention_harness.cases import inputs
from attention_harness.checks.behaviour.anchor import NO_CLAIM, by_word, each_dtype, finding, is_anchor, takes
from attention_harness.checks.declaration import check
from attention_harness.checks.form import to_array
from attention_harness.checks.interface import Prepared
from attention_harness.checks.subject import Subject
from attention_harness.model.case import Case
from attention_harness.model.dtypes import DTYPES
from attention_harness.registry import mechanisms

if TYPE_CHECKING:
    from torch import Tensor

_CALLS, _THREADS = 8, 4
_SAME = "the same bits"


@check("behaviour.repeatability", is_anchor)
def repeatability(subject: Subject) -> Judgement:
    """Whether the same inputs give the same bits, call after call; and with more threads."""
    claimed = subject.implementation.capabilities.repeatable
    found = {}
    for case in _cases(subject):
        answers = [_repeated(subject.prepared_for(case), case, threads) for threads in (None, _THREADS)]
        differ = max(_distance(calls[0], other) for calls in answers for other in calls[1:])
        word = _word(differ)
        between = _distance(answers[0][0], answers[1][0])
        if between and not differ:
            word += f"; with other threads {_units(between)}"
        found[case.dtype] = word
    contradicted = claimed and not all(word.startswith(_SAME) for word in found.values())
    return finding(by_word(found), "repeatable" if claimed else NO_CLAIM, contradicted)


def _repeated(prepared: Prepared, case: Case, threads: int | None) -> list[Tensor]:
    tensors = inputs.tensors(case)
    calls = ({name: tensor.clone() for name, tensor in tensors.items()} for _ in range(_CALLS))
    return [prepared.call(copies, threads=threads).output for copies in calls]


@check("behaviour.batch_invariance", is_anchor)
def batch_invariance(subject: Subject) -> Judgement:
    """Whether an element of a batch gets the same bits alone as among its neighbours."""
    claimed = subject.implementation.capabilities.batch_invariant
    found = _by_part(subject, "B", {"B": 9}, lambda length: [slice(index, index + 1) for index in range(length)])
    contradicted = claimed and any(word != _SAME for word in found.values())
    return finding(by_word(found), "batch_invariant" if claimed else NO_CLAIM, contradicted)


@check("behaviour.slices", is_anchor, lambda _, case: "Lq" in case.sizes)
def slices(subject: Subject) -> Judgement:
    """Whether some of the queries get the same bits alone as among the others."""
    found = _by_part(subject, "Lq", {}, lambda n: [slice(n // 2, n), slice(0, n // 2), slice(n // 2, n // 2 + 1)])
    return finding(by_word(found), NO_CLAIM, False)


def _cases(subject: Subject) -> list[Case]:
    """Return the anchor, and the first half precision beside it: kernels differ by dtype, and compiling takes long."""
    half = [case for case in each_dtype(subject.implementation, subject.case) if not case.format.single]
    return list(dict.fromkeys([subject.case, *half[:1]]))


def _by_part(
    subject: Subject, letter: str, sizes: Mapping[str, int], cut: Callable[[int], list[slice]]
) -> dict[str, str]:
    """Return by dtype how far parts along an axis, each computed alone, are from the same parts of the whole."""
    mechanism, found = mechanisms()[subject.case.mechanism], {}
    along = {declared.name: declared.axes.index(letter) for declared in mechanism.inputs if letter in declared.axes}
    place = mechanism.output.index(letter)
    for case in _cases(subject):
        larger = replace(case, sizes={**case.sizes, **sizes})
        larger = larger if takes(subject.implementation, larger) else case
        prepared, tensors = subject.prepared_for(case), inputs.tensors(larger)
        whole, worst = prepared.call(tensors).output, -1.0
        for part in cut(larger.sizes[letter]):
            length = part.stop - part.start
            if not takes(subject.implementation, replace(larger, sizes={**larger.sizes, letter: length})):
                continue  # such as fewer queries than keys, where a kernel asks for as many
            alone = {
                name: tensor.narrow(along[name], part.start, length).clone() if name in along else tensor
                for name, tensor in tensors.items()
            }
            worst = max(worst, _distance(prepared.call(alone).output, whole.narrow(place, part.start, length)))
        if worst >= 0:
            found[case.dtype] = _word(worst)
    return found


def _distance(one: Tensor, other: Tensor) -> float:
    """Return the largest difference in units in the last place of the row's largest element; inf for NaN or a shape."""
    if one.shape != other.shape or one.dtype != other.dtype:
        return np.inf
    a, b = to_array(one), to_array(other)
    if np.array_equal(a, b, equal_nan=True) and np.array_equal(np.signbit(a), np.signbit(b)):
        return 0.0
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        return np.inf
    form = DTYPES[str(one.dtype).removeprefix("torch.")]
    largest = np.maximum(np.maximum(np.abs(a), np.abs(b)).max(-1, keepdims=True), form.smallest)
    units = 2 * form.roundoff * 2.0 ** np.floor(np.log2(largest))
    return float((np.abs(a - b) / units).max()) or np.finfo(np.float64).tiny  # the sign of a zero


def _word(units: float) -> str:
    return f"differs by {_units(units)}" if units else _SAME


def _units(units: float) -> str:
    if not np.isfinite(units):
        return "more than rounding"
    return f"{units:.2g} units in the last place" if units >= 0.01 else "less than 0.01 units in the last place"
