"""The eager functions exported to ONNX, in ONNX Runtime on the CPU."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from attention_harness.implementations import _onnx

if TYPE_CHECKING:
    from collections.abc import Callable

    import onnxruntime

    from attention_harness import Case

CAPABILITIES = replace(_onnx.CAPABILITIES, devices=("cpu",))


def unavailable() -> str:
    """Return what is missing."""
    return _onnx.missing("onnx")


def unsupported(case: Case) -> str:
    """Return why ONNX Runtime cannot take the case."""
    return _onnx.unsupported(case)


def prepare(case: Case) -> Callable[..., Any]:
    """Return the mechanism's graph in ONNX Runtime."""
    return _onnx.prepare(case, open_session)


def open_session(model: bytes, dtype: str) -> onnxruntime.InferenceSession:
    """Open a session with as many threads as torch has."""
    import torch

    return _opened(model, dtype, torch.get_num_threads())


@functools.cache
def _opened(model: bytes, dtype: str, threads: int) -> onnxruntime.InferenceSession:
    import onnxruntime

    options = _onnx.session_options(dtype)
    options.intra_op_num_threads = threads
    # NchwcTransformer crashes the process on float16 graphs (ONNX Runtime 1.31; it concerns convolutions alone).
    skip = ["NchwcTransformer"] if dtype == "float16" else None
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"], disabled_optimizers=skip)
