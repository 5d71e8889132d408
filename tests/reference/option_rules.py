"""What each option does to one pair of query and key, written a second time: one scalar at a time, counted by hand."""

from __future__ import annotations

import numpy as np

from attention_harness.reference.scalars import Rule, context


def entry(array, shape, index):
    """Return the element of a condition that stands for this place in the scores."""
    return np.broadcast_to(array, shape)[index]


def causal(corner, index, shape, options) -> bool:
    """Return whether the key comes no later, counted from the first or from the last query and key."""
    (*_, i, j), (*_, queries, keys) = index, shape
    return j <= i if corner == "top_left" else keys - 1 - j >= queries - 1 - i


def valid_lens(lens, index, shape, options) -> bool:
    """Return whether the key lies within its batch's length, or its query's."""
    batch, *_, i, j = index
    return bool(j < (lens[batch] if lens.ndim == 1 else lens[batch, i]))


def window(sides, index, shape, options) -> bool:
    """Return whether the key is among the l before the query's place, its own, and the r after it."""
    (*_, i, j), (*_, queries, keys), (left, right) = index, shape, sides
    place = i + keys - queries if options.get("causal") == "bottom_right" else i
    return j in range(place - left, place + right + 1)


def capped(score, cap, index, shape, options):
    """Return c tanh(s / c)."""
    mp = context()
    return mp.mpf(cap) * mp.tanh(score / mp.mpf(cap))


def biased(score, bias, index, shape, options):
    """Return the score plus the bias."""
    return score + context().mpf(float(entry(bias, shape, index)))


def linearly_biased(score, form, index, shape, options):
    """Return the score less the head's slope times the distance, each slope found by the rule of the paper."""
    mp = context()
    (*_, head, i, j), (*_, heads, queries, keys) = index, shape
    place = i + keys - queries if options.get("causal") == "bottom_right" else i

    def slopes(n):  # of a power of two: a geometric sequence that begins with 2^(-8/n)
        return [mp.power(2, -mp.mpf(8 * (one + 1)) / n) for one in range(n)]

    whole = max(n for n in (2**k for k in range(12)) if n <= heads)
    slope = (slopes(whole) + slopes(2 * whole)[::2])[head]
    return score - slope * (abs(place - j) if form == "full" else place - j)


def by_bucket(score, table, index, shape, options):
    """Return the score plus the table's entry, the bucket found by counting the edges that the distance has passed."""
    (*_, head, i, j), (*_, queries, keys) = index, shape
    place = i + keys - queries if options.get("causal") == "bottom_right" else i
    behind, side = place - j, 32 if options.get("causal") else 16
    distance = max(behind, 0) if options.get("causal") else abs(behind)
    single = side // 2
    # distance >= single (128 / single)^(k / single), in whole numbers
    edges = [k for k in range(1, single) if distance**single * single**k >= single**single * 128**k]
    bucket = distance if distance < single else single + len(edges)
    if not options.get("causal") and behind < 0:
        bucket += side
    return score + context().mpf(float(table[bucket, head]))


RULES = {
    "softcap": Rule(score=capped),
    "bias": Rule(score=biased, sees=lambda bias, index, shape, o: entry(bias, shape, index) != -np.inf),
    "alibi": Rule(score=linearly_biased),
    "relative_bias": Rule(score=by_bucket),
    "sinks": Rule(beside=lambda sinks, row: context().mpf(float(sinks[row[1]]))),
    "mask": Rule(sees=lambda mask, index, shape, o: bool(entry(mask, shape, index))),
    "valid_lens": Rule(sees=valid_lens),
    "causal": Rule(sees=causal),
    "window": Rule(sees=window),
}
"""In the order in which they act. Numbers that a mechanism names are its own, dropout is in training."""
ELSEWHERE = {"scale", "base", "first_position", "grouped_heads", "dropout"}
