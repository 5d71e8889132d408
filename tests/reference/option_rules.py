"""What each option does to one pair of query and key, written a second time: one scalar at a time, counted by hand."""

from __future__ import annotations

import itertools

import numpy as np

from attention_harness.reference.scalars import Rule, context


def entry(array, shape, index):
    """Return the element of a condition that stands for this place in the scores."""
    return np.broadcast_to(array, shape)[index]


def in_segment(ends, place):
    """Return the segment that holds a place, found by walking through all of them; None if none does."""
    for number, (begin, end) in enumerate(itertools.pairwise(ends)):
        if begin <= place < end:
            return number
    return None


def place_of(index, shape, options) -> int:
    """Return the key at which a query stands: as many after the first, or before the last, as it is after its own."""
    (*_, i, _), (*_, queries, keys) = index, shape
    box = [(0, queries), (0, keys)]
    if "segments" in options:
        ends = np.broadcast_to(options["segments"], (2, options["segments"].shape[-1])).tolist()
        number = in_segment(ends[0], i)
        box = [one[-2:] if number is None else one[number : number + 2] for one in ends]
    elif "cache_lens" in options:
        box[1] = 0, int(options["cache_lens"][index[0]])
    (first, last), (key, last_key) = box
    return last_key - (last - i) if options.get("causal") == "bottom_right" else key + (i - first)


def segments(lengths, index, shape, options) -> bool:
    """Return whether query and key lie in one segment."""
    *_, i, j = index
    of_queries, of_keys = np.broadcast_to(lengths, (2, lengths.shape[-1])).tolist()
    return in_segment(of_queries, i) is not None and in_segment(of_queries, i) == in_segment(of_keys, j)


def causal(corner, index, shape, options) -> bool:
    """Return whether the key comes no later, counted from the first or from the last query and key."""
    return index[-1] <= place_of(index, shape, options)


def valid_lens(lens, index, shape, options) -> bool:
    """Return whether the key lies within its batch's length, or its query's."""
    batch, *_, i, j = index
    return bool(j < (lens[batch] if lens.ndim == 1 else lens[batch, i]))


def window(sides, index, shape, options) -> bool:
    """Return whether the key is among the l before the query's place, its own, and the r after it."""
    (left, right), place = sides, place_of(index, shape, options)
    return index[-1] in range(place - left, place + right + 1)


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
    (*_, head, _, j), (*_, heads, _, _) = index, shape
    place = place_of(index, shape, options)

    def slopes(n):  # of a power of two: a geometric sequence that begins with 2^(-8/n)
        return [mp.power(2, -mp.mpf(8 * (one + 1)) / n) for one in range(n)]

    whole = max(n for n in (2**k for k in range(12)) if n <= heads)
    slope = (slopes(whole) + slopes(2 * whole)[::2])[head]
    return score - slope * (abs(place - j) if form == "full" else place - j)


def by_bucket(score, table, index, shape, options):
    """Return the score plus the table's entry, the bucket found by counting the edges that the distance has passed."""
    *_, head, _, j = index
    behind, side = place_of(index, shape, options) - j, 32 if options.get("causal") else 16
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
    "cache_lens": Rule(sees=valid_lens),
    "causal": Rule(sees=causal),
    "window": Rule(sees=window),
    "segments": Rule(sees=segments),
}
"""In the order in which they act. Numbers that a mechanism names are its own, dropout is in training."""
ELSEWHERE = {"scale", "base", "first_position", "pairing", "partial_rotary_factor", "query_key_norm", "rotary"}
ELSEWHERE |= {"quantised", "grouped_heads", "dropout", "lse", "past", "decay", "update_rate", "rotated_query_key_norm"}
