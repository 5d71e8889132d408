"""Linear attention: a state sums what keys and values leave, position by position, and a query reads it."""

import math
from typing import Any

import numpy as np

from attention_harness.reference.algebra import Algebra
from attention_harness.reference.core import computed, corrected, joined, narrow, positions, repeat_heads, wide
from attention_harness.reference.scalars import Scalars
from attention_harness.reference.specification import Mechanism, Work, tensor


def linear_attention(
    query: Any, key: Any, value: Any, *, scale: Any = None, decay: Any = None, update_rate: Any = None
) -> tuple[Any, None]:
    r"""$$S_t = e^{g_t} S_{t-1} + b_t k_t (v_t - e^{g_t} S_{t-1}^\top k_t)^\top, \quad
    O_t = \frac{1}{\sqrt{D}} S_t^\top q_t$$

    Shapes: query (B, H, L, D); key (B, Hk, L, D); value (B, Hk, L, Dv) -> output (B, H, L, Dv). The state S
    (B, Hk, D, Dv) is zero before the first position.
    decay: g, numbers of at most 0: (B, Hk, L), or (B, Hk, L, D), whose entry multiplies a row of the state. Without it
    the factor is 1. update_rate: b (B, Hk, L), from 0 to 1. Without it the state is not corrected:
    S_t = exp(g_t) S_{t-1} + k_t v_t^T. `scale`, a number or a learned tensor (1), replaces 1/sqrt(D).
    With a decay the rule is called gated, with a rate it is the delta rule, which needs keys of length 1 at most.
    Whatever the inputs' dtype, the state and all steps are in the format of sums; the output is rounded once.
    The sums over positions may be made in any order, chunk by chunk or without a state: `harness/bounds/recurrence.py`.
    Bounds have no room for decays as exp(G_t - G_s) of cumulated sums G, whose error grows with |G|.
    Fully masked rows: none; there are no scores.
    Source: beyond the notes. Katharopoulos et al. 2020 without their normaliser; Yang et al. 2024, Gated Linear
    Attention; Schlag et al. 2021 and Yang et al. 2025, Gated Delta Networks. ONNX
    LinearAttention-27 is the same from a state of zeros.
    """
    heads, width = query.shape[-3], query.shape[-1]
    factor = 1 / math.sqrt(max(width, 1)) if scale is None else scale
    factor = computed(np.float64(factor), query, 2) if isinstance(factor, float) else wide(factor, query)
    q, k, v = (repeat_heads(wide(x, query), heads) for x in (query, key, value))
    if not q.shape[-2]:
        return narrow(q @ (k.swapaxes(-1, -2) @ v), query), None
    decays, rates = (None if gate is None else _gates(gate, query) for gate in (decay, update_rate))
    rows = _rows(positions(q), positions(k), positions(v), decays, rates)
    return narrow(joined(rows) * factor, query), None


def _gates(gate: Any, query: Any) -> Any:
    """Return numbers for each position of every query's head, (B, H, 1, D or 1)."""
    gate = wide(gate, query)
    return positions(repeat_heads(gate if gate.ndim == 4 else gate[..., None], query.shape[-3]))


def _rows(queries: Any, keys: Any, values: Any, decays: Any, rates: Any) -> list[Any]:
    """Return what each query reads of the state, (B, H, 1, Dv), unscaled. The first update meets no state."""
    rows, state = [], None
    for t, (q, k, v) in enumerate(zip(queries, keys, values, strict=True)):
        if state is not None and decays is not None:
            state = state * np.exp(decays[t]).swapaxes(-1, -2)
        if rates is None or state is None:
            update = k.swapaxes(-1, -2) * (v if rates is None else rates[t] * v)
            state = update if state is None else state + update
        else:
            state = corrected(state, k, v, rates[t])
        rows.append(q @ state)
    return rows


def _exact(s: Scalars) -> tuple[Any, None]:
    """Return the output at 50 digits."""
    query, key, value = s.x["query"], s.x["key"], s.x["value"]
    (batch, heads, length, width), value_width = query.shape, value.shape[-1]
    output = np.empty((batch, heads, length, value_width), object)
    factor = s.mp.mpf(s.o["scale"]) if "scale" in s.o else 1 / s.mp.sqrt(width)
    for b, h, column in np.ndindex(batch, heads, value_width):
        of_key, state = (b, h * key.shape[1] // heads), [s.mp.zero] * width
        for t in range(length):
            k, change = key[(*of_key, t)], value[(*of_key, t, column)]
            if "decay" in s.o:
                gates = np.broadcast_to(s.o["decay"][(*of_key, t)], width)
                state = [s.mp.exp(s.mp.mpf(float(g))) * x for g, x in zip(gates, state, strict=True)]
            if "update_rate" in s.o:
                change = s.mp.mpf(float(s.o["update_rate"][(*of_key, t)])) * (change - s.dot(state, k))
            state = [x + one * change for x, one in zip(state, k, strict=True)]
            output[b, h, t, column] = factor * s.dot(query[b, h, t], state)
    return output, None


MECHANISM = Mechanism(
    name="linear_attention",
    evaluate=linear_attention,
    exact=_exact,
    work=lambda sizes, pairs: Work(projections=4 * math.prod(sizes[axis] for axis in ("B", "H", "L", "D", "Dv"))),
    inputs=(
        tensor("query", "B H L D", "what reads the state"),
        tensor("key", "B Hk L D", "where in the state a value is written", short=True),
        tensor("value", "B Hk L Dv", "what is written"),
    ),
    output=("B", "H", "L", "Dv"),
    scores=(),
    kind="beyond",
    steps=(r"O_t = \frac{1}{\sqrt{D}} S_t^\top q_t",),
    source="beyond the notes: Katharopoulos et al. 2020, Schlag et al. 2021, Yang et al. 2025; ONNX LinearAttention-27",
    options=("scale", "learned_scale", "grouped_heads", "head_decay", "feature_decay", "update_rate"),
    requires=(("H", "Hk"),),
    algebra=Algebra(checks=("relation.prefix", "relation.unnormalised"), linear="value"),
)
