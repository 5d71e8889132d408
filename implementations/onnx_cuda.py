"""The eager functions exported to ONNX, in ONNX Runtime on an NVIDIA GPU."""

from __future__ import annotations

import functools
import importlib.metadata
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from attention_harness import cuda_devices
from attention_harness.implementations import _onnx

if TYPE_CHECKING:
    from collections.abc import Callable

    import onnxruntime

    from attention_harness import Case

CAPABILITIES = replace(_onnx.CAPABILITIES, devices=("cuda",))
_PROVIDER = "CUDAExecutionProvider"


def unavailable() -> str:
    """Return what is missing."""
    missing = _onnx.missing("cuda")
    if missing:
        return missing
    if not cuda_devices():
        return "no CUDA device"
    if "+cpu" in importlib.metadata.version("torch"):
        return "this torch is a CPU build: install one for CUDA"
    import onnxruntime

    if _PROVIDER not in onnxruntime.get_available_providers():
        return f"this onnxruntime has no {_PROVIDER}: pip install attention-harness[cuda]"
    return ""


def unsupported(case: Case) -> str:
    """Return why ONNX Runtime cannot take the case."""
    return _onnx.unsupported(case)


def prepare(case: Case) -> Callable[..., Any]:
    """Return the mechanism's graph in ONNX Runtime."""
    return _onnx.prepare(case, open_session)


def open_session(model: bytes, dtype: str) -> onnxruntime.InferenceSession:
    """Open a session on torch's device and stream, so that torch's work before and after it waits for its turn."""
    import torch

    return _opened(model, dtype, torch.cuda.current_device(), torch.cuda.current_stream().cuda_stream)


@functools.cache
def _opened(model: bytes, dtype: str, device: int, stream: int) -> onnxruntime.InferenceSession:
    import onnxruntime

    options = _onnx.session_options(dtype)
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    settings = {
        "device_id": str(device),
        "user_compute_stream": str(stream),
        "use_tf32": "0",
    }  # float32 is float32
    session = onnxruntime.InferenceSession(model, options, providers=[(_PROVIDER, settings)])
    if _PROVIDER not in session.get_providers():  # its libraries did not load: ONNX Runtime only warns
        raise RuntimeError(f"ONNX Runtime fell back to {', '.join(session.get_providers())}; expected {_PROVIDER}")
    elsewhere = {
        node.op_type
        for part in session.get_provider_graph_assignment_info()
        if part.ep_name != _PROVIDER
        for node in part.get_nodes()
    } & {"MatMul", "Gemm", "Softmax", "Tanh"}  # arithmetic on shapes belongs on the CPU
    if elsewhere:
        raise RuntimeError(f"ONNX Runtime has no CUDA kernel for {', '.join(sorted(elsewhere))} in {dtype}")
    return session
