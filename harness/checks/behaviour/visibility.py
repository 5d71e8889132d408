"""What a query sees: from which corner causality counts, what no key gives, and whether what is hidden leaks."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from attention_harness.bounds import ErrorBound
from attention_harness.bounds.judge import Judgement, judge
from attention_harness.cases import inputs
from attention_harness.cases.parts import parts_of
from attention_harness.checks.behaviour.anchor import (
    NO_CLAIM,
    by_word,
    can_hide,
    finding,
    is_anchor,
    key_axes,
    number_of_keys,
    ways_to_hide,
    with_option,
)
from attention_harness.checks.declaration import check, quantises_nothing
from attention_harness.checks.expected import bounds_of
from attention_harness.checks.expected import fully_masked_rows as masked_rows
from attention_harness.checks.form import to_array
from attention_harness.checks.interface import Declaration, Prepared
from attention_harness.checks.subject import Subject
from attention_harness.model.capabilities import FULLY_MASKED_ROWS, Arithmetic, Policy, spelt_policy, word_of
from attention_harness.model.case import Case
from attention_harness.model.dtypes import DType
from attention_harness.options import OPTIONS, Place, hiding, interval
from attention_harness.registry import mechanisms

if TYPE_CHECKING:
    from torch import Tensor


@check(
    "behaviour.causal_corner",
    is_anchor,
    lambda one, case: bool(with_option(one, case, "causal")) and "Lk" in case.sizes,
)
def causal_corner(subject: Subject) -> Judgement:
    """Which keys a query sees under causality: found by changing one key's value after the other.

    Asked again with keys of earlier calls, where their number tells the corners apart.
    """
    measured, declared, contradicted = [], [], False
    for beside, case in {"": subject.case, **_with_earlier_keys(subject)}.items():
        found = {}
        for corner, probe in with_option(subject.implementation, case, "causal").items():
            seen = _seen(subject, probe)
            shown = _corners(probe, *seen.shape)
            found[corner] = [word for word, keys in shown.items() if np.array_equal(seen, keys)]
        if found:  # with equal lengths both corners show the same keys
            said = [
                " or ".join(words) if corner in words else f"{' or '.join(words) or 'neither'} where {corner} is asked"
                for corner, words in found.items()
            ]
            measured.append(", ".join(said) + beside)
            declared.append(", ".join(found) + beside)
            contradicted |= any(corner not in words for corner, words in found.items())
    return finding("; ".join(measured), "; ".join(declared), contradicted)


def _with_earlier_keys(subject: Subject) -> dict[str, Case]:
    """Return cases in which some of the keys are of earlier calls, and no corner is the first key of this call."""
    found = {}
    for name in (name for name, option in OPTIONS.items() if option.parts is not None):
        for form, case in with_option(subject.implementation, subject.case, name).items():
            if _earlier(case) not in (0, case.sizes["Lk"] - case.sizes["Lq"]):
                found[f" beside {name}={form}"] = case
    return found


def _earlier(case: Case) -> int:
    """Return how many keys come apart from the others."""
    ends = [end for parts in parts_of(case, inputs.tensors(case)).values() for _, first, end in parts if not first]
    return max(ends, default=0)


def _corners(case: Case, queries: int, keys: int) -> dict[str, NDArray[np.bool_]]:
    """Return (queries, keys) by word: what a query is seen to see under each corner that libraries have."""
    alone = mechanisms()[case.mechanism].returns_weights
    found = {word: _shown(word, queries, keys, alone) for word in OPTIONS["causal"].forms}
    if earlier := _earlier(case):
        place = np.arange(queries)[:, None] + earlier
        found["from the first key of this call"] = np.arange(keys) <= place
    return found


def _shown(corner: str, queries: int, keys: int, weights_alone: bool) -> NDArray[np.bool_]:
    """Return (queries, keys): what a query is seen to see under a corner.

    weights_alone: whether the weights are the output, where a single key has the weight 1 whatever its score
    """
    first, last = interval({"causal": corner}, Place(queries, keys))
    shown: NDArray[np.bool_] = (first <= np.arange(keys)) & (np.arange(keys) <= last)
    return shown & (shown.sum(-1, keepdims=True) > 1) if weights_alone else shown


def _seen(subject: Subject, case: Case) -> NDArray[np.bool_]:
    """Return (queries, keys): whether the output of a query changes with what the key fetches, by more than it may err.

    Where a key fetches a value, all scores are equal, so that every visible key counts.
    """
    capabilities, prepared = subject.implementation.capabilities, subject.prepared_for(case)
    bounds = _bounds(case, capabilities.arithmetic, capabilities.policy)
    answers = [to_array(prepared.call(tensors).output) for tensors in _problems(case)]
    row = mechanisms()[case.mechanism].output.index("Lq")
    columns = []
    for after, bound in zip(answers[1:], bounds[1:], strict=True):
        same = (np.abs(after - answers[0]) <= bound + bounds[0]) | (np.isnan(after) & np.isnan(answers[0]))
        columns.append((~same).any(axis=tuple(axis for axis in range(same.ndim) if axis != row)))
    return np.stack(columns, -1)


def _problems(case: Case) -> list[dict[str, Tensor]]:
    """Return the tensors before any change, and those in which one key after the other is changed."""
    tensors, axes = inputs.tensors(case), key_axes(case)
    changed = {name: axis for name, axis in axes.items() if name == "value"} or axes
    if "value" in changed:
        for declared in mechanisms()[case.mechanism].inputs:
            if not declared.parameter and declared.name != "value":
                tensors[declared.name].zero_()
    found = [tensors, *(_copies(tensors) for _ in range(number_of_keys(case)))]
    for key, other in enumerate(found[1:]):
        for name, axis in changed.items():
            other[name].select(axis, key).add_(8.0)
    return found


@functools.lru_cache(maxsize=16)
def _bounds(case: Case, arithmetic: Arithmetic, policy: Policy) -> list[NDArray[np.float64]]:
    """Return how far the output may be from a right one for each of the problems; a diagnosis asks for many mutants."""
    return [bounds_of(case, inputs.exact(tensors), arithmetic, policy)[0].bound for tensors in _problems(case)]


OTHER = "other"
"""The word for rows that see no key and are none of what may be declared."""


@check(
    "behaviour.fully_masked_rows", is_anchor, lambda one, case: can_hide(one, case) or bool(_without_keys(one, case))
)
def fully_masked_rows(subject: Subject) -> Judgement:
    """What a query that sees no key gets, by every way to hide keys: zero, NaN, the mean of the values, or other."""
    declared: Policy = subject.implementation.capabilities.policy
    ways = ways_to_hide(subject.implementation, subject.case)
    problems = {way: (case, last_batch_hidden(case, way)) for way, case in ways.items()}
    without = _without_keys(subject.implementation, subject.case)
    problems |= {way: (case, inputs.tensors(case)) for way, case in without.items()}
    found = {}
    for way, (case, tensors) in problems.items():
        output = to_array(subject.prepared_for(case).call(tensors).output)
        fitting = (word for word in FULLY_MASKED_ROWS if _fits(output, subject, case, tensors, word))
        found[way] = next(fitting, OTHER)
    judged = finding(
        by_word(found), spelt_policy(declared), any(x != word_of(declared, way) for way, x in found.items())
    )
    if judged.reason and OTHER not in found.values() and len(set(found.values())) > 1:
        judged = replace(judged, reason=f"{judged.reason}; it keeps fully_masked_rows={found}")
    return judged


def _without_keys(implementation: Declaration, case: Case) -> dict[str, Case]:
    """Return options without a tensor that leave a query without keys, where there are more queries than keys.

    Each is another structure: none of what builds for seconds.
    """
    found: dict[str, Case] = {}
    if implementation.capabilities.builds or not {"Lq", "Lk"} <= case.sizes.keys():
        return found
    more = replace(case, sizes={**case.sizes, "Lq": case.sizes["Lk"], "Lk": case.sizes["Lq"]})
    for name in (name for name, option in OPTIONS.items() if option.interval is not None):
        for probe in with_option(implementation, more, name).values():
            if masked_rows(probe).any():
                found.setdefault(name, probe)
    return found


def last_batch_hidden(case: Case, way: str) -> dict[str, Tensor]:
    """Return the case's tensors, with every key hidden from the last batch element and none from the others."""
    import torch

    tensors = inputs.tensors(case)
    keys, rule = number_of_keys(case), hiding([way])[way]
    shown = rule.shown(tuple(tensors[way].shape), keys)
    hidden = rule.hide(shown, np.ones((1, keys), bool))
    tensors[way] = torch.from_numpy(np.concatenate([shown[:-1], hidden[-1:]])).to(tensors[way])
    return tensors


def _fits(output: NDArray[np.float64], subject: Subject, case: Case, tensors: Mapping[str, Tensor], word: str) -> bool:
    """Return whether the rows that see no key are what this word makes of them."""
    arithmetic, arrays = subject.implementation.capabilities.arithmetic, inputs.exact(tensors)
    right, _ = bounds_of(case, arrays, arithmetic, word)
    rows = masked_rows(case, arrays)
    if output.shape != right.value.shape:
        return False
    return not judge(
        output[rows], ErrorBound(right.value[rows], right.bound[rows], right.deviation[rows], None, None)
    ).reason


@check("behaviour.masked_nan", is_anchor, can_hide, lambda _, case: bool(key_axes(case)), quantises_nothing)
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
    error_bound, _ = bounds_of(case, arrays, capabilities.arithmetic, capabilities.policy)
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
