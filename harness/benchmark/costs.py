"""What a call on a case has to do: matrix products, elements, bytes, counted from the mechanism's declaration. Pure.

matrix products   a multiplication and its addition are 2 operations: `Mechanism.work` counts them, over the pairs of
                  query and key that causality and the like leave. What a tensor hides depends on its numbers and is
                  counted in full.
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
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from attention_harness.cases import inputs
from attention_harness.model.case import Case
from attention_harness.options import visible_pairs
from attention_harness.reference.specification import Mechanism
from attention_harness.registry import mechanisms

BACKWARD_OF_PAIRS, BACKWARD_OF_PROJECTIONS = 2.5, 2.0
PRODUCT, SOFTMAX, TANH = "matrix product", "softmax", "tanh"
COPY = "copy in "
"""Begins the kind of a copy; the memory that holds it follows."""
BYTES = "bytes"
"""In place of a dtype, of what is copied."""


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


def amount(counted: Cost, kind: str) -> float:
    """Return how much of a kind of work a call has to do: operations, elements or bytes."""
    if kind.startswith(COPY):
        return counted.moved
    return {PRODUCT: counted.flops, SOFTMAX: counted.softmax, TANH: counted.tanh}[kind]


def kinds(counted: Cost, caches: Mapping[str, int]) -> Iterator[str]:
    """Yield the kinds of work of a call. caches: bytes of each level, of which a copy holds half: it has two sides."""
    level = next((name for name, size in caches.items() if counted.footprint <= size / 2), "DRAM")
    yield from (kind for kind in (PRODUCT, SOFTMAX, TANH, COPY + level) if amount(counted, kind))


def cost(case: Case, direction: str = "forward") -> Cost:
    """Return what one call on the case has to do."""
    known, item = mechanisms()[case.mechanism], case.format.bytes
    *outer, queries, keys = inputs.shape_of(known.scores, case.sizes) or (0, 0, 0)
    seen = math.prod(outer) * visible_pairs(case.options, queries, keys)
    work = known.work(case.sizes, seen)
    coded = inputs.codes(case)
    floating = sum(
        math.prod(inputs.shape_of(declared.axes, case.sizes)) * (1 if coded and declared.name in coded.scales else item)
        for declared in known.inputs
    )
    brought = floating + _option_bytes(known, case)
    output = item * math.prod(inputs.shape_of(known.output, case.sizes))
    features = case.sizes[known.features] if known.features else 1
    written_out = item * math.prod(outer) * queries * keys * features
    if direction == "forward":
        moved = brought + output
        return Cost(work.pairs, work.projections, seen, work.tanh, moved, moved, output, written_out)
    return Cost(
        work.pairs * (1 + BACKWARD_OF_PAIRS),
        work.projections * (1 + BACKWARD_OF_PROJECTIONS),
        seen * 2,
        work.tanh,
        2 * brought + 3 * output + floating,
        brought + output,
        output + floating,
        written_out,
    )


def _option_bytes(known: Mechanism, case: Case) -> int:
    """Return the bytes of the tensors that options bring."""
    brought, shapes = inputs.option_tensors(case), inputs.option_shapes(case)
    return sum(math.prod(shapes[name]) * (tensor.bytes or case.format.bytes) for name, tensor in brought.items())
