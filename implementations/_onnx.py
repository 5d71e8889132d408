"""What the implementations by ONNX share: export an eager function, open a session, run it in torch's own memory."""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from attention_harness import DTYPES
from attention_harness.implementations import eager

if TYPE_CHECKING:
    import onnxruntime
    import torch

    from attention_harness import Case

# What the eager functions can do, without what an exported graph cannot: it has no derivatives and no training. It has
# no bfloat16, since ONNX Runtime 1.31 has no CPU kernel for its MatMul (NOT_IMPLEMENTED); on a GPU it was not tried.
# Nor codes of 8 bits: how many blocks have a scale would be fixed in the graph.
CAPABILITIES = replace(
    eager.CAPABILITIES,
    dtypes=("float64", "float32", "float16"),
    options=tuple(one for one in eager.CAPABILITIES.options if one != "dropout" and not one.startswith("quantised")),
    builds=True,
    gradients=False,
    second_derivatives=False,
    vmap=False,
    forward_derivatives=False,
    autocast=(),
    narrower_inputs=(),  # a graph's inputs have one dtype each
)

# The opset that torch's exporter writes by default. Later ones add no operator that these graphs use: Attention is made
# of torch's fused function alone.
OPSET = 20

# The axes whose length may change from call to call; "-" is a width, fixed in the graph.
_HEADS = {"query": "B - Lq -", "key": "B - Lk -", "value": "B - Lk -"}
_ROWS = {"query": "B Lq -", "key": "B Lk -", "value": "B Lk -"}
_DYNAMIC = {
    "masked_softmax": {"scores": "B - Lq Lk"},
    "location": {"query": "B Lq -", "key": "B Lq -", "value": "B Lk -", "W": "Lk -", "b": "Lk"},
    "projected": _ROWS,
    "multi_head": _ROWS,
    "positional_encoding": {"sequence": "B Lq -"},
    "rotary_embedding": {"sequence": "B - Lq -"},
    "linear_attention": dict.fromkeys(("query", "key", "value"), "B - Lq -"),
    "self_attention": {"sequence": "B Lq -"},
    "cross_attention": {"sequence": "B Lq -", "context": "B Lk -"},
    "differential_attention": {
        **dict.fromkeys(("query_1", "query_2"), "B - Lq -"),
        **dict.fromkeys(("key_1", "key_2", "value"), "B - Lk -"),
    },
    "latent_attention": {"query": "B - Lq -", "query_rotary": "B - Lq -", "latent": "B Lk -", "key_rotary": "B Lk -"},
}
_BY_RANK = {2: "Lq Lk", 3: "B Lq Lk", 4: "B - Lq Lk"}
_GATES = {3: "B - Lq", 4: "B - Lq -"}
_OPTIONS = {"mask": _BY_RANK, "bias": _BY_RANK, "valid_lens": {1: "B", 2: "B Lq"}, "cache_lens": {1: "B"}}
_OPTIONS |= {"decay": _GATES, "update_rate": _GATES}

# Lengths of the example that is exported: different, and none is 0 or 1, so that nothing is specialised.
_EXAMPLE = {"B": 2, "Lq": 5, "Lk": 7}

# ONNX Runtime 1.31 and tensors without elements: ReduceSum(axes=-1, keepdims=0) leaves (2, 0, 8) as it is, and MatMul
# of (2, 0, 8) by (8) fails: "left operand cannot broadcast on dim 1". These mechanisms reduce over pairs that way.
_REDUCE_PAIRS = ("additive", "concat_tanh", "gaussian_kernel")

Shapes = tuple[tuple[str, tuple[int, ...]], ...]
Axes = tuple[tuple[str, tuple["str | int", ...]], ...]
Sizes = dict[str, tuple[int, ...]]
Session = Any  # of a runtime
Run = Callable[[dict[str, "torch.Tensor"]], Any]


def prepare(
    case: Case, open_session: Callable[[bytes, str], Session], run_in: Callable[[Session, Sizes], Run] | None = None
) -> Callable[..., Any]:
    """Return the mechanism as an ONNX graph, for any batch and lengths.

    open_session   opens a serialised graph in a runtime, in a dtype
    run_in         makes of that a function of tensors by name, which have the given shapes; ONNX Runtime's without it

    The graph is built at the first call, as torch.compile does it, and kept: along which axes a mask or bias is
    broadcast shows in the tensors alone.
    """
    function = eager.prepare(case)
    settings = tuple(function.keywords.items())

    @functools.lru_cache(maxsize=1024)
    def graph(shapes: Shapes) -> Run:
        model = export(function.func, settings, axes_of(case.mechanism, shapes), case.dtype)
        return (run_in or Graph)(open_session(model, case.dtype), dict(shapes))

    def call(**tensors: torch.Tensor) -> Any:
        return graph(tuple((name, x.shape) for name, x in tensors.items()))(tensors)

    return call


def unsupported(case: Case) -> str:
    """Return why ONNX Runtime cannot take the case, or ""."""
    lengths = [case.sizes.get(axis) for axis in ("B", "Lq", "Lk", "L")]
    if 0 in lengths and (case.mechanism in _REDUCE_PAIRS or "segments" in case.options):
        return "ONNX Runtime does not reduce a tensor without elements: a wrong shape by ReduceSum, an error by MatMul"
    if 0 in lengths and case.mechanism == "linear_attention":
        return "ONNX Runtime 1.31 has no Scan of a sequence of length 0, nor of a state without elements"
    return ""


def axes_of(mechanism: str, shapes: Shapes) -> Axes:
    """Return the axes of each tensor: a letter where the length may change, a number where it may not."""
    if any(name.startswith("past_") for name, _ in shapes):
        return shapes  # what has an axis of all keys has the length of two others together, which no letter says
    declared = _DYNAMIC.get(mechanism, _HEADS)
    lengths = {
        letter: length
        for name, shape in shapes
        for letter, length in zip(declared.get(name, "").split(), shape, strict=False)
    }

    def axis(letter: str, length: int) -> str | int:
        letter = "Lq" if letter == "Lk" and "Lk" not in lengths else letter  # a sequence that attends to itself
        return letter if letter != "-" and length == lengths[letter] else length  # otherwise it is broadcast

    found = []
    for name, shape in shapes:
        letters = declared.get(name) or _OPTIONS.get(name, {}).get(len(shape)) or "- " * len(shape)
        found.append((name, tuple(axis(*pair) for pair in zip(letters.split(), shape, strict=True))))
    return tuple(found)


@functools.cache
def export(function: Callable[..., Any], settings: tuple[tuple[str, Any], ...], axes: Axes, dtype: str) -> bytes:
    """Return the serialised graph of an eager function."""
    import torch

    class Module(torch.nn.Module):
        def forward(self, tensors: dict[str, torch.Tensor]) -> Any:
            return function(**tensors, **dict(settings))

    types = {"mask": torch.bool} | dict.fromkeys(("cache_lens", "segments", "valid_lens"), torch.int64)
    dims = {letter: torch.export.Dim(letter) for letter in _EXAMPLE}
    tensors, dynamic = {}, {}
    for name, letters in axes:
        shape = [axis if isinstance(axis, int) else _EXAMPLE[axis] for axis in letters]
        tensors[name] = torch.ones(shape, dtype=types.get(name, getattr(torch, DTYPES[dtype].torch)))
        dynamic[name] = {i: dims[axis] for i, axis in enumerate(letters) if axis in dims}
    with _quiet(), _exact_scalars(dtype):
        program = torch.export.export(
            Module().eval(), (), {"tensors": tensors}, dynamic_shapes={"tensors": dynamic}, strict=False
        )
        model = torch.onnx.export(program, input_names=list(tensors), opset_version=OPSET, dynamo=True, verbose=False)
    assert model is not None  # with a path to write to it would be
    return model.model_proto.SerializeToString()


class Graph:
    """An open session as a function of torch tensors of given shapes: it reads and writes their memory, not copies."""

    def __init__(self, session: onnxruntime.InferenceSession, shapes: dict[str, tuple[int, ...]]) -> None:
        import torch
        from onnx import TensorProto

        self.session = session
        self.inputs = [given.name for given in session.get_inputs()]
        lengths = {
            axis: length
            for given in session.get_inputs()
            for axis, length in zip(given.shape, shapes[given.name], strict=True)
        }

        def length(axis: str | int) -> int:  # a sum of letters is joined of their parts
            return axis if isinstance(axis, int) else sum(lengths[letter] for letter in axis.split("+"))

        self.outputs = [(made.name, [length(axis) for axis in made.shape]) for made in session.get_outputs()]
        self.nowhere = torch.empty(1)
        self.elements = {
            **{getattr(torch, record.torch): getattr(TensorProto, record.onnx) for record in DTYPES.values()},
            torch.int64: TensorProto.INT64,
            torch.bool: TensorProto.BOOL,
        }

    def __call__(self, tensors: dict[str, torch.Tensor]) -> Any:
        binding = self.session.io_binding()
        given = [tensors[name].contiguous() for name in self.inputs]  # alive until the session has run
        for name, x in zip(self.inputs, given, strict=True):
            binding.bind_input(name, *self._memory(x))
        made = [given[0].new_empty(shape) for _, shape in self.outputs]  # the first input is floating everywhere
        for (name, _), x in zip(self.outputs, made, strict=True):
            binding.bind_output(name, *self._memory(x))
        self.session.run_with_iobinding(binding)
        return tuple(made) if len(made) > 1 else made[0]

    def _memory(self, x: torch.Tensor) -> tuple[Any, ...]:
        address = x.data_ptr() or self.nowhere.data_ptr()  # an empty tensor's is null, which a binding refuses
        return x.device.type, x.device.index or 0, self.elements[x.dtype], x.shape, address


def session_options(dtype: str) -> onnxruntime.SessionOptions:
    """Return the options that keep a session exact and its memory measurable."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors
    options.enable_cpu_mem_arena = False  # an arena hides how much memory a call needs
    if dtype == "float64":  # above this level MatMul and scale are fused, and the scale becomes a float32
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    return options


def missing(extra: str, runtime: str = "onnxruntime") -> str:
    """Return which package is missing and how to get it, or ""."""
    names = ("torch", "onnx", "onnxscript", runtime)
    absent = [name for name in names if importlib.util.find_spec(name) is None]
    return f"{', '.join(absent)} not installed: pip install attention-harness[{extra}]" if absent else ""


@contextmanager
def _exact_scalars(dtype: str) -> Iterator[None]:
    """Trace Python floats as float64 tensors in a float64 graph, where the exporter rounds them to float32.

    Measured with torch 2.13: x / math.sqrt(7) becomes x / 2.64575124, a relative error of 3e-8.
    """
    import torch
    from torch.overrides import TorchFunctionMode

    def exact(x: Any) -> Any:
        inexact = isinstance(x, float) and ctypes.c_float(x).value != x
        return torch.tensor(x, dtype=torch.float64) if inexact else x

    class Exact(TorchFunctionMode):
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            return func(*map(exact, args), **(kwargs or {}))

    if dtype != "float64":
        yield
        return
    with Exact():
        yield


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the exporter's warnings about torch's own code and about torchvision."""
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)
