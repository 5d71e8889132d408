r"""What the output is, seen from the values: a weighted mean of what each key would give alone.

$$O_i = o_i + \sum_h \sum_j P_{hij}\, F_{hij}$$

F is what query i fetches from key j alone - the value, behind the mechanism's own projections - and o what it has
without any key: the residual of cross attention, the query's part of the combining layer of `location`. The sum over h
is multi-head attention's; elsewhere the heads stand side by side.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attention_harness.bounds.judge import Judgement
from attention_harness.checks.relations.problem import Array, Problem, agree, ask, on_grid, within, worst
from attention_harness.checks.subject import Subject
from attention_harness.model.case import Case
from attention_harness.registry import mechanisms

_LIFT = 2.0  # the values are lifted to twice their largest magnitude, so that none is negative
_OTHER = 16.0  # of the second summand: the two differ in size


@dataclass(frozen=True)
class Fetched:
    """What each key of a problem gives alone.

    parts    (B, heads or 1, Lq or 1, Lk, width)
    offset   the output without any key
    seen     which keys each query sees, (B, heads or 1, Lq, Lk)
    joined   whether the heads are summed
    """

    parts: Array
    offset: Array
    seen: NDArray[np.bool_]
    joined: bool

    def output(self, weights: Array) -> Array:
        """Return the output that these weights give."""
        return self.join((np.asarray(weights)[..., None] * self.parts).sum(-2))

    def join(self, per_head: Array) -> Array:
        """Return what the heads make together, in the output's shape."""
        return self.offset + (per_head.sum(1) if self.joined else per_head.reshape(self._shape(per_head)))

    def rows(self) -> Any:
        """Return the rows of the output all of whose heads see a key, with a last axis of 1."""
        some: Any = self.seen.any(-1, keepdims=True)
        return some.all(1) if self.joined else some.reshape(self._shape(some))

    def _shape(self, array: NDArray[Any]) -> tuple[int, ...]:
        return array.shape if self.offset.ndim == 4 else (array.shape[0], *array.shape[2:])


def fetched(problem: Problem) -> Fetched:
    """Return what each key of a problem gives alone."""
    given, sizes = problem.arrays, problem.case.sizes
    shape = problem.score_shape
    seen = problem.visible.reshape(shape if len(shape) == 4 else (shape[0], 1, *shape[1:]))
    output = np.zeros((*(sizes[axis] for axis in problem.mechanism.output),))
    if "scores" in given:
        return Fetched(np.eye(shape[-1])[None, None, None], output, seen, joined=False)
    name = next(name for name in ("value", "context", "sequence") if name in given)
    values = given[name] if "W_v" not in given else given[name] @ given["W_v"].T
    if "W_o" in given:
        heads = sizes["H"]
        split = values.reshape(*values.shape[:-1], heads, sizes["E"] // heads).swapaxes(1, 2)  # (B, H, Lk, E / H)
        columns = given["W_o"].reshape(sizes["O"], heads, sizes["E"] // heads)  # (O, H, E / H)
        return Fetched(np.einsum("bhkd,ohd->bhko", split, columns)[:, :, None], output, seen, joined=True)
    if "W_c" in given:
        size = given["query"].shape[-1]
        output = given["query"] @ given["W_c"][:, :size].T + given["b_c"]
        values = values @ given["W_c"][:, size:].T
    if name == "context":
        output = given["sequence"]
    if values.ndim == 3:
        return Fetched(values[:, None, None], output, seen, joined=False)
    heads = shape[1] // values.shape[1]
    return Fetched(np.repeat(values, heads, 1)[:, :, None], output, seen, joined=False)


def fetches(case: Case) -> bool:
    """Whether what a key gives alone is known from the inputs: there are keys, and no positions are added to them."""
    return bool(mechanisms()[case.mechanism].scores) and case.options.get("positions") != "sinusoidal"


def linear_name(case: Case) -> str:
    """Return the tensor in which the output is linear but for its offset, or ""."""
    names = [declared.name for declared in mechanisms()[case.mechanism].inputs]
    return next((name for name in ("value", "W_v") if name in names), "")


def linear_in_values(subject: Subject) -> Judgement:
    r"""Linear in V: f(V + V') + f(0) = f(V) + f(V'), where f(0) is 0 but for a residual or a combining layer.

    V' is 16 V, rolled by one key; both are rounded so that the sum is exact. Cross attention is linear in W_v.
    """
    own = Problem.of(subject.case)
    name = linear_name(subject.case)
    value = own.arrays[name]
    value = on_grid(subject.case, value, (1 + _OTHER) * float(np.abs(value).max(initial=0.0)))
    other = _OTHER * np.roll(value, 1, -2)
    answers = [ask(subject, own.changed(**{name: array})) for array in (value + other, 0 * value, value, other)]
    left = answers[0].output + answers[1].output
    right = answers[2].output + answers[3].output
    allowed = np.sum([answer.bound for answer in answers], 0)
    return agree(left, right, allowed, what="f(V + V') + f(0) and f(V) + f(V')")


def is_linear(case: Case) -> bool:
    """Whether there are values to be linear in."""
    return bool(linear_name(case))


def hull(subject: Subject) -> Judgement:
    r"""Outputs stay in the hull of the visible values: $\min_j V_{jc} \le O_{ic} \le \max_j V_{jc}$, $j \in N(i)$.

    Asked of the values as they are, and lifted until none is negative: weights that sum to less than 1 then leave it.
    """
    own = Problem.of(subject.case)
    problems = [own]
    if "value" in own.arrays:
        largest = float(np.abs(own.arrays["value"]).max(initial=0.0))
        lift = _LIFT * 2.0 ** np.ceil(np.log2(largest)) if largest > 0 else 0.0
        problems.append(own.changed(value=on_grid(subject.case, own.arrays["value"], lift + largest) + lift))
    return worst([_in_hull(subject, problem) for problem in problems])


def _in_hull(subject: Subject, problem: Problem) -> Judgement:
    answer, parts = ask(subject, problem), fetched(problem)
    seen = parts.seen[..., None]
    whole = np.broadcast_to(parts.parts, np.broadcast_shapes(parts.parts.shape, seen.shape))
    low = parts.join(np.min(whole, -2, initial=np.inf, where=seen))
    high = parts.join(np.max(whole, -2, initial=-np.inf, where=seen))
    return within(low, high, answer.output, answer.bound, parts.rows(), "the output and the hull of the visible values")


def one_key(subject: Subject) -> Judgement:
    """One key returns its value: a query that sees a single key has weight 1 on it, whatever the score."""
    problem = Problem.of(subject.case)
    keys = problem.score_shape[-1]
    if keys > 1:
        problem = _one_seen(problem)
    answer, parts = ask(subject, problem), fetched(problem)
    alone = (parts.seen.sum(-1, keepdims=True) == 1).all(1) if parts.joined else parts.seen.sum(-1, keepdims=True) == 1
    alone = alone if parts.joined else alone.reshape(parts.rows().shape)
    expected = parts.output(parts.seen.astype(np.float64))
    return agree(answer.output, expected, answer.bound, alone, "the output and the only key's value")


def _one_seen(problem: Problem) -> Problem:
    """Hide every key but one, another one for each query where the mask or bias has a row for each."""
    name = "mask" if "mask" in problem.arrays else "bias"
    array = problem.arrays[name]
    queries, keys = array.shape[-2:]
    chosen = np.arange(queries)[:, None] * 2 % keys == np.arange(keys)
    if name == "mask":
        return problem.changed(mask=array & chosen)
    return problem.changed(bias=np.where(chosen, array, -np.inf))


def sees_one_key(case: Case) -> bool:
    """Whether a query sees a single key, or can be made to by the case's mask or bias."""
    if not fetches(case):
        return False
    keys = case.sizes[mechanisms()[case.mechanism].scores[-1]]
    return keys == 1 or (keys > 1 and bool({"mask", "bias"} & set(case.options)))


def equal_keys(subject: Subject) -> Judgement:
    """Equal keys give the mean: with k_j = k for all j, O_i is the mean of the values that i sees."""
    problem = Problem.of(subject.case)
    letter = problem.mechanism.scores[-1]
    names = [declared.name for declared in problem.mechanism.inputs if letter in declared.axes]
    problem = problem.along(letter, _first_everywhere, [name for name in names if name != "value"])
    if "bias" in problem.arrays:
        bias = problem.arrays["bias"]
        problem = problem.changed(bias=np.where(np.isneginf(bias), bias, 0.0))
    answer, parts = ask(subject, problem), fetched(problem)
    number = parts.seen.sum(-1, keepdims=True)
    expected = parts.output(parts.seen / np.maximum(number, 1))
    return agree(answer.output, expected, answer.bound, parts.rows(), "the output and the mean of the visible values")


def _first_everywhere(array: NDArray[Any], axis: int, _: str) -> NDArray[Any]:
    return np.repeat(np.take(array, [0], axis), array.shape[axis], axis)


def has_keys(case: Case) -> bool:
    """Whether there is a key at all, whose image is known."""
    return fetches(case) and case.sizes[mechanisms()[case.mechanism].scores[-1]] > 0


def zero_values(subject: Subject) -> Judgement:
    """Zero values leave the residual: O = E for cross attention, W_c [Q; 0] + b_c for `location`, 0 elsewhere."""
    problem = Problem.of(subject.case)
    name = linear_name(subject.case)
    problem = problem.changed(**{name: np.zeros_like(problem.arrays[name])})
    answer, parts = ask(subject, problem), fetched(problem)
    return agree(
        answer.output, parts.offset, answer.bound, parts.rows(), "the output and what stands beside zero values"
    )


_LARGE = 2.0**10  # of a score or a factor that decides between keys


def sharp_scores(subject: Subject) -> Judgement:
    r"""Sharp scores fetch the best key's value: $O_i \to V_{\pi(i)}$ as $S_{i\pi(i)} - S_{ij} \to \infty$.

    Keys are sign patterns that spell their number in binary, a query is the pattern of the key that it shall fetch: by
    inner product or distance that key is best by a gap that follows from the construction, so that no reference has to
    say which it is. What the other keys keep, $(n - 1) e^{-\text{gap}}$ of the values' range, is allowed.
    """
    problem = Problem.of(subject.case)
    keys = problem.score_shape[-1]
    problem, best, gap = _sharpened(problem)
    answer, parts = ask(subject, problem), fetched(problem)
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


def can_be_sharp(case: Case) -> bool:
    """Whether scores can be made to decide: an unbounded score, wide enough for the patterns, and every key visible."""
    visibility = {"mask", "bias", "valid_lens", "causal", "dropout"} & set(case.options)
    if not fetches(case) or visibility or "cosine" in (case.mechanism, case.options.get("score")):
        return False
    sizes, bits = case.sizes, _bits(case)
    scale = case.options.get("scale", 1.0)
    if not isinstance(scale, float) or scale < 2.0**-4 or not has_keys(case):
        return False
    widths = [sizes[axis] for axis in ("D", "Dq", "Dk", "Eq", "Ek", "E") if axis in sizes]
    if "W_o" in [declared.name for declared in mechanisms()[case.mechanism].inputs]:
        widths.append(sizes["E"] // sizes["H"])
    return min(widths, default=bits) >= bits and case.format.single
