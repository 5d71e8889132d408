"""JAX on the CPU: jax.nn.dot_product_attention for products, and jitted formulas for what it does not score.

Keys are hidden everywhere as that function does it: their scores become a large negative number, so that a query that
sees no key gets the mean of the values. A bias of -inf is handed over as a mask: alone it would make such a row NaN,
and beside other hidden keys the mean of those.
"""

from __future__ import annotations

import functools
import importlib.util
from typing import TYPE_CHECKING, Any

from attention_harness import Arithmetic, Capabilities

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import Tensor

    from attention_harness import Case

CAPABILITIES = Capabilities(
    mechanisms=("dot_product", "scaled_dot_product", "additive", "concat_tanh", "gaussian_kernel"),
    dtypes=("float64", "float32", "bfloat16", "float16"),
    options=(
        *("bias", "causal_top_left", "causal_bottom_right", "grouped_heads", "mask", "scale", "valid_lens", "window"),
    ),
    requires=("Lk >= 1",),
    gradients=True,
    builds=True,  # XLA compiles for every new shape
    fully_masked_rows="mean",
    arithmetic=Arithmetic(rounded_scores=False),
)

_PRODUCTS = ("dot_product", "scaled_dot_product")
# jax-ml/jax#34114 is about the float64 that becomes float32 there; jax-ml/jax#24047 brought the precision that a CPU
# lacks, and keras-team/keras-hub#2354 met it.
_REFUSED = {
    "float64": "jax.nn.dot_product_attention computes its softmax in float32, whatever the dtype",
    "float16": "jax 0.10.2 on a CPU: The precision 'F16_F16_F32' is not supported by dot_general",
}

# Seen with (B, H, L, D) of (33, 32, 2, 1) and (257, 256, 2, 1), not of (2, 3, 5, 1). Found by this suite.
_ABORTS = "XLA of jaxlib 0.10.2 can end the process: bfloat16 of width 1, a failed check in ynn_emitter.cc"


def unavailable() -> str:
    """Return what is missing."""
    return "" if importlib.util.find_spec("jax") else "jax not installed: pip install attention-harness[jax]"


def unsupported(case: Case) -> str:
    """Return what jax.nn.dot_product_attention does not compute, or ""."""
    if case.mechanism not in _PRODUCTS:
        return ""
    if case.dtype == "bfloat16" and max(case.sizes["D"], case.sizes["Dv"]) == 1:
        return _ABORTS
    return _REFUSED.get(case.dtype, "")


def prepare(case: Case) -> Callable[..., Tensor]:
    """Return the call: tensors go to JAX and come back without a copy, and gradients with them."""
    names = ("causal", "scale", "window")
    settings = tuple((name, case.options[name]) for name in names if name in case.options)
    function = _Function(case.mechanism, settings)

    def call(**tensors: Tensor) -> Tensor:
        output: Tensor = _bridge().apply(function, tuple(tensors), *tensors.values())
        return output

    return call


# --- between torch and JAX


class _Function:
    """A mechanism under its settings, on torch's memory."""

    def __init__(self, mechanism: str, settings: tuple[tuple[str, Any], ...]) -> None:
        self._output, self._gradients = _jitted(mechanism, settings)

    def output(self, tensors: Mapping[str, Tensor]) -> Tensor:
        """Return the output."""
        with _precision(tensors):
            return _tensor(self._output(_arrays(tensors)))

    def gradients(self, tensors: Mapping[str, Tensor], wanted: tuple[str, ...], upstream: Tensor) -> dict[str, Tensor]:
        """Return the gradients with respect to the wanted tensors."""
        with _precision(tensors):
            arrays = _arrays(tensors)
            leaves = {name: arrays.pop(name) for name in wanted}
            found = self._gradients(leaves, arrays, _array(upstream))
            return {name: _tensor(gradient) for name, gradient in found.items()}


@functools.cache
def _jitted(mechanism: str, settings: tuple[tuple[str, Any], ...]) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Return the compiled function of arrays by name, and the one of leaves, other arrays and the output's gradient."""
    import jax

    function = functools.partial(globals()[mechanism], **dict(settings))

    def gradients(leaves: dict[str, Any], others: dict[str, Any], upstream: Any) -> Any:
        _, backward = jax.vjp(lambda leaves: function(**leaves, **others), leaves)
        return backward(upstream)[0]

    return jax.jit(lambda arrays: function(**arrays)), jax.jit(gradients)


@functools.cache
def _bridge() -> Any:
    """Return the torch.autograd.Function; torch is imported here."""
    import torch
    from torch.autograd.function import once_differentiable

    class Bridge(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, function: _Function, names: tuple[str, ...], *values: Tensor) -> Tensor:
            ctx.function, ctx.names = function, names
            ctx.save_for_backward(*values)
            return function.output(dict(zip(names, values, strict=True)))

        @staticmethod
        @once_differentiable
        def backward(ctx: Any, upstream: Tensor) -> tuple[Any, ...]:
            wanted = tuple(name for name, needed in zip(ctx.names, ctx.needs_input_grad[2:], strict=True) if needed)
            tensors = dict(zip(ctx.names, ctx.saved_tensors, strict=True))
            found = ctx.function.gradients(tensors, wanted, upstream)
            return None, None, *(found.get(name) for name in ctx.names)

    return Bridge


def _precision(tensors: Mapping[str, Tensor]) -> Any:
    """Return the context in which JAX has float64 if a tensor has: of this thread alone, not of the process."""
    import jax
    import torch

    return jax.enable_x64(any(x.dtype == torch.float64 for x in tensors.values()))


def _arrays(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    return {name: _array(x) for name, x in tensors.items()}


def _array(x: Tensor) -> Any:
    import jax

    return jax.dlpack.from_dlpack(x.detach().contiguous())


def _tensor(x: Any) -> Tensor:
    from torch.utils.dlpack import from_dlpack

    return from_dlpack(x)


# --- the mechanisms, of arrays of JAX


def dot_product(query: Any, key: Any, value: Any, **visibility: Any) -> Any:
    """Attend with the scale 1."""
    return scaled_dot_product(query, key, value, scale=1.0, **visibility)


def scaled_dot_product(
    query: Any,
    key: Any,
    value: Any,
    *,
    scale: float | None = None,
    bias: Any = None,
    mask: Any = None,
    valid_lens: Any = None,
    causal: str | None = None,
    window: tuple[int, int] | None = None,
) -> Any:
    """Attend to (B, H, L, D) by JAX's function, which takes (B, L, H, D).

    Causality and windows count from the first key there, and lengths are of batch elements: others become a mask.
    Values have the width of keys there: the narrower of both get zeros behind them.
    """
    import jax.numpy as jnp
    from jax.nn import dot_product_attention

    queries, keys = query.shape[2], key.shape[2]
    width, of_values = query.shape[-1], value.shape[-1]
    scale = width**-0.5 if scale is None else scale
    query, key, value = (_widened(x, max(width, of_values)) for x in (query, key, value))
    bias, mask = _finite(bias, mask)
    lens = None
    if valid_lens is not None and valid_lens.ndim == 1:
        lens, valid_lens = valid_lens.astype(jnp.int32), None
    if causal == "bottom_right" and queries != keys:
        mask, causal, window = _seen(queries, keys, 4, mask, valid_lens, causal, window), None, None
    else:
        mask = _seen(queries, keys, 4, mask, valid_lens)
    output = dot_product_attention(
        jnp.swapaxes(query, 1, 2),
        jnp.swapaxes(key, 1, 2),
        jnp.swapaxes(value, 1, 2),
        bias,
        mask,
        scale=scale,
        is_causal=causal is not None,
        key_value_seq_lengths=lens,
        local_window_size=window,
    )
    return jnp.swapaxes(output, 1, 2)[..., :of_values]


def additive(query: Any, key: Any, value: Any, W_q: Any, W_k: Any, w_v: Any, **visibility: Any) -> Any:
    """Score by w^T tanh(W_q q + W_k k)."""
    import jax.numpy as jnp

    query, key, W_q, W_k, w_v = map(_wide, (query, key, W_q, W_k, w_v))
    features = (query @ W_q.T)[..., :, None, :] + _repeated(key @ W_k.T, query)[..., None, :, :]
    return _attend((jnp.tanh(features) * w_v).sum(-1), value, **visibility)


def concat_tanh(query: Any, key: Any, value: Any, W: Any, b: Any, **visibility: Any) -> Any:
    """Score by the sum of tanh(W [q; k] + b)."""
    import jax.numpy as jnp

    query, key, W, b = map(_wide, (query, key, W, b))
    size = query.shape[-1]
    features = (query @ W[:, :size].T)[..., :, None, :] + _repeated(key @ W[:, size:].T + b, query)[..., None, :, :]
    return _attend(jnp.tanh(features).sum(-1), value, **visibility)


def gaussian_kernel(query: Any, key: Any, value: Any, w: Any, **visibility: Any) -> Any:
    """Score by -|w (q - k)|^2 / 2."""
    query, key, w = map(_wide, (query, key, w))
    difference = w * (query[..., :, None, :] - _repeated(key, query)[..., None, :, :])
    return _attend((difference * difference).sum(-1) * -0.5, value, **visibility)


# --- what they share


def _attend(scores: Any, value: Any, *, bias: Any = None, mask: Any = None, **conditions: Any) -> Any:
    """Return the softmax of scores and bias over the keys that are seen, times the values, in the values' dtype."""
    import jax
    import jax.numpy as jnp

    bias, mask = _finite(bias, mask)
    if bias is not None:
        scores = scores + _wide(bias)
    seen = _seen(scores.shape[-2], scores.shape[-1], scores.ndim, mask, **conditions)
    if seen is not None:
        scores = jnp.where(seen, scores, -0.7 * jnp.finfo(scores.dtype).max)
    output = jax.nn.softmax(scores, axis=-1) @ _repeated(_wide(value), scores)
    return output.astype(value.dtype)


def _finite(bias: Any, mask: Any) -> tuple[Any, Any]:
    """Return a bias without -inf, and a mask that hides where it was."""
    import jax.numpy as jnp

    if bias is None:
        return bias, mask
    shown = bias > -jnp.inf
    return jnp.where(shown, bias, 0), shown if mask is None else jnp.logical_and(mask, shown)


def _seen(
    queries: int,
    keys: int,
    axes: int,
    mask: Any = None,
    valid_lens: Any = None,
    causal: str | None = None,
    window: tuple[int, int] | None = None,
) -> Any:
    """Return which keys are seen, in as many axes as scores have; None for all."""
    import jax.numpy as jnp

    key = jnp.arange(keys)
    place = jnp.arange(queries)[:, None] + (keys - queries if causal == "bottom_right" else 0)
    conditions = [] if mask is None else [mask]
    if valid_lens is not None:
        lens = valid_lens.reshape(len(valid_lens), *[1] * (axes - 3), -1, 1)
        conditions.append(key < lens)
    if causal is not None:
        conditions.append(key <= place)
    if window is not None:
        conditions.append((key >= place - window[0]) & (key <= place + window[1]))
    seen = functools.reduce(jnp.logical_and, conditions) if conditions else None
    return seen if seen is None else seen.reshape(*[1] * (axes - seen.ndim), *seen.shape)


def _widened(x: Any, width: int) -> Any:
    """Return x with zeros behind its features up to a width."""
    import jax.numpy as jnp

    return jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, width - x.shape[-1])])


def _repeated(x: Any, query: Any) -> Any:
    """Return x with each key head repeated for its neighbours among the query heads."""
    import jax.numpy as jnp

    return x if x.shape[1] == query.shape[1] else jnp.repeat(x, query.shape[1] // x.shape[1], axis=1)


def _wide(x: Any) -> Any:
    """Return x in float32, or in float64 if that is what it is in."""
    import jax.numpy as jnp

    return x.astype(jnp.promote_types(x.dtype, jnp.float32))
