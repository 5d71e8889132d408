"""The bound of a recurrence holds where its state is multiplied out too: query and key, then decays and values."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attention_harness.bounds import operations, recurrence
from attention_harness.bounds.tape import Taped, gradients
from attention_harness.reference import core
from attention_harness.reference.linear_attention import linear_attention
from tests.bounds.soundness.adversary import Adversary
from tests.bounds.soundness.scenarios import MODELS, Leaf, ratio
from tests.conftest import DEEP

MODES = ("nearest", "random", "up", "down")
DRAWN = settings(max_examples=100 if DEEP else 3, derandomize=not DEEP, deadline=None, database=None)
RULE = pytest.mark.parametrize("rule", ["plain", "head", "feature", "delta", "gated delta"])
UNDERFLOWING = ("subnormal", "float16 alone")  # where query and key are multiplied first, other products vanish
MODEL = pytest.mark.parametrize("model", [name for name in MODELS if name not in ("scaled", *UNDERFLOWING)])
"""Without "scaled", which rounds each matrix product once more."""
LENGTH, WIDTH = 6, 4


def multiplied_out(query, key, value, decay=None, update_rate=None):
    """Return linear attention as unnormalised attention: no state, and a product of decays for each pair."""
    factor = core.computed(np.float64(1 / math.sqrt(query.shape[-1])), query, 2)
    queries, keys, values = (core.positions(core.wide(x, query)) for x in (query, key, value))
    decays = None if decay is None else core.positions(np.exp(core.wide(decay, query)))
    rates = None if update_rate is None else core.positions(core.wide(update_rate, query)[..., None])
    rows, since = [], []

    def read(reader, count):
        scores = [_score(reader, keys[s], since[s] if decays else None) for s in range(count)]
        return core.joined(scores).swapaxes(-1, -2) @ core.joined(values[:count])

    for t, q in enumerate(queries):
        if decays is not None:  # after each key's position, up to the query's
            since = [decays[t] if one is None else one * decays[t] for one in since]
            since.append(None)
        if rates is not None:
            values[t] = rates[t] * (values[t] - read(keys[t], t) if t else values[t])
        rows.append(read(q, t + 1))
    return core.narrow(core.joined(rows) * factor, query), None


def _score(q, k, decay):
    if decay is None:
        return q @ k.swapaxes(-1, -2)
    return (q @ k.swapaxes(-1, -2)) * decay if decay.shape[-1] == 1 else (q * decay) @ k.swapaxes(-1, -2)


def drawn(rule: str, rng: np.random.Generator) -> dict[str, Leaf]:
    """Return inputs: some keys take back what the one before has written, so that states cancel."""
    leaves = {name: rng.normal(size=(1, 2, LENGTH, WIDTH)) for name in ("query", "key", "value")}
    for t in np.flatnonzero(rng.random(LENGTH - 1) < 0.5) + 1:
        leaves["key"][..., t, :], leaves["value"][..., t, :] = (
            -leaves["key"][..., t - 1, :],
            leaves["value"][..., t - 1, :],
        )
    if rule not in ("plain", "delta"):
        leaves["decay"] = -np.abs(rng.normal(size=(1, 2, LENGTH, 1 if rule == "head" else WIDTH)))
    if rule in ("delta", "gated delta"):
        leaves["key"] /= WIDTH
        leaves["update_rate"] = rng.random((1, 2, LENGTH))
    return {name: Leaf(x) for name, x in leaves.items()}


def found(formula, leaves, model, adversary=None, upstream=None):
    """Return the output, and gradients of <upstream, output>, as they are handed out."""
    made = {name: x.simulated(model, adversary) if adversary else x.tracked(model) for name, x in leaves.items()}
    if upstream is None:
        return [formula(**made)[0].as_output()]
    taped = {name: Taped(x) for name, x in made.items()}
    adjoint = upstream.simulated(model, adversary) if adversary else upstream.tracked(model)
    return [x.as_output() for x in gradients([(formula(**taped)[0].as_output(), adjoint)], list(taped.values()))]


@RULE
@MODEL
@DRAWN
@given(seed=st.integers(0, 2**32))
def test_output_and_gradients_multiplied_out_stay_within_their_bounds(rule, model, seed):
    """With a decay of each head or of each feature, with a correction, or without either."""
    rng = np.random.default_rng(seed)
    leaves, upstream = drawn(rule, rng), Leaf(rng.normal(size=(1, 2, LENGTH, WIDTH)))
    for asked in (None, upstream):
        bounds = found(linear_attention, leaves, MODELS[model], upstream=asked)
        for mode in MODES:
            held = found(multiplied_out, leaves, MODELS[model], Adversary(mode, rng), asked)
            ratios = [ratio(bound, one) for bound, one in zip(bounds, held, strict=True)]
            assert max(ratios) <= 1, (mode, ratios)


@pytest.mark.parametrize("asked", ["output", "gradients"])
def test_a_bound_that_follows_the_states_alone_is_too_small(asked, monkeypatch):
    """Every second key, or query, takes back what the one before has written: states cancel, or their adjoints do."""
    ones = np.ones((1, 1, 16, 16))
    turned = ones * (-1.0) ** np.arange(16)[:, None]
    query, key = (ones, turned) if asked == "output" else (turned, ones)
    leaves = {"query": Leaf(query), "key": Leaf(key), "value": Leaf(ones[..., :1])}
    upstream = None if asked == "output" else Leaf(ones[..., :1])
    held = found(multiplied_out, leaves, MODELS["one format"], Adversary("up"), upstream)

    def worst():
        bounds = found(linear_attention, leaves, MODELS["one format"], upstream=upstream)
        return max(ratio(bound, one) for bound, one in zip(bounds, held, strict=True))

    assert 0.3 < worst() <= 1
    for module in (operations, recurrence):
        monkeypatch.setattr(module, "in_any_order", lambda bound, terms: bound)
    assert worst() > 1
