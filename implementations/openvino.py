"""The eager functions exported to ONNX, in OpenVINO on the CPU."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from attention_harness.implementations import _onnx

if TYPE_CHECKING:
    from collections.abc import Callable

    import openvino
    import torch

    from attention_harness import Case

# float64 is left out: the CPU plugin computes it in float32. float16 it computes in float32 too, for the hint below.
CAPABILITIES = replace(_onnx.CAPABILITIES, devices=("cpu",), dtypes=("float32", "float16"))

# softmax((0, -87)) has a second weight of 1.6e-38 there, which is a normal number, and becomes 0; Exp(-87) does not.
# Found by this suite; of the same kind as openvinotoolkit/openvino#35931, where Softplus underflows.
_UNDERFLOW = "OpenVINO 2026.4, CPU: its softmax takes weights below 1.8e-38 for 0, and numbers are normal from 1.2e-38"
KNOWN_FAILURES = {"weights:self_attention-B2L64E1-float32-positions=sinusoidal-outlier-contiguous": _UNDERFLOW}


def unavailable() -> str:
    """Return what is missing."""
    return _onnx.missing("openvino", "openvino")


def prepare(case: Case) -> Callable[..., Any]:
    """Return the mechanism's graph in OpenVINO."""
    return _onnx.prepare(case, open_model, Model)


def open_model(model: bytes, dtype: str) -> openvino.CompiledModel:
    """Compile a graph for as many threads as torch has."""
    import torch

    return _compiled(model, torch.get_num_threads())


@functools.cache
def _compiled(model: bytes, threads: int) -> openvino.CompiledModel:
    import openvino

    core = openvino.Core()
    settings = {
        # without it a processor with AMX or AVX512-BF16 computes float32 graphs in bfloat16
        "INFERENCE_PRECISION_HINT": "f32",
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": threads,
        "ENABLE_CPU_PINNING": False,  # threads that keep to a core wait for whoever else is on it
    }
    return core.compile_model(core.read_model(model), "CPU", settings)


class Model:
    """A compiled graph as a function of torch tensors: it reads their memory, and its outputs are copied.

    A request holds the tensors of one call. Calls that overlap take one each, and leave it to later ones.
    """

    def __init__(self, compiled: openvino.CompiledModel, shapes: _onnx.Sizes) -> None:
        self.compiled = compiled
        # what an input is cast or expanded to can have its own name for the same tensor
        self.inputs = [next(name for name in given.get_names() if name in shapes) for given in compiled.inputs]
        self.idle: list[openvino.InferRequest] = []

    def __call__(self, tensors: dict[str, torch.Tensor]) -> Any:
        import openvino
        import torch

        try:
            request = self.idle.pop()
        except IndexError:
            request = self.compiled.create_infer_request()
        given = [tensors[name].contiguous().numpy() for name in self.inputs]  # alive until the request has run
        for place, x in enumerate(given):
            request.set_input_tensor(place, openvino.Tensor(x, shared_memory=True))
        request.infer()
        made = tuple(torch.from_numpy(one.data.copy()) for one in request.output_tensors)
        self.idle.append(request)
        return made if len(made) > 1 else made[0]
