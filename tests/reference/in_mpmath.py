"""Every mechanism once more, scalar by scalar in mpmath at 50 digits. Nothing here comes from `reference` or NumPy's
arithmetic: arrays are only tables of numbers, and a fully masked row is written as a sum of no terms.

A formula takes `x`, its tensors by name, and `o`, its options by name, and returns (output, weights or None).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import mpmath
import numpy as np

mp = mpmath.mp.clone()
mp.dps = 50
dot = mp.fdot


def table(shape: tuple[int, ...], entry: Callable[..., Any]) -> Any:
    """Return the table of entry(*index)."""
    made = np.empty(shape, object)
    for index in np.ndindex(shape):
        made[index] = entry(*index)
    return made


def numbers(array: Any) -> Any:
    """Return a float array as a table of the very same numbers."""
    return table(array.shape, lambda *index: mp.mpf(float(array[index])))


def layer(x: Any, weight: Any, bias: Any = None) -> Any:
    """Return W x + b for every vector of x."""

    def entry(*index: int) -> Any:
        *vector, unit = index
        return dot(x[tuple(vector)], weight[unit]) + (0 if bias is None else bias[unit])

    return table((*x.shape[:-1], weight.shape[0]), entry)


def seen(o: Mapping[str, Any], shape: tuple[int, ...], index: tuple[int, ...]) -> bool:
    """Return whether every option lets this query see this key."""
    (batch, *_, i, j), (*_, queries, keys) = index, shape
    allowed = []
    if "mask" in o:
        allowed.append(np.broadcast_to(o["mask"], shape)[index])
    if "bias" in o:
        allowed.append(np.broadcast_to(o["bias"], shape)[index] != -np.inf)
    if "valid_lens" in o:
        lens = o["valid_lens"]
        allowed.append(j < (lens[batch] if lens.ndim == 1 else lens[batch, i]))
    if o.get("causal") == "top_left":
        allowed.append(j <= i)
    if o.get("causal") == "bottom_right":
        allowed.append(keys - 1 - j >= queries - 1 - i)  # counted from the last query and the last key
    return all(allowed)


def softmax(score: Callable[..., Any], shape: tuple[int, ...], o: Mapping[str, Any]) -> Any:
    """Return exp(score + bias) over the sum of those that are seen."""

    def mass(*index: int) -> Any:
        if not seen(o, shape, index):
            return mp.zero
        bias = float(np.broadcast_to(o["bias"], shape)[index]) if "bias" in o else 0
        return mp.exp(score(*index) + bias)

    masses = table(shape, mass)
    totals = table(shape[:-1], lambda *row: mp.fsum(masses[row]))
    return table(shape, lambda *index: masses[index] / totals[index[:-1]] if masses[index] else mp.zero)


def attend(score: Callable[..., Any], q: Any, k: Any, v: Any, o: Mapping[str, Any]) -> tuple[Any, Any]:
    """Return output and weights for score(query vector, key vector); the heads of q share those of k and v."""
    group = q.shape[-3] // k.shape[-3] if q.ndim == 4 else 1  # three axes: there are no heads

    def own(batch: int, *head: int) -> tuple[int, ...]:
        return (batch, *(one // group for one in head))

    pairs = (*q.shape[:-1], k.shape[-2])
    weights = softmax(lambda *at: score(q[at[:-1]], k[(*own(*at[:-2]), at[-1])]), pairs, o)
    columns = (*q.shape[:-1], v.shape[-1])
    return table(columns, lambda *at: dot(weights[at[:-1]], v[(*own(*at[:-2]), slice(None), at[-1])])), weights


def inner(q: Any, k: Any) -> Any:
    return dot(q, k)


def cosine(q: Any, k: Any) -> Any:
    length = mp.sqrt(dot(q, q)) * mp.sqrt(dot(k, k))
    return dot(q, k) / length if length else mp.zero


def scaled(o: Mapping[str, Any], width: int) -> Callable[[Any, Any], Any]:
    factor = mp.mpf(o["scale"]) if "scale" in o else 1 / mp.sqrt(width)
    return lambda q, k: dot(q, k) * factor


def summed_tanh(features: Any, weights: Any) -> Any:
    return mp.fsum(weight * mp.tanh(feature) for feature, weight in zip(features, weights, strict=True))


def pairwise(score: Callable[[Any, Any, Any], Callable[[Any, Any], Any]]) -> Callable[..., tuple[Any, Any]]:
    """Return the formula whose score of (query, key) is score(x, o)."""
    return lambda x, o: attend(score(x, o), x["query"], x["key"], x["value"], o)


def projected(x: Any, o: Any) -> tuple[Any, Any]:
    q, k, v = (layer(x[name], x[weight]) for name, weight in (("query", "W_q"), ("key", "W_k"), ("value", "W_v")))
    scores = {"dot_product": inner, "cosine": cosine, "scaled_dot_product": scaled(o, q.shape[-1])}
    return attend(scores[o["score"]], q, k, v, o)


def multi_head(x: Any, o: Any) -> tuple[Any, Any]:
    heads = o["heads"]

    def split(name: str, weight: str) -> Any:
        flat = layer(x[name], x[weight])
        batch, length, width = flat.shape
        each = width // heads
        return table((batch, heads, length, each), lambda b, h, i, c: flat[b, i, h * each + c])

    q, k, v = split("query", "W_q"), split("key", "W_k"), split("value", "W_v")
    output, weights = attend(scaled(o, q.shape[-1]), q, k, v, o)
    batch, _, length, each = output.shape
    merged = table((batch, length, heads * each), lambda b, i, c: output[b, c // each, i, c % each])
    return layer(merged, x["W_o"]), weights


def cross_attention(x: Any, o: Any) -> tuple[Any, Any]:
    q, k, v = layer(x["sequence"], x["W_q"]), layer(x["context"], x["W_k"]), layer(x["context"], x["W_v"])
    change, weights = attend(scaled(o, q.shape[-1]), q, k, v, o)
    return table(change.shape, lambda *at: x["sequence"][at] + change[at]), weights


def positional_encoding(x: Any, o: Any) -> tuple[Any, None]:
    width = x["sequence"].shape[-1]

    def entry(b: int, t: int, c: int) -> Any:
        angle = t / mp.power(10000, mp.mpf(c - c % 2) / width)
        return x["sequence"][b, t, c] + (mp.cos(angle) if c % 2 else mp.sin(angle))

    return table(x["sequence"].shape, entry), None


def self_attention(x: Any, o: Any) -> tuple[Any, Any]:
    z = positional_encoding(x, o)[0] if o["positions"] == "sinusoidal" else x["sequence"]
    return attend(scaled(o, z.shape[-1]), z, z, z, o)


def location(x: Any, o: Any) -> tuple[Any, Any]:
    pair = np.concatenate([x["query"], x["key"]], -1)
    scores = layer(pair, x["W"], x["b"])
    weights = softmax(lambda *at: scores[at], scores.shape, o)
    context = table((*scores.shape[:-1], x["value"].shape[-1]), lambda b, i, c: dot(weights[b, i], x["value"][b, :, c]))
    return layer(np.concatenate([x["query"], context], -1), x["W_c"], x["b_c"]), weights


def masked_softmax(x: Any, o: Any) -> tuple[Any, Any]:
    weights = softmax(lambda *at: x["scores"][at], x["scores"].shape, o)
    return weights, weights


def additive(x: Any, o: Any) -> Callable[[Any, Any], Any]:
    return lambda q, k: summed_tanh(layer(q, x["W_q"]) + layer(k, x["W_k"]), x["w_v"])


def concat_tanh(x: Any, o: Any) -> Callable[[Any, Any], Any]:
    return lambda q, k: summed_tanh(layer(np.concatenate([q, k]), x["W"], x["b"]), [1] * len(x["b"]))


def tanh_gated(x: Any, o: Any) -> Callable[[Any, Any], Any]:
    return lambda q, k: summed_tanh(layer(k, x["W"]), q)


def gaussian_kernel(x: Any, o: Any) -> Callable[[Any, Any], Any]:
    return lambda q, k: -mp.fsum((x["w"][0] * (a - b)) ** 2 for a, b in zip(q, k, strict=True)) / 2


FORMULAS: dict[str, Callable[[Any, Any], tuple[Any, Any]]] = {
    "dot_product": pairwise(lambda x, o: inner),
    "scaled_dot_product": pairwise(lambda x, o: scaled(o, x["query"].shape[-1])),
    "cosine": pairwise(lambda x, o: cosine),
    "additive": pairwise(additive),
    "concat_tanh": pairwise(concat_tanh),
    "tanh_gated": pairwise(tanh_gated),
    "gaussian_kernel": pairwise(gaussian_kernel),
    "location": location,
    "projected": projected,
    "multi_head": multi_head,
    "cross_attention": cross_attention,
    "self_attention": self_attention,
    "masked_softmax": masked_softmax,
    "positional_encoding": positional_encoding,
}


def evaluate(mechanism: str, tensors: Mapping[str, Any], options: Mapping[str, Any]) -> tuple[Any, Any]:
    """Return output and weights of a mechanism as tables of 50 digits."""
    return FORMULAS[mechanism]({name: numbers(array) for name, array in tensors.items()}, options)
