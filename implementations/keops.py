"""KeOps on the CPU: sums over pairs of points as symbolic formulas, which hold no tensor of (Lq, Lk).

KeOps writes C++ for each formula and each width, and compiles it at the first call, with the system's compiler. Widths
are filled up with zeros to powers of two, so that fewer are compiled. It has no tensor of pairs: keys are hidden by the
first and the last place that a query sees, and a mask or bias is not taken.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import io
import os
import shutil
import threading
from typing import TYPE_CHECKING, Any

from attention_harness import Arithmetic, Capabilities

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor

    from attention_harness import Case

CAPABILITIES = Capabilities(
    mechanisms=("additive", "concat_tanh", "gaussian_kernel"),
    dtypes=("float64", "float32"),  # half precision is for GPUs alone
    options=("causal_top_left", "causal_bottom_right", "valid_lens", "window"),
    requires=("Lk >= 1",),
    gradients=True,
    builds=True,
    # its softmax is an online one, whose maximum may change with every key; exp_ulp: of the tanh below, in float32
    arithmetic=Arithmetic(rounded_scores=False, split_keys=True, block=1, exp_ulp=6.0),
)


def _tanh(x: str) -> str:
    """Return the formula of tanh(x), which KeOps 2.3 does not have.

    Near 0 it is a fraction of x^2, Lambert's continued one down to 15: it errs by 7e-18 of tanh where x is 5/8, the
    farthest. Beyond it is 1 - 2 / (e^2x + 1), and there tanh(20) is 1 in float64. A step of 0 or 1 takes one of them:
    the derivative of KeOps's IfElse by what it does not depend on has "dimensions that are not compatible".
    """
    near, far = f"ClampInt({x}, -1, 1)", f"Exp(IntCst(2) * ClampInt({x}, -20, 20))"
    above, below = (
        " + ".join(
            f"IntCst({n}) * Pow(Square({near}), {power})" if power else f"IntCst({n})"
            for power, n in enumerate(numbers)
        )
        for numbers in (_ABOVE, _BELOW)
    )
    step = f"Step(IntCst(25) - IntCst(64) * Square({x}))"
    fraction = f"{near} * ({above}) / ({below})"
    return f"({step} * ({fraction}) + (IntCst(1) - {step}) * (IntCst(1) - IntCst(2) / ({far} + IntCst(1))))"


_ABOVE, _BELOW = (2027025, 270270, 6930, 36), (2027025, 945945, 51975, 630, 1)
_SCORES = {
    "additive": f"(w | {_tanh('(q + k)')})",
    "concat_tanh": f"Sum({_tanh('(q + k)')})",
    "gaussian_kernel": "(Minus(SqDist(q, k)) * IntInv(2))",
}
_HIDDEN = -(10**30)  # a score; KeOps has whole numbers in formulas, and no infinity


def unavailable() -> str:
    """Return what is missing."""
    if importlib.util.find_spec("pykeops") is None:
        return "pykeops not installed: pip install attention-harness[keops]"
    compiler = os.environ.get("CXX") or "g++"
    return "" if shutil.which(compiler) else f"no C++ compiler {compiler}: KeOps compiles each formula"


def prepare(case: Case) -> Callable[..., Tensor]:
    """Return the call; formulas are compiled in it."""
    settings = {name: case.options[name] for name in ("causal", "window") if name in case.options}
    return functools.partial(globals()[case.mechanism], **settings)


def additive(query: Tensor, key: Tensor, value: Tensor, W_q: Tensor, W_k: Tensor, w_v: Tensor, **seen: Any) -> Tensor:
    """Score by w^T tanh(W_q q + W_k k)."""
    from torch.nn.functional import linear

    return attend("additive", linear(query, W_q), linear(key, W_k), value, w_v, **seen)


def concat_tanh(query: Tensor, key: Tensor, value: Tensor, W: Tensor, b: Tensor, **seen: Any) -> Tensor:
    """Score by the sum of tanh(W [q; k] + b)."""
    from torch.nn.functional import linear

    size = query.shape[-1]
    return attend("concat_tanh", linear(query, W[:, :size]), linear(key, W[:, size:], b), value, **seen)


def gaussian_kernel(query: Tensor, key: Tensor, value: Tensor, w: Tensor, **seen: Any) -> Tensor:
    """Score by -|w (q - k)|^2 / 2."""
    return attend("gaussian_kernel", w * query, w * key, value, **seen)


# --- what they share


def attend(
    score: str,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    weight: Tensor | None = None,
    *,
    valid_lens: Tensor | None = None,
    causal: str | None = None,
    window: tuple[int, int] | None = None,
) -> Tensor:
    """Return the softmax of scores times the values, (B, H, Lq, Dv).

    query, key    (B, H, Lq, A) and (B, H, Lk, A): what a score is computed from
    weight        of the features, (A), if the score has one
    """
    batch, heads, queries, _ = query.shape
    keys, of_values = value.shape[-2:]
    named = {name: _filled(x.flatten(0, 1)) for name, x in (("q", query), ("k", key), ("v", value))}
    if weight is not None:
        named["w"] = _filled(weight)[None]
    ends = seen_places(queries, keys, valid_lens, causal, window)
    if ends is not None:
        import torch

        ends = ends.expand(batch, queries, 2).repeat_interleave(heads, 0).to(query.dtype)
        named |= {"e": ends, "j": torch.arange(keys, dtype=query.dtype)[None, :, None]}
    output = _bridge().apply(score, tuple(named), *named.values())
    if ends is not None:
        output = output.masked_fill(ends[..., :1] > ends[..., 1:], 0.0)
    return output[..., :of_values].unflatten(0, (batch, heads))


def seen_places(
    queries: int, keys: int, valid_lens: Tensor | None, causal: str | None, window: tuple[int, int] | None
) -> Tensor | None:
    """Return, (B or 1, Lq, 2), the first and the last key that each query sees, a last before the first for none.

    None where every query sees all.
    """
    import torch

    if valid_lens is None and causal is None and window is None:
        return None
    place = torch.arange(queries) + (keys - queries if causal == "bottom_right" else 0)
    first, last = torch.zeros(1, queries, dtype=torch.int64), torch.full((1, queries), keys - 1)
    if valid_lens is not None:
        last = torch.minimum(last, (valid_lens if valid_lens.ndim == 2 else valid_lens[:, None]) - 1)
    if causal is not None:
        last = torch.minimum(last, place)
    if window is not None:
        first, last = torch.maximum(first, place - window[0]), torch.minimum(last, place + window[1])
    return torch.stack(torch.broadcast_tensors(first, last), -1)


def _filled(x: Tensor) -> Tensor:
    """Return x, contiguous, with zeros behind its features up to a power of two."""
    from torch.nn.functional import pad

    width = x.shape[-1]
    return pad(x, (0, (1 << max(width - 1, 0).bit_length()) - width)).contiguous()


@functools.cache
def _reduction(score: str, widths: tuple[tuple[str, int], ...]) -> Any:
    """Return KeOps's sum over keys of values by the softmax of a score."""
    with contextlib.redirect_stdout(io.StringIO()):  # of libraries for GPUs that it has not found
        import pykeops
        from pykeops.torch import Genred

    pykeops.set_verbose(False)
    kinds = {"q": "Vi", "k": "Vj", "v": "Vj", "w": "Pm", "e": "Vi", "j": "Vj"}
    formula = _SCORES[score]
    if "e" in dict(widths):
        before, behind = "j - Elem(e, 0)", "Elem(e, 1) - j"
        formula = f"IfElse({before}, IfElse({behind}, {formula}, IntCst({_HIDDEN})), IntCst({_HIDDEN}))"
    aliases = [f"{name} = {kinds[name]}({width})" for name, width in widths]
    return Genred(formula, aliases, reduction_op="SumSoftMaxWeight", axis=1, formula2="v")


@functools.cache
def _bridge() -> Any:
    """Return the torch.autograd.Function around KeOps's own, which compiles one formula of a width at a time."""
    import torch
    from torch.autograd.function import once_differentiable

    class Bridge(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, score: str, names: tuple[str, ...], *values: Tensor) -> Tensor:
            widths = tuple((name, x.shape[-1]) for name, x in zip(names, values, strict=True))
            leaves = [x.detach().requires_grad_(needed) for x, needed in zip(values, ctx.needs_input_grad[2:])]
            ctx.structure = (score, widths, values[0].dtype, ctx.needs_input_grad)
            with torch.enable_grad(), _alone((*ctx.structure, "forward")):
                output = _reduction(score, widths)(*leaves, backend="CPU")
            ctx.output, ctx.leaves = output, leaves
            return output.detach()

        @staticmethod
        @once_differentiable
        def backward(ctx: Any, upstream: Tensor) -> tuple[Any, ...]:
            wanted = [leaf for leaf in ctx.leaves if leaf.requires_grad]
            with _alone((*ctx.structure, "backward")):
                found = iter(torch.autograd.grad(ctx.output, wanted, upstream, retain_graph=True))
            return None, None, *(next(found) if leaf.requires_grad else None for leaf in ctx.leaves)

    return Bridge


_built: set[Any] = set()
_one_at_a_time = threading.Lock()


@contextlib.contextmanager
def _alone(structure: Any) -> Iterator[None]:
    """Let no other thread call KeOps, and during the first call of a structure no other process compile.

    KeOps 2.3 keeps the addresses of a call's tensors in the object of its formula: calls that overlap write into each
    other's memory. And it takes a library that another process is still writing for a finished one: see
    getkeops/keops#168.
    """
    with contextlib.ExitStack() as held:
        held.enter_context(_one_at_a_time)
        if structure not in _built:
            import fcntl
            import tempfile

            path = os.path.join(tempfile.gettempdir(), f"attention_harness_keops_{os.getuid()}.lock")
            fcntl.flock(held.enter_context(open(path, "w")), fcntl.LOCK_EX)  # until it is closed
        yield
        _built.add(structure)
