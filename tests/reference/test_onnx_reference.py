"""Against the reference evaluator of ONNX, another group's NumPy, where the standard has the operator.

`Attention` since opset 23 means what `scaled_dot_product` does but for this: it takes one mask or one bias, its
causality is top-left unless lengths say how many keys are there (opset 24), and it has no lengths for single queries.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from attention_harness.bounds.judge import judge
from attention_harness.cases import inputs
from attention_harness.cases.ids import parse
from attention_harness.checks.expected import bound_of
from attention_harness.model.capabilities import Arithmetic
from attention_harness.model.case import Case

onnx = pytest.importorskip("onnx")
evaluator = pytest.importorskip("onnx.reference")

# The evaluator multiplies query and key by the root of the scale before they meet. It takes that root of an attribute
# in float32: 0.5625 has an exact one.
ATTENTION = Arithmetic(scaled_inputs=True)
SIZES = "B2H4Hk4Lq5Lk7D16Dv8"
GROUPED = "B2H4Hk2Lq5Lk7D16Dv8"
CASES = [
    f"scaled_dot_product-{sizes}-float64-{options}-{content}-contiguous"
    for sizes, options in (
        (SIZES, "plain"),
        (SIZES, "mask=full"),
        (SIZES, "mask=batch"),
        (SIZES, "mask=head"),
        (SIZES, "mask=query"),
        (SIZES, "bias=full"),
        (SIZES, "bias=query"),
        (SIZES, "causal=top_left"),
        (SIZES, "scale=0.5625"),
        (GROUPED, "plain"),
        (GROUPED, "causal=top_left+mask=full+scale=0.5625"),
        (GROUPED, "bias=full+causal=top_left"),
        ("B2H4Hk4Lq7Lk5D5Dv32", "causal=top_left"),
        ("B1H6Hk2Lq1Lk33D64Dv1", "mask=full"),
        ("B2H3Hk3Lq0Lk5D16Dv8", "plain"),
    )
    for content in ("ordinary", "large", "shifted", "tiny")
]
LENGTHS = [
    f"scaled_dot_product-{sizes}-float64-valid_lens=batch-{content}-contiguous"
    for sizes in (SIZES, GROUPED)
    for content in ("ordinary", "large", "shifted")
]


def run(operator: str, opset: int, feeds: dict[str, np.ndarray], **attributes: Any) -> list[np.ndarray]:
    """Return what the evaluator makes of one node; an input named with an underscore is left out."""
    helper = onnx.helper
    names = ["" if name.startswith("_") else name for name in feeds]
    further = {"Attention": ["", "", "weights"], "LinearAttention": ["state"]}
    outputs = ["Y", *further.get(operator, [])]
    node = helper.make_node(operator, names, outputs, **attributes)
    ins = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(feeds[name].dtype), feeds[name].shape)
        for name in names
        if name
    ]
    first = next(iter(feeds.values()))
    kind = helper.np_dtype_to_tensor_dtype(first.dtype)
    ranks = {name: first.ndim if name == "Y" else 4 for name in outputs if name}
    outs = [helper.make_tensor_value_info(name, kind, [None] * rank) for name, rank in ranks.items()]
    graph = helper.make_graph([node], operator, ins, outs)
    opsets = [helper.make_opsetid("", opset)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=helper.find_min_ir_version_for(opsets))
    onnx.checker.check_model(model)
    return evaluator.ReferenceEvaluator(model).run(None, {name: feeds[name] for name in names if name})


def attention(case: Case, opset: int, nonpad: np.ndarray | None = None, **attributes: Any) -> list[np.ndarray]:
    """Return output and weights of the node that states a case."""
    given = inputs.exact(inputs.tensors(case))
    feeds = {"Q": given["query"], "K": given["key"], "V": given["value"]}
    for option in ("mask", "bias"):
        if option in given:
            feeds["mask"] = given[option]
    if nonpad is not None:
        feeds |= {"_mask": nonpad, "_past_key": nonpad, "_past_value": nonpad, "nonpad_kv_seqlen": nonpad}
    if "scale" in case.options:
        attributes["scale"] = case.options["scale"]
    return run("Attention", opset, feeds, qk_matmul_output_mode=3, **attributes)


def assert_same(got: list[np.ndarray], case: Case, arithmetic: Arithmetic) -> None:
    """Assert that output and weights lie within the float64 error bound around the reference."""
    for name, array, error_bound in zip(("output", "weights"), got, bound_of(case, arithmetic, "zero"), strict=True):
        assert array.dtype == np.float64
        judgement = judge(array, error_bound, degenerate=True)
        assert judgement.error_ratio <= 1, f"{name}: {judgement.reason} at {judgement.where}"


@pytest.mark.parametrize("text", CASES, ids=str)
@pytest.mark.parametrize("opset", [23, 24])
def test_scaled_dot_product_is_the_attention_of_onnx(opset, text):
    """Output and weights agree in float64, with masks, biases, corner, scale, grouped heads and fully masked rows."""
    case = parse(text)
    assert_same(attention(case, opset, is_causal=int("causal" in case.options)), case, ATTENTION)


@pytest.mark.parametrize("text", LENGTHS, ids=str)
def test_valid_lens_are_the_nonpad_lengths_of_onnx(text):
    """Keys at or past a batch's length are not seen; a length of 0 gives zeros."""
    case = parse(text)
    lens = inputs.exact(inputs.tensors(case))["valid_lens"]
    assert_same(attention(case, 24, lens), case, ATTENTION)


@pytest.mark.parametrize("sizes", [SIZES, "B2H3Hk3Lq7Lk5D16Dv8"])
def test_the_bottom_right_corner_is_causality_over_full_lengths_in_onnx(sizes):
    """With every key there, ONNX counts from the last query and the last key: our bottom_right."""
    case = parse(f"scaled_dot_product-{sizes}-float64-causal=bottom_right-ordinary-contiguous")
    lens = np.full(case.sizes["B"], case.sizes["Lk"], np.int64)
    assert_same(attention(case, 24, lens, is_causal=1), case, ATTENTION)


def test_the_corners_differ_where_the_lengths_do():
    """The comparison would notice the wrong corner: top-left answers are far outside bottom-right's error bound."""
    case = parse(f"scaled_dot_product-{SIZES}-float64-causal=bottom_right-ordinary-contiguous")
    with pytest.raises(AssertionError, match="exceeds its error bound"):
        assert_same(attention(case, 24, is_causal=1), case, ATTENTION)


@pytest.mark.parametrize("content", ["ordinary", "large", "shifted", "peaked", "nearly_equal", "outlier", "tiny"])
@pytest.mark.parametrize("sizes", ["B2H3Lq5Lk7", "B1H1Lq1Lk1", "B2H2Lq16Lk129"])
def test_masked_softmax_without_options_is_the_softmax_of_onnx(sizes, content):
    """An ordinary softmax along the last axis."""
    case = parse(f"masked_softmax-{sizes}-float64-plain-{content}-contiguous")
    given = inputs.exact(inputs.tensors(case))
    (weights,) = run("Softmax", 13, {"scores": given["scores"]}, axis=-1)
    assert_same([weights, weights], case, Arithmetic())


RULES = {"linear": "plain", "gated": "decay={}", "delta": "update_rate=sigmoid"}
RULES |= {"gated_delta": "decay={}+update_rate=sigmoid"}


@pytest.mark.parametrize("content", ["ordinary", "large", "shifted"])
@pytest.mark.parametrize("form", ["head", "feature"])
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("sizes", ["B2H4Hk2L9D16Dv8", "B2H3Hk3L70D6Dv5"])
def test_linear_attention_is_that_of_onnx(sizes, rule, form, content):
    """All four rules, a decay of each head and of each feature, grouped heads; the evaluator computes in float32."""
    case = parse(f"linear_attention-{sizes}-float32-{RULES[rule].format(form)}-{content}-contiguous")
    given = inputs.exact(inputs.tensors(case))
    packed = {"query": "query", "key": "key", "value": "value", "_past": "", "decay": "decay", "update_rate": "beta"}
    batch, length = case.sizes["B"], case.sizes["L"]
    feeds = {}
    for name, there in packed.items():
        if name not in given:
            feeds[f"_{name}"] = np.zeros(0)
            continue
        x = given[name].astype(np.float32)
        feeds[there] = (x if x.ndim == 4 else x[..., None]).swapaxes(1, 2).reshape(batch, length, -1)
    heads, key_heads = case.sizes["H"], case.sizes["Hk"]
    got, _ = run("LinearAttention", 27, feeds, update_rule=rule, q_num_heads=heads, kv_num_heads=key_heads)
    output = got.reshape(batch, length, heads, -1).swapaxes(1, 2).astype(np.float64)
    judgement = judge(output, bound_of(case, Arithmetic(), "zero")[0], degenerate=True)
    assert judgement.error_ratio <= 1, judgement.reason


@pytest.mark.parametrize("content", ["ordinary", "large", "tiny"])
@pytest.mark.parametrize("factor", [1.0, 0.5, 0.25])
@pytest.mark.parametrize("interleaved", [0, 1])
def test_the_rotary_embedding_is_that_of_onnx(interleaved, factor, content):
    """Half-split and interleaved, whole and in part, from position 37 with another base; tables go in, as there."""
    options = {"base": 500.0, "first_position": 37.0}
    options |= {"pairing": "interleaved"} if interleaved else {}
    options |= {"partial_rotary_factor": factor} if factor < 1 else {}
    case = Case("rotary_embedding", {"B": 2, "H": 3, "L": 5, "D": 16}, "float64", options, content)
    pairs = int(factor * 16) // 2
    angle = np.arange(50.0)[:, None] * 500.0 ** -(np.arange(pairs) / pairs)
    feeds = {"X": inputs.exact(inputs.tensors(case))["sequence"], "cos": np.cos(angle), "sin": np.sin(angle)}
    feeds["ids"] = np.broadcast_to(np.arange(37, 42), (2, 5)).copy()
    [got] = run(
        "RotaryEmbedding", 23, feeds, interleaved=interleaved, rotary_embedding_dim=2 * pairs if factor < 1 else 0
    )
    judgement = judge(got, bound_of(case, Arithmetic(), "zero")[0], degenerate=True)
    assert judgement.error_ratio <= 1, judgement.reason
