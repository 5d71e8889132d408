"""Mutants of a backward pass are seen, and told by the tensor whose gradient is wrong."""

from __future__ import annotations

import pytest

from attention_harness.cases.matrix import matrix
from tests.checks.gradients.kernel import MUTANTS, accused, kernel, patched

CASES = [case for case in matrix("default") if case.dtype in ("float64", "float32")]
KERNEL = [case for case in matrix("default") if case.mechanism == "scaled_dot_product"]
WITNESSES = {"gradient of w missing": "gaussian_kernel", "lengths of vectors detached": "cosine"}

IN_EAGER = {
    "weights detached": (
        "    weights = softmax(scores, **visibility)\n    return weights @ value, weights",
        "    weights = softmax(scores, **visibility).detach()\n    return weights @ value, weights",
        "gradient of query: missing",
    ),
    "gradient of w missing": ("difference = w *", "difference = w.detach() *", "gradient of w: missing"),
    "NaN on rows that see no key": (
        "scores.masked_fill(~visible, -math.inf).masked_fill(empty, 0.0)\n",
        "scores + scores.new_zeros(()).masked_fill(~visible, -math.inf)\n",
        "nan where 0 is right",
    ),
    "lengths of vectors detached": ("keepdim=True).clamp_min(1)", "keepdim=True).detach().clamp_min(1)", "of query: |"),
    "learned scale detached": (
        "scores * scale",
        "scores * (scale.detach() if hasattr(scale, 'detach') else scale)",
        "gradient of scale: missing",
    ),
    "bias detached": ("scores = scores + bias", "scores = scores + bias.detach()", "gradient of bias: missing"),
}
TENSOR = {
    "row constant missing": "query",
    "scale missing in the gradient of query": "query",
    "key from the wrong side": "key",
    "bias not summed over what it is broadcast to": "bias",
    "gradients of grouped keys not summed": "key",
    "weights not transposed for value": "value",
}


def test_the_kernel_without_a_mutant_is_not_accused():
    """What is accused below is the mutant: the same backward pass without one conforms in every dtype."""
    assert accused(kernel(), KERNEL) == []


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_mutant_of_a_kernel_is_seen(mutant):
    """Every mutant is seen, the first by the tensor that it spoils."""
    found = accused(kernel(mutant), KERNEL)
    assert found
    if mutant in TENSOR:
        assert any(f"gradient of {TENSOR[mutant]}:" in told for told in found), found


@pytest.mark.parametrize("mutant", IN_EAGER)
def test_a_mutant_in_the_graph_is_seen(mutant):
    """Mutants that leave every output right."""
    stands, put, told = IN_EAGER[mutant]
    wrong, witness = patched(stands, put), WITNESSES.get(mutant, "scaled_dot_product")
    cases = [case for case in CASES if case.mechanism == witness]
    assert accused(wrong, cases, ("accuracy",)) == []
    assert any(told in reason for reason in accused(wrong, cases))
