"""Correct backward passes that compute in another order, or declare another policy, are never accused."""

from __future__ import annotations

from dataclasses import replace
from types import ModuleType

import pytest

from attention_harness import registry
from attention_harness.cases.matrix import matrix
from attention_harness.cases.problems import problems
from attention_harness.checks.declaration import DRAWN
from attention_harness.implementations import eager
from attention_harness.model.capabilities import Arithmetic
from attention_harness.model.case import Case
from attention_harness.model.verdict import Status
from attention_harness.mutation.catalogue import variants
from tests.checks.gradients.kernel import accused, asked, patched

CASES = matrix("default")


@pytest.mark.parametrize(
    ("policy", "stands", "put"),
    [
        ("mean", ".softmax(-1).masked_fill(empty, 0.0)", ".softmax(-1)"),
        (
            "nan",
            "scores = scores.masked_fill(~visible, -math.inf).masked_fill(empty, 0.0)\n"
            "    return scores.softmax(-1).masked_fill(empty, 0.0)",
            "return (scores + scores.new_zeros(()).masked_fill(~visible, -math.inf)).softmax(-1)",
        ),
    ],
)
def test_a_declared_policy_for_fully_masked_rows_is_not_accused(policy, stands, put):
    """Rows that see no key get no upstream gradient, and the NaN that "nan" makes of that is not judged."""
    other = patched(stands, put)
    other.module.CAPABILITIES = replace(eager.CAPABILITIES, fully_masked_rows=policy)
    cases = [case for case in CASES if case.mechanism in ("scaled_dot_product", "multi_head", "location")]
    cases = [case for case in cases if case.dtype in ("float64", "float32")]
    assert accused(other, cases, ("accuracy", "gradient")) == []
    other.module.CAPABILITIES = eager.CAPABILITIES
    assert accused(other, cases, ("accuracy",))


def test_nan_is_excused_in_the_batch_elements_with_an_fully_masked_row_alone():
    """An implementation that promises NaN for fully masked rows may not answer with NaN for every gradient."""
    [promised] = [variant for variant in variants() if variant.fully_masked_rows == "nan"]
    sum_ = "    weights = softmax(scores, **visibility)\n    return weights @ value, weights\n"
    all_nan = sum_.replace("return", "value = value.where(value == value, value * math.nan)\n    return")
    cases = [case for case in CASES if case.mechanism == "scaled_dot_product" and "mask" in case.options]
    for patches, wrong in ((promised.patches, False), ((*promised.patches, (sum_, all_nan)), True)):
        found = asked(replace(promised, patches=patches).implementation(), cases, ("gradient",))
        assert bool([v for v in found if v.status is Status.FAIL and v.case.count("float32")]) is wrong


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_the_gradient_of_a_shared_key_head_is_a_sum_of_stored_gradients(dtype):
    """Of a fused kernel with a head for each query, whose gradients autograd stores and sums: at Llama 3's sizes."""
    [fused] = registry.select(["torch_sdpa"])
    sizes = {"B": 1, "H": 32, "Hk": 8, "Lq": 1, "Lk": 18, "D": 128, "Dv": 128}
    assert accused(fused, [Case("scaled_dot_product", sizes, dtype)], ("gradient", "gradient_alone")) == []


SAME = [case for case in problems() if case.content == "same"]


@pytest.mark.parametrize("case", SAME, ids=str)
def test_the_gradient_of_a_tensor_given_twice_is_the_sum(case):
    """Of query, key and value where they are one; who forgets a part is accused, and nobody else."""
    case = replace(case, dtype="float64")
    assert accused(registry.select(["eager"])[0], [case], ("gradient",)) == []
    forgotten = patched(
        "    weights = softmax(scores, **visibility)\n    return weights @ value, weights\n",
        "    weights = softmax(scores, **visibility)\n    return weights @ value.detach(), weights\n",
    )
    assert accused(forgotten, [case], ("gradient",))


@pytest.mark.parametrize("options", [{}, {"mask": "full"}])
def test_an_empty_batch_has_no_rows_to_excuse(options):
    """The policy "nan" is asked gradients of a batch of none as well."""
    [promised] = [variant for variant in variants() if variant.fully_masked_rows == "nan"]
    sizes = {"B": 0, "H": 2, "Hk": 2, "Lq": 5, "Lk": 7, "D": 8, "Dv": 6}
    assert accused(promised.implementation(), [Case("scaled_dot_product", sizes, "float32", options)]) == []


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("content", ["ordinary", "peaked"])
def test_torch_is_not_accused_where_its_backward_pass_has_many_blocks(dtype, content):
    """PyTorch's fused kernel on the CPU adds the gradients of blocks of queries in the case's dtype, as declared."""
    sizes = {"B": 1, "H": 1, "Hk": 1, "Lq": 767, "Lk": 767, "D": 64, "Dv": 64}
    case = Case("scaled_dot_product", sizes, dtype, {}, content, draw=DRAWN)  # the suite's own would get one check
    fused = registry.implementations()["torch_sdpa"]
    assert accused(fused, [case]) == []
    if dtype == "bfloat16" and content == "peaked":  # the declaration is needed
        arithmetic = replace(fused.capabilities.arithmetic, gradient_block=0)
        silent = registry.Implementation("silent", type(fused.module)("silent"), fused.path)
        silent.module.__dict__.update(
            vars(fused.module), CAPABILITIES=replace(fused.capabilities, arithmetic=arithmetic)
        )
        assert accused(silent, [case])


def test_the_upstream_gradient_lies_in_every_kind_of_memory():
    """Over the default matrix: contiguous, transposed, and with a stride of zero."""
    from attention_harness.checks.gradients import upstream_gradient

    found = set()
    for case in CASES:
        if case.mechanism == "scaled_dot_product" and min(case.sizes.values()) > 1:
            upstream = upstream_gradient(case, "zero")
            found.add("expanded" if 0 in upstream.stride() else "contiguous" if upstream.is_contiguous() else "strided")
    assert found == {"contiguous", "strided", "expanded"}


def test_the_notes_regression_learns():
    """The loss falls on eager; with a derivative of the wrong sign, or none, it is told that it does not."""
    cases = [case for case in CASES if case.mechanism == "gaussian_kernel" and not case.options]
    found = asked(registry.implementations()["eager"], cases, ("training",))
    assert {"pass"} == {verdict.status for verdict in found}
    assert {"float64", "float32"} <= {Case.from_id(verdict.case).dtype for verdict in found}
    uphill = patched("difference = w * (", "difference = (2 * w.detach() - w) * (")
    assert any("gradient of w in step 0" in told for told in accused(uphill, cases, ("training",)))
    stopped = patched("difference = w * (", "difference = w.detach() * (")
    assert any("does not depend on w" in told for told in accused(stopped, cases, ("training",)))


@pytest.mark.parametrize("content", ["peaked", "falling"])
def test_the_constant_of_a_row_may_be_taken_from_its_stored_output(content):
    """torch's fused kernel does so; who wraps it and declares no arithmetic is not accused."""
    [fused] = registry.select(["torch_sdpa"])
    module = ModuleType("wraps")
    module.__dict__.update(vars(fused.module))
    module.CAPABILITIES = replace(fused.capabilities, arithmetic=Arithmetic())
    sizes = {"B": 2, "H": 3, "Hk": 3, "Lq": 16, "Lk": 17, "D": 16, "Dv": 16}
    cases = [Case("scaled_dot_product", sizes, "bfloat16", {}, content, draw=draw) for draw in range(4)]
    assert accused(replace(fused, module=module), cases, ("accuracy", "gradient")) == []
