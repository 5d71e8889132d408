"""Scores that decide: the best key's value comes out."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from attention_harness.bounds.judge import Judgement
from attention_harness.checks.declaration import check, of_mechanism
from attention_harness.checks.interface import Declaration
from attention_harness.checks.relations.answer import Array, answer_to
from attention_harness.checks.relations.comparison import agree
from attention_harness.checks.relations.fetched import fetched, fetches, has_keys
from attention_harness.checks.relations.problem import Problem
from attention_harness.checks.relations.sampling import changeable, simple
from attention_harness.checks.subject import Subject
from attention_harness.model.case import Case
from attention_harness.registry import mechanisms

_LARGE = 2.0**10  # of a score or a factor that decides between keys


def can_be_sharp(implementation: Declaration, case: Case) -> bool:
    """Return whether scores can decide: unbounded, wide enough for the patterns, and every key visible."""
    visibility = {"mask", "bias", "valid_lens", "causal", "dropout"} & set(case.options)
    if visibility:
        return False
    sizes, bits = case.sizes, _bits(case)
    scale = case.options.get("scale", 1.0)
    if not isinstance(scale, float) or scale < 2.0**-4:
        return False
    widths = [sizes[axis] for axis in ("D", "Dq", "Dk", "Eq", "Ek", "E") if axis in sizes]
    if "W_o" in [declared.name for declared in mechanisms()[case.mechanism].inputs]:
        widths.append(sizes["E"] // sizes["H"])
    return min(widths, default=bits) >= bits and case.format.single


@check(
    "relation.sharp_scores",
    changeable,
    of_mechanism("relation.sharp_scores"),
    fetches,
    has_keys,
    can_be_sharp,
    sampled=simple,
)
def sharp_scores(subject: Subject) -> Judgement:
    r"""Sharp scores fetch the best key's value: $O_i \to V_{\pi(i)}$ as $S_{i\pi(i)} - S_{ij} \to \infty$.

    Keys are sign patterns that spell their number in binary, a query is the pattern of the key that it shall fetch: by
    inner product or distance that key is best by a gap that follows from the construction, so that no reference has to
    say which it is. What the other keys keep, $(n - 1) e^{-\text{gap}}$ of the values' range, is allowed.
    """
    problem = Problem.of(subject.case)
    keys = problem.score_shape[-1]
    problem, best, gap = _sharpened(problem)
    answer, parts = answer_to(subject, problem), fetched(problem)
    expected = parts.output(best[:, None] == np.arange(keys))
    spread = parts.join(np.ptp(parts.parts, -2)) - parts.offset
    left = (keys - 1) * np.exp(-gap) * spread
    return agree(answer.output, expected, answer.bound + left, what="the output and the best key's value")


def _sharpened(problem: Problem) -> tuple[Problem, NDArray[np.int64], float]:
    """Return the problem with deciding scores, the best key of each query, and the least gap of its score."""
    given, case = problem.arrays, problem.case
    queries, keys = problem.score_shape[-2:]
    best = np.arange(queries) * 3 % keys
    if "sequence" in given and "context" not in given:
        best = np.arange(queries)
    bits = _bits(case)
    side = 2.0**4
    factor = float(case.options.get("scale", 1.0)) if "scale" in case.options else _narrow(problem) ** -0.5

    def like(name: str, pattern: Array, size: float = side) -> Array:
        return np.broadcast_to(size * pattern, given[name].shape).astype(np.float64)

    def code(name: str, numbers: NDArray[np.int64], size: float = side) -> Array:
        return like(name, _code(numbers, given[name].shape[-1], bits), size)

    if "scores" in given:
        return problem.changed(scores=like("scores", best[:, None] == np.arange(keys), _LARGE)), best, _LARGE
    if "w_v" in given:  # no additive score knows a pattern again: one key is best for all queries
        best = np.full(queries, keys // 2)
        made = {"key": like("key", np.where(np.arange(keys) == keys // 2, 1.0, -1.0)[:, None])}
        made |= {"query": 0 * given["query"], "w_v": np.full_like(given["w_v"], side)}
        made["W_k"] = like("W_k", np.arange(given["W_k"].shape[1]) == 0, 1.0)
        return problem.changed(**made), best, 2 * given["w_v"].size * side * np.tanh(side)
    if "b" in given and "W_c" not in given:
        best = np.full(queries, keys // 2)
        made = {"key": like("key", np.where(np.arange(keys) == keys // 2, 1.0, -1.0)[:, None])}
        made |= {"query": 0 * given["query"], "b": 0 * given["b"]}
        made["W"] = like("W", np.arange(given["W"].shape[1]) == given["query"].shape[-1], 1.0)
        return problem.changed(**made), best, 2 * given["b"].size * np.tanh(side)
    if "W_c" in given:  # location: the rows of W are its keys
        columns = np.arange(given["W"].shape[1]) < given["query"].shape[-1]
        made = {"W": code("W", np.arange(keys)) * columns, "b": 0 * given["b"]}
        made["query"] = code("query", best)
        return problem.changed(**made), best, 2 * side**2
    if "sequence" in given and "context" not in given:
        return problem.changed(sequence=code("sequence", best)), best, 2 * side**2 * factor
    query, key = ("sequence", "context") if "context" in given else ("query", "key")
    made = {query: code(query, best), key: code(key, np.arange(keys))}
    for name in ("W_q", "W_k"):
        if name in given:
            made[name] = _picks(given[name].shape, bits, _narrow(problem))
    if "W" in given:  # behind tanh the keys are signs
        made["W"] = _picks(given["W"].shape, bits, given["W"].shape[0])
        return problem.changed(**made | {query: code(query, best, _LARGE)}), best, 2 * _LARGE * np.tanh(side)
    if "w" in given:
        return problem.changed(**made), best, 2 * side**2 * float(given["w"][0]) ** 2
    scaled = case.mechanism != "dot_product" and case.options.get("score") != "dot_product"
    return problem.changed(**made), best, 2 * side**2 * (factor if scaled else 1.0)


def _bits(case: Case) -> int:
    return max(1, int(case.sizes[mechanisms()[case.mechanism].scores[-1]] - 1).bit_length())


def _narrow(problem: Problem) -> int:
    """Return the width in which query and key meet."""
    sizes = problem.case.sizes
    if "W_o" in problem.arrays:
        return sizes["E"] // sizes["H"]
    return sizes.get("D", sizes.get("Dq", sizes.get("E", 1)))


def _code(numbers: NDArray[np.int64], width: int, bits: int) -> Array:
    """Return the numbers in binary as signs, repeated over the width: (n, width)."""
    return np.where(numbers[:, None] >> (np.arange(width) % bits) & 1, 1.0, -1.0)


def _picks(shape: tuple[int, ...], bits: int, width: int) -> Array:
    """Return a projection that repeats the first `bits` columns over its output, by blocks of a width."""
    source = np.arange(shape[0]) % width % bits
    return (source[:, None] == np.arange(shape[1])).astype(np.float64)
