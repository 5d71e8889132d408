"""`openvino` computes float32 in float32, and calls do not share what they return."""

from __future__ import annotations

import pytest
import torch

from attention_harness.cases.ids import parse
from attention_harness.implementations import _onnx, eager
from attention_harness.implementations import openvino as row

openvino = pytest.importorskip("openvino", reason="openvino is not installed: python -m tox -e extras")
if row.unavailable():
    pytest.skip(row.unavailable(), allow_module_level=True)

CASE = parse("dot_product-B2H2Hk2Lq5Lk7D16Dv8-float32-plain-ordinary-contiguous")
SHAPES = {"query": (2, 2, 5, 16), "key": (2, 2, 7, 16), "value": (2, 2, 7, 8)}


def graph() -> row.Model:
    """Return the graph of a mechanism."""
    shapes = tuple(SHAPES.items())
    model = _onnx.export(eager.dot_product, (), _onnx.axes_of(CASE.mechanism, shapes), CASE.dtype)
    return row.Model(row.open_model(model, CASE.dtype), SHAPES)


def test_the_precision_is_that_of_the_graph():
    """By default a processor with AMX computes such a graph in bfloat16."""
    assert openvino.Type.f32 == graph().compiled.get_property("INFERENCE_PRECISION_HINT")


def test_a_later_call_leaves_an_earlier_output_alone():
    """They use one request, whose memory it writes again."""
    model = graph()
    first, second = ({name: torch.rand(shape) for name, shape in SHAPES.items()} for _ in range(2))
    output, _ = model(first)
    before = output.clone()
    model(second)
    assert 1 == len(model.idle)
    assert torch.equal(before, output)
    torch.testing.assert_close(output, eager.dot_product(**first)[0], rtol=1e-5, atol=1e-5)


def test_calls_that_overlap_take_a_request_each():
    """One that is in use is not among those to take."""
    model = graph()
    model({name: torch.rand(shape) for name, shape in SHAPES.items()})
    taken = model.idle.pop()
    model({name: torch.rand(shape) for name, shape in SHAPES.items()})
    assert taken not in model.idle


def test_an_input_has_the_name_that_calls_give_it():
    """OpenVINO names the tensor of an input after what it is expanded to as well, where that is the input itself."""
    case = parse("dot_product-B2H2Hk2Lq5Lk7D16Dv8-float32-segments=cross-ordinary-contiguous")
    given = {name: torch.rand(shape) for name, shape in SHAPES.items()}
    given["segments"] = torch.tensor([[0, 2, 2, 5], [0, 3, 5, 7]])
    output, _ = row.prepare(case)(**given)
    torch.testing.assert_close(output, eager.dot_product(**given)[0], rtol=1e-5, atol=1e-5)
