"""Whether what is hidden leaks: NaN, infinity and huge numbers where no query sees them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from attention_harness.bounds import ErrorBound
from attention_harness.bounds.judge import Judgement, judge
from attention_harness.cases import inputs
from attention_harness.checks.behaviour.anchor import (
    can_hide,
    is_anchor,
    key_axes,
    number_of_keys,
    ways_to_hide,
    with_option,
)
from attention_harness.checks.behaviour.finding import NO_CLAIM, by_word, finding
from attention_harness.checks.declaration import check
from attention_harness.checks.expected import bounds_of
from attention_harness.checks.form import to_array
from attention_harness.checks.interface import Declaration, Prepared
from attention_harness.checks.subject import Subject
from attention_harness.model.case import Case
from attention_harness.model.dtypes import DType
from attention_harness.options import OPTIONS, Place, hiding, interval
from attention_harness.registry import mechanisms

if TYPE_CHECKING:
    from torch import Tensor


def has_keys(implementation: Declaration, case: Case) -> bool:
    """Return whether there is a key that is not a query too."""
    return bool(key_axes(case))


@check("behaviour.masked_nan", is_anchor, can_hide, has_keys)
def masked_nan(subject: Subject) -> Judgement:
    """Whether NaN, infinity or a huge number in a hidden key and its value reaches an output or a gradient."""
    capabilities = subject.implementation.capabilities
    ways = ways_to_hide(subject.implementation, subject.case) | _unseen(subject)
    with_gradients = next(iter(ways)) if capabilities.gradients else ""
    leaks = {way: _leaks(subject, case, way == with_gradients) for way, case in ways.items()}
    words = {way: _word(leaking) for way, leaking in leaks.items()}
    # A finite number behind a mask never matters: that is the contract, and nobody has to declare it.
    kinds = {kind for leaking in leaks.values() for found in leaking.values() for kind in found}
    contradicted = bool(kinds if capabilities.poison_safe else kinds & {"huge numbers"})
    return finding(by_word(words), "poison_safe" if capabilities.poison_safe else NO_CLAIM, contradicted)


def _unseen(subject: Subject) -> dict[str, Case]:
    """Return options without a tensor under which no query sees the last key: option -> a case."""
    found: dict[str, Case] = {}
    for name in (name for name, option in OPTIONS.items() if option.interval is not None):
        for case in with_option(subject.implementation, subject.case, name).values():
            queries, keys = inputs.shape_of(mechanisms()[case.mechanism].scores, case.sizes)[-2:]
            if np.max(interval(case.options, Place(queries, keys))[1]) < keys - 1:
                found.setdefault(name, case)
    return found


def _word(leaking: Mapping[str, list[str]]) -> str:
    parts = [", ".join(kinds) + where for where, kinds in leaking.items() if kinds]
    return f"leaks {' and '.join(parts)}" if parts else "clean"


def _leaks(subject: Subject, case: Case, with_gradients: bool) -> dict[str, list[str]]:
    """Return which kinds of poison in the hidden key reach the output, and which a gradient alone."""
    tensors, prepared = _last_key_hidden(case), subject.prepared_for(case)
    capabilities = subject.implementation.capabilities
    arrays = inputs.exact(tensors)
    error_bound, _ = bounds_of(case, arrays, capabilities.arithmetic, capabilities.fully_masked_rows)
    error_bound = _around_clean_answer(to_array(prepared.call(_copies(tensors)).output), error_bound)
    leaks: dict[str, list[str]] = {"": [], " into a gradient": []}
    for kind, poison in _poisons(case.format).items():
        poisoned = _copies(tensors)
        for name, axis in key_axes(case).items():
            poisoned[name].select(axis, -1).fill_(poison)
        output = prepared.call(_copies(poisoned)).output
        if judge(to_array(output), error_bound, degenerate=True).reason:
            leaks[""].append(kind)
        elif with_gradients and not _finite_gradients(prepared, poisoned, case, 2 * output):
            leaks[" into a gradient"].append(kind)
    return leaks


def _around_clean_answer(clean: NDArray[np.float64], error_bound: ErrorBound) -> ErrorBound:
    """Return the error bound around an answer that is wrong without any poison: accuracy accuses it, and no leak."""
    comparable = clean.shape == error_bound.value.shape and np.isfinite(clean).all()
    wrong = comparable and judge(clean, error_bound, degenerate=True).reason
    return replace(error_bound, value=clean) if wrong else error_bound


def _last_key_hidden(case: Case) -> dict[str, Tensor]:
    """Return the tensors of the case; the last key is hidden from every query, and no other one."""
    import torch

    tensors, keys = inputs.tensors(case), number_of_keys(case)
    last = np.arange(keys)[None] == keys - 1
    for name, rule in hiding(case.options).items():
        hidden = rule.hide(rule.shown(tuple(tensors[name].shape), keys), last)
        tensors[name] = torch.from_numpy(hidden).to(tensors[name])
    return tensors


def _copies(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in tensors.items()}


def _poisons(dtype: DType) -> dict[str, float]:
    """Return what is put where nobody may look; the largest that no product of two takes out of the format's range."""
    return {"NaN": np.nan, "infinity": np.inf, "huge numbers": dtype.largest**0.5 / 16}


def _finite_gradients(prepared: Prepared, tensors: Mapping[str, Tensor], case: Case, upstream: Tensor) -> bool:
    """Return whether the gradients by the mechanism's tensors are finite, of those that there are."""
    names = [declared.name for declared in mechanisms()[case.mechanism].inputs]
    found = prepared.gradients(_copies(tensors), upstream, names).by_name.values()
    gradients = [gradient for gradient in found if gradient is not None]
    return bool(gradients) and all(bool(gradient.isfinite().all()) for gradient in gradients)
