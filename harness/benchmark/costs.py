"""What a mechanism has to do at given sizes, counted from its formula: matrix products, elements, bytes. Pure.

matrix products   a multiplication and its addition are 2 operations. Over pairs of query and key: the scores and the
                  weighted sum of values. Apart from these: the projections of single positions.
causal            counted by the pairs that are seen, about half of them. What a mask, a bias or valid lengths hide
                  depends on their numbers and is counted in full.
grouped heads     every query head has its own scores; the key heads are read once, not once for each query head
backward          of pairs 2.5 times the forward's products: a fused backward pass keeps no weights, so it has five
                  products where the forward pass has two (Dao 2023, FlashAttention-2, section 4.1). Of projections
                  twice: the gradients of both factors. Their elements of softmax are computed again, too.
elements          numbers that go through the softmax, and through tanh; other arithmetic on elements is not counted
bytes             compulsory traffic: every input read once, the output written once; the backward pass reads the
                  inputs, the output and its gradient, and writes a gradient for every floating input
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from attention_harness.cases import inputs
from attention_harness.model.case import Case
from attention_harness.registry import mechanisms

BACKWARD_OF_PAIRS, BACKWARD_OF_PROJECTIONS = 2.5, 2.0


@dataclass(frozen=True, slots=True)
class Cost:
    """The counts of one call.

    pairs, projections   operations of the matrix products
    softmax, tanh        elements
    moved                bytes of compulsory traffic
    footprint            bytes of inputs and output: decides which cache can hold the problem
    least_memory         bytes that a call cannot avoid to add, its inputs being there: its output; with the backward
                         pass the gradients of all floating inputs as well
    written_out          bytes of the largest intermediate if written out: the scores, or the features of all pairs
    """

    pairs: float
    projections: float
    softmax: float
    tanh: float
    moved: float
    footprint: float
    least_memory: float
    written_out: float

    @property
    def flops(self) -> float:
        """Operations of all matrix products."""
        return self.pairs + self.projections


def cost(case: Case, direction: str = "forward") -> Cost:
    """Return what one call on the case has to do."""
    size, item = _Sizes(case), case.format.bytes
    pairs, projections, tanh = _products(case, size)
    seen = size.batch * size.seen
    known = mechanisms()[case.mechanism]
    floating = sum(math.prod(inputs.shape_of(own.axes, case.sizes)) for own in known.inputs) * item
    given = floating + _options(case)
    output = math.prod(inputs.shape_of(known.output, case.sizes)) * item
    written_out = size.batch * size.queries * size.keys * size.features * item
    if direction == "forward":
        return Cost(pairs, projections, seen, tanh, given + output, given + output, output, written_out)
    return Cost(
        pairs * (1 + BACKWARD_OF_PAIRS),
        projections * (1 + BACKWARD_OF_PROJECTIONS),
        seen * 2,
        tanh,
        2 * given + 3 * output + floating,
        given + output,
        output + floating,
        written_out,
    )


class _Sizes:
    """The lengths that pairs are made of. seen: pairs of query and key that causality leaves, in one head."""

    def __init__(self, case: Case) -> None:
        shape = inputs.shape_of(mechanisms()[case.mechanism].scores, case.sizes) or (0, 0, 0)
        self.batch, self.queries, self.keys = math.prod(shape[:-2]), shape[-2], shape[-1]
        corner = case.options.get("causal")
        shift = self.keys - self.queries if corner == "bottom_right" else 0
        rows = range(self.queries)
        self.seen = sum(min(max(i + 1 + shift, 0), self.keys) for i in rows) if corner else self.queries * self.keys
        width = {"additive": "A", "concat_tanh": "A", "gaussian_kernel": "D"}.get(case.mechanism)
        self.features = case.sizes[width] if width else 1


def _products(case: Case, size: _Sizes) -> tuple[float, float, float]:
    """Return operations over pairs, operations of projections, and elements of tanh."""
    s, n = case.sizes, size.batch * size.seen
    heads = s["B"] * s.get("H", 1)
    match case.mechanism:
        case "dot_product" | "scaled_dot_product" | "cosine" | "gaussian_kernel":  # the distance through its expansion
            return 2 * n * (s["D"] + s["Dv"]), 0, 0
        case "additive":
            layers = 2 * heads * (s["Lq"] * s["Dq"] + s["Lk"] * s["Dk"]) * s["A"]
            return 2 * n * (s["A"] + s["Dv"]), layers, n * s["A"]
        case "concat_tanh":  # its features are added up, not multiplied
            layers = 2 * heads * (s["Lq"] * s["Dq"] + s["Lk"] * s["Dk"]) * s["A"]
            return 2 * n * s["Dv"], layers, n * s["A"]
        case "tanh_gated":
            layer = 2 * heads * s["Lk"] * s["Dk"] * s["Dq"]
            return 2 * n * (s["Dq"] + s["Dv"]), layer, heads * s["Lk"] * s["Dq"]
        case "location":
            layers = 2 * s["B"] * s["Lq"] * (s["P"] * (s["Dq"] + s["Dk"]) + s["O"] * (s["Dq"] + s["Dv"]))
            return 2 * n * s["Dv"], layers, 0
        case "projected":
            layers = 2 * s["B"] * (s["Lq"] * s["Eq"] * s["D"] + s["Lk"] * (s["Ek"] * s["D"] + s["Ev"] * s["Dv"]))
            return 2 * n * (s["D"] + s["Dv"]), layers, 0
        case "multi_head":
            layers = 2 * s["B"] * s["E"] * (s["Lq"] * (s["Eq"] + s["O"]) + s["Lk"] * (s["Ek"] + s["Ev"]))
            return 4 * n * (s["E"] // s["H"]), layers, 0
        case "self_attention":
            return 4 * n * s["E"], 0, 0
        case "cross_attention":
            layers = 2 * s["B"] * s["E"] * (s["D"] * (s["Lq"] + s["Lk"]) + s["Lk"] * s["E"])
            return 2 * n * (s["D"] + s["E"]), layers, 0
        case "masked_softmax" | "positional_encoding":
            return 0, 0, 0
    raise ValueError(f"{case.mechanism} has no count of its operations; add it to harness/benchmark/costs.py")


def _options(case: Case) -> int:
    """Return the bytes of the tensors that options bring."""
    known, total = mechanisms()[case.mechanism], 0
    for name in inputs.option_tensors(case):
        if name == "scale":
            total += case.format.bytes
        elif name == "valid_lens":
            queries = inputs.shape_of(known.scores, case.sizes)[-2] if case.options[name] == "query" else 1
            total += 8 * case.sizes["B"] * queries
        else:
            shape = inputs.score_shape(known, case, case.options[name])
            total += math.prod(shape) * (1 if name == "mask" else case.format.bytes)
    return total
