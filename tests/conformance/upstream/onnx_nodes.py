"""The node test cases of ONNX's backend suite, said in our words: a case, its tensors, and what upstream expects."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attention_harness.cases import inputs
from attention_harness.cases.ids import parse
from attention_harness.model.case import Case
from attention_harness.options import OPTIONS

Array = NDArray[Any]

_FILES = (
    "attention",
    "linear_attention",
    "rotaryembedding",
    "softmax",
)  # of onnx.backend.test.case.node; test_onnx_nodes.py shows that there are no others
_SLOTS = ("Q", "K", "V", "attn_mask", "past_key", "past_value", "nonpad_kv_seqlen")
_RESULTS = ("Y", "present_key", "present_value", "qk_matmul_output")
_OPERATORS = {
    "Attention": (_SLOTS, _RESULTS),
    "LinearAttention": (("query", "key", "value", "past_state", "decay", "beta"), ("output", "present_state")),
    "RotaryEmbedding": (("X", "cos_cache", "sin_cache", "position_ids"), ("Y",)),
    "Softmax": (("x",), ("y",)),
}
"""The names of inputs and outputs, in their places."""
_WEIGHTS_MODE = 3  # of qk_matmul_output_mode: after the softmax


@dataclass(frozen=True)
class Node:
    """A node case as upstream states it: inputs and outputs by slot, attributes, and its own tolerances."""

    name: str
    operator: str
    attributes: Mapping[str, Any]
    given: Mapping[str, Array]
    expected: Mapping[str, Array]
    rtol: float
    atol: float


@dataclass(frozen=True)
class Expressed:
    """A node case in our words. `left` says, by output, why one is not judged."""

    case: Case
    tensors: Mapping[str, Array]
    expected: Mapping[str, Array]
    left: Mapping[str, str] = field(default_factory=dict)


class NotExpressible(Exception):
    """Why no mechanism with its options means what the node does."""


@functools.cache
def nodes() -> dict[str, Node]:
    """Return the single-node cases of these operators by name; made in memory, nothing is fetched."""
    package = "onnx.backend.test.case.node"
    for name in _FILES:
        importlib.import_module(f"{package}.{name}")
    return {case.name: _node(case) for case in importlib.import_module(package)._NodeTestCases if _is_one(case)}


def _is_one(case: Any) -> bool:
    graph = case.model.graph.node  # the `_expanded` ones state the same numbers through the operator's function body
    return len(graph) == 1 and graph[0].op_type in _OPERATORS


def _node(case: Any) -> Node:
    import onnx

    [node] = case.model.graph.node
    [(ins, outs)] = case.data_sets
    slots, results = _OPERATORS[node.op_type]
    given = dict(zip([slot for slot, name in zip(slots, node.input) if name], ins, strict=True))
    expected = dict(zip([slot for slot, name in zip(results, node.output) if name], outs, strict=True))
    attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    return Node(case.name, node.op_type, attributes, given, expected, case.rtol, case.atol)


def expressed(node: Node) -> Expressed:
    """Return the node case in our words, or raise NotExpressible with the reason."""
    mappings = {"Attention": _attention, "LinearAttention": _linear_attention, "Softmax": _softmax}
    return (mappings | {"RotaryEmbedding": _rotary_embedding})[node.operator](node)


def _rotary_embedding(node: Node) -> Expressed:
    raise NotExpressible("its tables of cosines and sines are random numbers; ours are computed from positions")


def _linear_attention(node: Node) -> Expressed:
    """The recurrence from a state of zeros; the state that it leaves is no answer of ours."""
    if np.any(node.given.get("past_state", 0)):
        raise NotExpressible("it begins with a state; ours begins with zeros")
    heads, key_heads = node.attributes["q_num_heads"], node.attributes["kv_num_heads"]
    of_heads = {"query": heads, "key": key_heads, "value": key_heads}
    tensors = {name: _by_head(node.given[name], count) for name, count in of_heads.items()}
    (batch, _, length, width), value_width = tensors["query"].shape, tensors["value"].shape[-1]
    sizes = {"B": batch, "H": heads, "Hk": key_heads, "L": length, "D": width, "Dv": value_width}
    options: dict[str, Any] = {"scale": node.attributes["scale"]} if node.attributes.get("scale") else {}
    rule = node.attributes.get("update_rule", b"gated_delta").decode()
    if "gated" in rule:
        decay = _by_head(node.given["decay"], key_heads)
        options["decay"] = "head" if decay.shape[-1] == 1 and width > 1 else "feature"
        tensors["decay"] = decay[..., 0] if options["decay"] == "head" else decay
    if "delta" in rule:
        rate = _by_head(np.broadcast_to(node.given["beta"], (batch, length, key_heads)), key_heads)
        options["update_rate"], tensors["update_rate"] = "sigmoid", rate[..., 0]
    case = _checked(Case("linear_attention", sizes, str(tensors["query"].dtype), options))
    left = {name: "an implementation returns no state" for name in node.expected if name != "output"}
    return Expressed(case, tensors, {"output": _by_head(node.expected["output"], heads)}, left)


def _by_head(array: Array, heads: int) -> Array:
    """(B, L, H * D) -> (B, H, L, D)."""
    return np.ascontiguousarray(array.reshape(*array.shape[:2], heads, -1).swapaxes(1, 2))


def _softmax(node: Node) -> Expressed:
    """Softmax along an axis: `masked_softmax` along the last one, for any axes before it."""
    axis = node.attributes.get("axis", -1)

    def ours(x: Array) -> Array:
        moved = np.moveaxis(x, axis, -1)
        return moved.reshape(1, 1, -1, moved.shape[-1])

    scores = ours(node.given["x"])
    sizes = dict(zip(("B", "H", "Lq", "Lk"), scores.shape, strict=True))
    case = _checked(Case("masked_softmax", sizes, str(scores.dtype)))
    return Expressed(case, {"scores": scores}, {"output": ours(node.expected["y"])})


def _attention(node: Node) -> Expressed:
    known = {"scale", "is_causal", "q_num_heads", "kv_num_heads", "qk_matmul_output_mode", "softmax_precision"}
    known |= {"softcap", "left_window_size", "right_window_size"}
    if set(node.attributes) - known:
        raise NotExpressible(f"attributes {sorted(set(node.attributes) - known)}, which this mapping does not know")
    query, key, value = (_four_axes(node, slot) for slot in ("Q", "K", "V"))
    if "past_key" in node.given:
        key = np.concatenate([node.given["past_key"], key], -2)
        value = np.concatenate([node.given["past_value"], value], -2)
    (batch, heads, queries, width), (key_heads, keys, value_width) = query.shape, value.shape[1:]
    sizes = {"B": batch, "H": heads, "Hk": key_heads, "Lq": queries, "Lk": keys, "D": width, "Dv": value_width}
    options, conditions = _conditions(node, sizes)
    if "past_key" in node.given and (form := _form_of_past(node.given["past_key"].shape[-2], sizes)):
        options["past"] = form
    if "scale" in node.attributes:
        options["scale"] = node.attributes["scale"]
    if node.attributes.get("softcap"):
        options["softcap"] = node.attributes["softcap"]
    case = _checked(Case("scaled_dot_product", sizes, str(query.dtype), options))
    output = _four_axes(node, "Y", node.expected["Y"])
    expected, left = {"output": output}, {}
    for name in set(node.expected) - {"Y"}:
        mode = node.attributes.get("qk_matmul_output_mode", 0)
        if name != "qk_matmul_output":
            left[name] = "the cache is joined before the call; no implementation returns it"
        elif mode == _WEIGHTS_MODE:
            expected["weights"] = node.expected[name]
        else:
            left[name] = "scores: an implementation returns output and weights alone"
    return Expressed(case, {"query": query, "key": key, "value": value} | conditions, expected, left)


def _four_axes(node: Node, slot: str, array: Array | None = None) -> Array:
    """Return a tensor as (B, H, L, width); with three axes the heads lie side by side in the last one."""
    array = node.given[slot] if array is None else array
    if array.ndim == 4:
        return array
    heads = node.attributes["kv_num_heads" if slot in ("K", "V") else "q_num_heads"]
    return array.reshape(*array.shape[:2], heads, -1).swapaxes(1, 2)


def _conditions(node: Node, sizes: Mapping[str, int]) -> tuple[dict[str, Any], dict[str, Array]]:
    """Return options and tensors that decide which keys a query sees, and what is added to its scores."""
    options: dict[str, Any] = {}
    tensors: dict[str, Array] = {}
    queries, keys = sizes["Lq"], sizes["Lk"]
    seen = np.ones((1, 1, queries, keys), bool)  # what no option of ours says by itself
    lens = node.given.get("nonpad_kv_seqlen")
    if lens is not None:  # under causality the corner is that of what is valid
        name = "cache_lens" if node.attributes.get("is_causal") else "valid_lens"
        options[name], tensors[name] = "batch", lens
    # The key that query 0 stands at: by the cache that came before it, or by how many keys there are; otherwise 0.
    first = np.zeros(1, np.int64)
    if "past_key" in node.given:
        first = np.array([node.given["past_key"].shape[-2]])
    elif lens is not None:
        first = lens - queries
    position = np.arange(queries)[:, None] + first.reshape(-1, 1, 1, 1) - np.arange(keys)  # less that of the key
    if node.attributes.get("is_causal"):
        corners = {"bottom_right": keys - queries, "top_left": 0}
        corner = next((name for name, offset in corners.items() if (first == offset).all()), None)
        corner = "bottom_right" if lens is not None else corner
        if corner:
            options["causal"] = corner
        else:
            seen = seen & (position >= 0)
    window = tuple(node.attributes.get(side, -1) for side in ("left_window_size", "right_window_size"))
    ours = lens - queries if "cache_lens" in options else keys - queries if "bottom_right" in options.values() else 0
    stands = (first == ours).all()
    if min(window) >= 0 and stands:
        options["window"] = window
    else:  # open on one side, or counted from another place than ours
        for size, distance in zip(window, (position, -position), strict=True):
            seen = seen & (distance <= size) if size >= 0 else seen
    given = node.given.get("attn_mask")
    if given is not None:
        hidden: Any = False if given.dtype == bool else -np.inf
        short = [(0, 0)] * (given.ndim - 1) + [(0, keys - given.shape[-1])]  # a shorter mask hides what it leaves out
        given = np.pad(given, short, constant_values=given.dtype.type(hidden)) if short[-1][1] else given
        if given.dtype == bool:
            seen = seen & given
        else:
            options["bias"], tensors["bias"] = _form(given, sizes)
    if not seen.all() or (given is not None and given.dtype == bool):
        options["mask"], tensors["mask"] = _form(seen, sizes)
    return options, tensors


def _form_of_past(earlier: int, sizes: Mapping[str, int]) -> str:
    """Return the form of earlier keys that has so many of them, or "": then they are joined before the call."""
    past = OPTIONS["past"]
    forms = (*past.forms, *past.more_forms)
    return next((f for f in forms if past.parts(f, sizes["Lq"], sizes["Lk"])["key"][0][2] == earlier), "")


def _form(condition: Array, sizes: Mapping[str, int]) -> tuple[str, Array]:
    """Return the form of a mask or bias, and the tensor in exactly the shape of that form."""
    shapes = {
        form: inputs.option_shapes(Case("scaled_dot_product", sizes, options={"mask": form}))["mask"]
        for form in ("full", "query", "head", "batch")
    }
    for form, shape in shapes.items():
        if (1,) * (4 - condition.ndim) + condition.shape == (1,) * (4 - len(shape)) + shape:
            return form, condition.reshape(shape)
    return "full", np.ascontiguousarray(np.broadcast_to(condition, shapes["full"]))


def _checked(case: Case) -> Case:
    """Return the case, which the declaration of its mechanism allows."""
    return parse(case.id)
