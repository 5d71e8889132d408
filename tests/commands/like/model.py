"""Makes an ONNX model of scaled dot-product attention, for any sizes."""

from __future__ import annotations

from pathlib import Path

import onnx
from onnx import TensorProto, helper


def write_model(path: Path) -> None:
    """Write softmax(query key^T / sqrt(D)) value as an ONNX file."""
    nodes = [
        helper.make_node("Shape", ["query"], ["last"], start=-1),
        helper.make_node("Cast", ["last"], ["width"], to=TensorProto.FLOAT),
        helper.make_node("Sqrt", ["width"], ["root"]),
        helper.make_node("Transpose", ["key"], ["turned"], perm=[0, 1, 3, 2]),
        helper.make_node("MatMul", ["query", "turned"], ["products"]),
        helper.make_node("Div", ["products", "root"], ["scores"]),
        helper.make_node("Softmax", ["scores"], ["weights"], axis=-1),
        helper.make_node("MatMul", ["weights", "value"], ["output"]),
    ]
    values = [
        helper.make_tensor_value_info(n, TensorProto.FLOAT, [None] * 4) for n in ("query", "key", "value", "output")
    ]
    graph = helper.make_graph(nodes, "attention", values[:3], values[3:])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
