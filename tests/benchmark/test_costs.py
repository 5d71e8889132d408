"""Counts from the formulas, against torch's own counter and by hand."""

from __future__ import annotations

import pytest

from attention_harness import registry
from attention_harness.benchmark import workloads
from attention_harness.benchmark.costs import cost
from attention_harness.cases import inputs
from attention_harness.cases.ids import parse
from attention_harness.model.case import Case

# Products that eager makes of elements, or of a vector, which torch's counter passes by.
_UNCOUNTED = {
    "additive": lambda c: 2 * c.tanh,  # features times the vector w_v
    "gaussian_kernel": lambda c: c.pairs / 2,  # squared distances; with D = Dv
}
CASES = [
    w.case
    for w in workloads.of_matrix("quick")
    if parse(w.case).mechanism not in ("masked_softmax", "positional_encoding", "rotary_embedding", "linear_attention")
]
CASES += [
    "cosine-B2H3Hk3Lq5Lk7D8Dv6-float32-plain-ordinary-contiguous",
    "scaled_dot_product-B2H4Hk2Lq5Lk7D8Dv6-float32-plain-ordinary-contiguous",
]


def counted(case: Case, backward: bool) -> int:
    """Return what torch counts in a call of eager."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    call = registry.implementations()["eager"].prepare(case)
    tensors = inputs.tensors(case)
    if backward:
        tensors = {n: t.requires_grad_() if t.is_floating_point() else t for n, t in tensors.items()}
    with FlopCounterMode(display=False) as counter:
        output = call(**tensors)[0]
        if backward:
            output.backward(torch.ones_like(output))
    return counter.get_total_flops()


@pytest.mark.parametrize("text", CASES)
def test_forward_products_are_those_that_torch_counts(text: str) -> None:
    """But for causality, which eager computes in full and the formula does not ask for."""
    case = parse(text)
    full = cost(Case(case.mechanism, case.sizes, options={k: v for k, v in case.options.items() if k != "causal"}))
    uncounted = _UNCOUNTED.get(case.mechanism, lambda c: 0)(full)

    assert counted(case, backward=False) == full.flops - uncounted


@pytest.mark.parametrize("text", CASES)
def test_eager_backward_products_are_twice_the_forward_ones(text: str) -> None:
    """Eager keeps the weights; a fused pass computes them again, which makes 2.5 of the 2 over pairs."""
    case = parse(text)
    plain = Case(case.mechanism, case.sizes, options={k: v for k, v in case.options.items() if k != "causal"})
    one, both = cost(plain), cost(plain, "forward_backward")

    assert (3.5 * one.pairs, 3 * one.projections) == (both.pairs, both.projections)
    if case.mechanism not in _UNCOUNTED:
        assert 3 * one.flops == counted(case, backward=True)


def test_causality_halves_what_is_seen() -> None:
    """By the pairs of the triangle, for either corner; a corner beyond the keys sees none."""
    sizes = {"B": 1, "H": 1, "Hk": 1, "Lq": 4, "Lk": 4, "D": 2, "Dv": 2}

    def seen(corner: str, **lengths: int) -> float:
        return cost(Case("scaled_dot_product", sizes | lengths, options={"causal": corner})).softmax

    assert (10, 10) == (seen("top_left"), seen("bottom_right"))
    assert (9, 3) == (seen("top_left", Lk=3), seen("bottom_right", Lk=2))
    assert cost(Case("scaled_dot_product", sizes, options={"mask": "full"})).softmax == 16


def test_memory_by_hand() -> None:
    """2 x 3 rows of 6 numbers of 2 bytes leave; scores of 2 x 4 x 3 x 5 would be written out; key heads count once."""
    sizes = {"B": 2, "H": 4, "Hk": 2, "Lq": 3, "Lk": 5, "D": 7, "Dv": 6}
    found = cost(Case("scaled_dot_product", sizes, "bfloat16", {"mask": "query"}))
    query, key, value, mask, output = 2 * 4 * 3 * 7 * 2, 2 * 2 * 5 * 7 * 2, 2 * 2 * 5 * 6 * 2, 15, 2 * 4 * 3 * 6 * 2

    assert (output, 2 * 4 * 3 * 5 * 2) == (found.least_memory, found.written_out)
    assert query + key + value + mask + output == found.moved == found.footprint
    both = cost(Case("scaled_dot_product", sizes, "bfloat16", {"mask": "query"}), "forward_backward")
    assert output + query + key + value == both.least_memory


def test_every_mechanism_has_a_count() -> None:
    """A new one is told to be added, not counted as nothing."""
    for workload in workloads.of_matrix("full"):
        for direction in ("forward", "forward_backward"):
            assert cost(parse(workload.case), direction).moved > 0
