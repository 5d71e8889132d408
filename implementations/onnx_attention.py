"""The standard ONNX operators Attention and RotaryEmbedding, opset 24, in ONNX Runtime on the CPU.

Each is a graph of one node, as exporters write it.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from attention_harness import DTYPES, Capabilities
from attention_harness.implementations import _onnx

if TYPE_CHECKING:
    from collections.abc import Callable

    import onnxruntime
    from torch import Tensor

    from attention_harness import Case

# float64 is left out: ONNX Runtime 1.31 has no kernel for it and runs the standard's function body as it was before
# onnx/onnx#8068. There fully masked rows are NaN, bottom-right causality is wrong, a bias beside lengths is a type
# error, and the root of the scale is a float32. tests/conformance/upstream shows each.
CAPABILITIES = Capabilities(
    mechanisms=("dot_product", "scaled_dot_product", "rotary_embedding"),
    dtypes=("float32", "bfloat16", "float16"),
    options=(
        *("mask", "bias", "valid_lens", "cache_lens", "causal_top_left", "causal_bottom_right", "scale", "softcap"),
        *("grouped_heads", "past"),
        *("base", "first_position", "interleaved_pairing", "partial_rotary_factor", "proportional_pairing"),
    ),
)

_BROADCAST = "ONNX Runtime 1.31 refuses a mask or bias of one row or one column, which the standard broadcasts"
_EMPTY = "ONNX Runtime 1.31 refuses a length of 0"
KNOWN_FAILURES = {
    "*:*-bfloat16-*": "microsoft/onnxruntime#27891: no bfloat16 kernel on the CPU, and the function body does not run",
    **{
        f"*:*Lq{several}*[-+]{one_row}[-+]*": _BROADCAST
        for several, one_row in (
            ("[2-9]", "????=batch"),
            ("1[0-9]", "????=batch"),
            ("[2-9]", "????=key"),
            ("[2-9]", "mask=left_padding"),
        )
    },
    "*:*[-+]????=column[-+]*": _BROADCAST,
    "*:*Lq0Lk*": _EMPTY,
    "*:*Lk0D*": _EMPTY,
}

_OPSET = 24  # 23 has no nonpad_kv_seqlen; 25 adds windows, which ONNX Runtime 1.31 rejects
_INPUTS = ("query", "key", "value", "attn_mask", "past_key", "past_value", "nonpad_kv_seqlen")
_AXES = {"query": "B H Lq D", "key": "B Hk Lk D", "value": "B Hk Lk Dv", "nonpad_kv_seqlen": "B"}
_AXES |= {"past_key": "B Hk P D", "past_value": "B Hk P Dv"}


def unavailable() -> str:
    """Return what is missing."""
    return _onnx.missing("onnx")


def unsupported(case: Case) -> str:
    """Return what the operator has no input for, or ""."""
    if case.mechanism == "rotary_embedding" and not _pairs(case)[0]:
        return "RotaryEmbedding takes a width of 0 for the whole one: it cannot leave every feature as it is"
    if "mask" in case.options and "bias" in case.options:
        return "Attention has one input for a mask or a bias, not for both"
    if case.options.get("valid_lens") == "query":
        return "Attention has lengths of batches alone, none of single queries"
    if "valid_lens" in case.options and "cache_lens" in case.options:
        return "Attention has one input for lengths, not for two kinds of them"
    if "past" in case.options and (reason := _past(case)):
        return reason
    if "cache_lens" in case.options and case.options.get("causal") == "top_left":
        return "Attention counts causality from the last key that is valid"
    if "valid_lens" in case.options and "causal" in case.options:
        return "Attention counts causality from each batch's own length: neither corner of the scores"
    scale = case.options.get("scale")
    if isinstance(scale, float) and scale <= 0:
        return "Attention multiplies query and key by the root of the scale: it has to be positive"
    if case.sizes["B"] == 0:
        return "ONNX Runtime 1.31 refuses an empty batch"
    return ""


def _past(case: Case) -> str:
    """Return what the operator cannot do with keys of earlier calls, or ""."""
    if {"valid_lens", "cache_lens"} & case.options.keys():
        return "Attention takes lengths or keys of earlier calls, not both"
    if case.options["past"] == "all":
        return _EMPTY
    own_keys = case.options["past"] == "before" and case.sizes["Lk"] >= case.sizes["Lq"]
    if "causal" in case.options and not (own_keys and case.options["causal"] == "bottom_right"):
        return "Attention counts causality from the first key of this call, as if its queries began there"
    return ""


def prepare(case: Case) -> Callable[..., Tensor]:
    """Return the operator in ONNX Runtime, for any batch and lengths."""
    if case.mechanism == "rotary_embedding":
        return _rotation(case)
    attributes: dict[str, Any] = {"is_causal": int("causal" in case.options)}
    if case.mechanism == "dot_product":
        attributes["scale"] = 1.0
    elif "scale" in case.options:
        attributes["scale"] = case.options["scale"]
    if "softcap" in case.options:
        attributes["softcap"] = case.options["softcap"]
    bottom_right = case.options.get("causal") == "bottom_right"

    @functools.lru_cache(maxsize=1024)
    def graph(shapes: _onnx.Shapes) -> _onnx.Graph:
        import torch

        ranks = tuple((name, len(shape)) for name, shape in shapes)
        model = attention(ranks, case.dtype, "mask" in case.options, tuple(attributes.items()))
        return _onnx.Graph(_opened(model, case.dtype, torch.get_num_threads()), dict(shapes))

    def attend(query: Tensor, key: Tensor, value: Tensor, **conditions: Tensor) -> Tensor:
        given = {"query": query, "key": key, "value": value}
        for name in ("mask", "bias"):
            if name in conditions:
                given["attn_mask"] = conditions[name]
        given |= {name: past for name, past in conditions.items() if name in ("past_key", "past_value")}
        lens = conditions.get("valid_lens", conditions.get("cache_lens"))
        if lens is not None:
            given["nonpad_kv_seqlen"] = lens
        elif bottom_right and "past_key" not in given:  # all keys are there: causality counts from the last of them
            given["nonpad_kv_seqlen"] = query.new_full(query.shape[:1], key.shape[-2]).long()
        answer = graph(tuple((name, x.shape) for name, x in given.items()))(given)
        return answer[0] if isinstance(answer, tuple) else answer  # without all keys and values

    return attend


def _pairs(case: Case) -> tuple[int, int]:
    """Return how many pairs of features are rotated, and how many the operator is told to rotate."""
    width = case.sizes["D"]
    rotated = int(width * case.options.get("partial_rotary_factor", 1.0)) // 2
    return rotated, width // 2 if case.options.get("pairing") == "proportional" else rotated


def _rotation(case: Case) -> Callable[..., Tensor]:
    """Return the operator with its tables; pairs that a proportional embedding leaves out have an angle of 0."""
    import torch

    rotated, pairs = _pairs(case)
    first, base = case.options.get("first_position", 0), case.options.get("base", 10000.0)
    pair = torch.arange(pairs, dtype=torch.float64)
    rates = base ** -(pair / pairs) * (pair < rotated)
    model = rotation(case.dtype, int(case.options.get("pairing") == "interleaved"), 2 * pairs)

    @functools.lru_cache(maxsize=64)
    def tables(batch: int, length: int) -> dict[str, Tensor]:
        angle = (first + torch.arange(length, dtype=torch.float64))[:, None] * rates
        dtype = getattr(torch, case.format.torch)
        made = {"cos": angle.cos(), "sin": angle.sin()}
        return {name: table.to(dtype).expand(batch, -1, -1).contiguous() for name, table in made.items()}

    @functools.lru_cache(maxsize=1024)
    def graph(shapes: _onnx.Shapes) -> _onnx.Graph:
        return _onnx.Graph(_opened(model, case.dtype, torch.get_num_threads()), dict(shapes))

    def rotate(sequence: Tensor) -> Tensor:
        given = {"sequence": sequence, **tables(sequence.shape[0], sequence.shape[-2])}
        return graph(tuple((name, x.shape) for name, x in given.items()))(given)

    return rotate


@functools.cache
def rotation(dtype: str, interleaved: int, width: int) -> bytes:
    """Return the serialised graph of one RotaryEmbedding node that rotates so many features."""
    from onnx import TensorProto, helper

    element = getattr(TensorProto, DTYPES[dtype].onnx)
    axes = {"sequence": ["B", "H", "L", "D"], "cos": ["B", "L", "pairs"], "sin": ["B", "L", "pairs"]}
    inputs = [helper.make_tensor_value_info(name, element, of_it) for name, of_it in axes.items()]
    attributes: dict[str, Any] = {"interleaved": interleaved, "rotary_embedding_dim": width}
    node = helper.make_node("RotaryEmbedding", list(axes), ["output"], **attributes)
    return _serialised(node, inputs, [helper.make_tensor_value_info("output", element, axes["sequence"])])


@functools.cache
def attention(ranks: tuple[tuple[str, int], ...], dtype: str, boolean: bool, attributes: tuple[Any, ...]) -> bytes:
    """Return the serialised graph of one Attention node whose every axis may change."""
    from onnx import TensorProto, helper

    element = getattr(TensorProto, DTYPES[dtype].onnx)
    types = {"attn_mask": TensorProto.BOOL if boolean else element, "nonpad_kv_seqlen": TensorProto.INT64}
    given = dict(ranks)
    inputs = []
    for name, rank in ranks:
        axes = _AXES[name].split() if name in _AXES else [f"{name}{axis}" for axis in range(rank)]
        inputs.append(helper.make_tensor_value_info(name, types.get(name, element), axes))
    slots = [name if name in given else "" for name in _INPUTS]
    # ONNX Runtime asks for all keys and values as outputs where it gets those of earlier calls.
    every = {"present_key": ["B", "Hk", "Lk+P", "D"], "present_value": ["B", "Hk", "Lk+P", "Dv"]}
    present = every.items() if "past_key" in given else ()
    presents = [helper.make_tensor_value_info(name, element, letters) for name, letters in present]
    node = helper.make_node("Attention", slots, ["output", *(one.name for one in presents)], **dict(attributes))
    outputs = [helper.make_tensor_value_info("output", element, ["B", "H", "Lq", "Dv"])]
    return _serialised(node, inputs, [*outputs, *presents])


def _serialised(node: Any, inputs: list[Any], outputs: list[Any]) -> bytes:
    from onnx import helper

    opsets = [helper.make_opsetid("", _OPSET)]
    graph = helper.make_graph([node], node.op_type, inputs, outputs)
    model = helper.make_model(graph, opset_imports=opsets, ir_version=helper.find_min_ir_version_for(opsets))
    return model.SerializeToString()


@functools.cache
def _opened(model: bytes, dtype: str, threads: int) -> onnxruntime.InferenceSession:
    import onnxruntime

    options = _onnx.session_options(dtype)
    options.log_severity_level = 4  # what it refuses, it also raises
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
