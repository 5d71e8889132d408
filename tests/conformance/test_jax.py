"""`jax` hands over layouts, lengths, windows and memory as its docstrings say."""

from __future__ import annotations

import pytest
import torch

from attention_harness.cases.ids import parse
from attention_harness.implementations import eager
from attention_harness.implementations import jax as row

jax = pytest.importorskip("jax", reason="jax is not installed: python -m tox -e extras")

CONDITIONS = [
    "plain",
    "causal=top_left",
    "causal=bottom_right",
    "window=2,1",
    "causal=bottom_right+window=1,3",
    "valid_lens=batch",
    "valid_lens=query",
    "causal=bottom_right+valid_lens=batch",
    "bias=full+mask=batch",
]
SIZES = {"as many": (7, 7), "more keys": (5, 7), "fewer keys": (7, 5)}


def tensors(queries: int, keys: int, options: str, dtype: torch.dtype = torch.float32) -> dict[str, torch.Tensor]:
    """Return inputs of a product with two heads a key head, and values of another width; every query sees a key."""
    made = torch.Generator().manual_seed(1)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=made).to(dtype)

    found = {"query": draw(2, 4, queries, 6), "key": draw(2, 2, keys, 6), "value": draw(2, 2, keys, 5)}
    if "valid_lens" in options:
        shape = (2, queries) if "query" in options else (2,)
        found["valid_lens"] = torch.randint(2, keys + 1, shape, generator=made)
    if "bias" in options:
        found["bias"] = draw(queries, keys).masked_fill(torch.eye(queries, keys, dtype=torch.bool), -torch.inf)
        found["mask"] = torch.rand(2, 1, queries, keys, generator=made) < 0.9
    return found


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("options", CONDITIONS)
def test_conditions_mean_what_ours_mean(options, sizes):
    """What JAX's function takes itself, and what is handed over as a mask, for queries that see a key."""
    queries, keys = SIZES[sizes]
    case = parse(f"scaled_dot_product-B2H4Hk2Lq{queries}Lk{keys}D6Dv5-float32-{options}-ordinary-contiguous")
    given = tensors(queries, keys, options)
    expected, weights = eager.prepare(case)(**given)
    seen = weights.sum(-1, keepdim=True) > 0.5
    assert seen.any()
    got = row.prepare(case)(**given)
    torch.testing.assert_close(got.where(seen, 0.0), expected.where(seen, 0.0), rtol=1e-5, atol=1e-5)


def test_gradients_agree_with_eager():
    """In float64, of all tensors; those that nobody asks for are not computed."""
    case = parse("gaussian_kernel-B2H4Lq7Lk5D6Dv5-float64-bias=full+causal=top_left-ordinary-contiguous")
    made = tensors(7, 5, "plain", torch.float64)
    given = {name: x[:, :2].contiguous().requires_grad_() for name, x in made.items()}
    given |= {"w": torch.rand(1, dtype=torch.float64).requires_grad_()}
    given |= {"bias": torch.randn(7, 5, dtype=torch.float64)}
    expected, got = eager.prepare(case)(**given)[0], row.prepare(case)(**given)
    upstream, leaves = torch.randn_like(expected), [x for x in given.values() if x.requires_grad]
    pairs = zip(*(torch.autograd.grad(x, leaves, upstream) for x in (expected, got)), strict=True)
    for right, found in pairs:
        torch.testing.assert_close(found, right, rtol=1e-12, atol=1e-12)


def test_memory_is_shared():
    """Nothing is copied on the way in or out, where memory begins as XLA asks."""
    x = torch.rand(64, 64)
    array = row._array(x)
    assert x.data_ptr() == array.unsafe_buffer_pointer() == row._tensor(array).data_ptr()


def test_float64_is_no_setting_of_the_process():
    """Other users of JAX in the process keep float32."""
    case = parse("gaussian_kernel-B2H3Lq5Lk7D16Dv8-float64-plain-ordinary-contiguous")
    given = {name: torch.rand(2, 3, 5, 8, dtype=torch.float64) for name in ("query", "key", "value")}
    assert torch.float64 == row.prepare(case)(**given, w=torch.ones(1, dtype=torch.float64)).dtype
    assert "float32" == jax.numpy.ones(3, dtype=float).dtype.name
    assert not jax.config.jax_enable_x64


def test_features_of_pairs_are_never_held():
    """XLA sums them where it makes them: its buffers of a forward pass are a small part of (Lq, Lk, A)."""
    length, width = 256, 128
    output, _ = row._jitted("additive", ())
    arrays = {name: jax.numpy.ones((1, 1, length, width)) for name in ("query", "key", "value")}
    arrays |= {name: jax.numpy.ones((width, width)) for name in ("W_q", "W_k")} | {"w_v": jax.numpy.ones(width)}
    held = output.lower(arrays).compile().memory_analysis().temp_size_in_bytes
    assert 0 < held < 4 * length * length * width / 10
