"""A dtype is one record that says what is true of torch's and ONNX's type; a further record is all there is to do."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch

from attention_harness.bounds import error_bounds
from attention_harness.bounds.judge import judge
from attention_harness.cases import inputs
from attention_harness.cases.ids import parse
from attention_harness.checks.form import to_array
from attention_harness.implementations import eager, numpy_reference
from attention_harness.model.capabilities import Arithmetic, Capabilities
from attention_harness.model.dtypes import DTYPES, DType
from attention_harness.registry import mechanism, refuses

FLOAT8 = DType("float8_e4m3fn", 8, 4, -6, 448.0, "float8_e4m3fn", "FLOAT8E4M3FN", infinite=False)
CASE = "scaled_dot_product-B2H3Hk3Lq5Lk7D8Dv6-float8_e4m3fn-{}-ordinary-contiguous"


@pytest.mark.parametrize("record", [*DTYPES.values(), FLOAT8], ids=lambda record: record.name)
def test_a_record_agrees_with_torch(record):
    """Unit roundoff, smallest normal, subnormal spacing, largest number, bytes, and whether infinity is kept."""
    kind = getattr(torch, record.torch)
    found = torch.finfo(kind)
    assert (found.eps / 2, found.tiny, found.max) == (record.roundoff, record.smallest, record.largest)
    assert torch.empty(1, dtype=kind).element_size() == record.bytes
    assert bool(torch.tensor(np.inf).to(kind).double().isinf()) == record.infinite
    spacing = torch.tensor(record.smallest * 2.0 ** (1 - record.precision), dtype=torch.float64)
    assert [spacing, 0] == [spacing.to(kind).double(), (spacing / 4).to(kind).double()]
    assert max(spacing / 2, 5e-324) == record.half_spacing


@pytest.mark.parametrize("record", [*DTYPES.values(), FLOAT8], ids=lambda record: record.name)
def test_a_record_agrees_with_onnx(record):
    """ONNX's type of that name is the same number of bytes wide."""
    element = getattr(onnx.TensorProto, record.onnx)
    assert onnx.helper.tensor_dtype_to_np_dtype(element).itemsize == record.bytes


@pytest.fixture
def float8(monkeypatch):
    """Add a record, and nothing else."""
    monkeypatch.setitem(DTYPES, FLOAT8.name, FLOAT8)


@pytest.mark.usefixtures("float8")
@pytest.mark.parametrize("option", ["plain", "mask=full", "causal=bottom_right"])
def test_a_further_record_brings_declarations_cases_inputs_and_bounds(option):
    """An id is parsed, inputs are drawn, the oracle rounded once is within its bound, and one wrong rounding is not."""
    assert FLOAT8.name in Capabilities(("cosine",), dtypes=(FLOAT8.name,)).dtypes
    case = parse(CASE.format(option))
    tensors = inputs.tensors(case)
    assert tensors["query"].dtype is torch.float8_e4m3fn
    assert case.format is FLOAT8
    known, exact = mechanism(case.mechanism), inputs.exact(tensors)
    given = {declared.name: exact.pop(declared.name) for declared in known.inputs}
    fused = Arithmetic(accumulator="float32", rounded_scores=False, stored_probabilities=False)
    bound, _ = error_bounds(known.evaluate, given, exact | inputs.arguments(case), case.dtype, fused)
    output = to_array(numpy_reference.prepare(case)(**tensors)[0])
    assert judge(output, bound).reason == ""
    output[0, 0, 0, 0] += 4 * FLOAT8.roundoff * np.abs(bound.value).max()
    assert "exceeds its error bound" in judge(output, bound).reason


@pytest.mark.usefixtures("float8")
def test_what_is_declared_decides_about_a_further_record():
    """An implementation that does not declare the dtype refuses it by name."""
    assert "dtype float8_e4m3fn not declared" in refuses(eager.CAPABILITIES, parse(CASE.format("plain")))
