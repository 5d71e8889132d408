"""`fused` computes what it says it does: streamed loops, spans of keys, and the direct form where an expansion errs."""

from __future__ import annotations

import itertools

import pytest
import torch

from attention_harness.implementations import (
    _fused_build,
    _fused_gaussian,
    _fused_pairs,
    _fused_products,
    _fused_tanh,
    eager,
    fused,
)
from attention_harness.implementations._fused_visibility import Visibility

CONDITIONS = [
    {},
    {"causal": "top_left"},
    {"causal": "bottom_right"},
    {"window": (3, 1)},
    {"causal": "bottom_right", "window": (2, 0)},
    {"valid_lens": torch.tensor([3, 0])},
    {"valid_lens": torch.tensor([3, 7]), "causal": "top_left"},
]
PAIRS = ("additive", "concat_tanh", "gaussian_kernel")


@pytest.fixture(params=["compiled", "tiled"])
def always_streamed(request, monkeypatch):
    """Hold no features of small problems either, with blocks, spans and tiles of a few rows."""
    if request.param == "compiled" and not _fused_build.can_build():
        pytest.skip("no C++ compiler")
    monkeypatch.setattr(fused, "_SMALL_TANH", -1)
    monkeypatch.setattr(fused, "_SMALL_SQUARES", -1)
    monkeypatch.setattr(_fused_build, "_WORTH_BUILDING", 0 if request.param == "compiled" else 1 << 62)
    monkeypatch.setattr(_fused_build, "_WORTH_A_CALL", 1)
    monkeypatch.setattr(_fused_build, "tile_elements", lambda: 64)
    monkeypatch.setattr(_fused_pairs, "_BAND", 3)


def tensors(name: str, spread: float = 1.0, heads: int = 4) -> list[torch.Tensor]:
    """Return inputs of a mechanism in float64, for as many key heads."""
    made = torch.Generator().manual_seed(1)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, dtype=torch.float64, generator=made)

    pair = [draw(2, 4, 7, 6), draw(2, heads, 9, 6), draw(2, heads, 9, 5)]
    parameters = {
        "additive": [draw(8, 6) * spread, draw(8, 6) * spread, draw(8)],
        "concat_tanh": [draw(8, 12) * spread, draw(8)],
        "gaussian_kernel": [draw(1)],
    }[name]
    return [x.requires_grad_() for x in pair + parameters]


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("conditions", CONDITIONS, ids=str)
def test_streamed_loops_agree_with_eager(always_streamed, name, conditions):
    """Outputs and all gradients, bias included, in float64."""
    inputs, bias = tensors(name), torch.randn(2, 1, 7, 9, dtype=torch.float64, requires_grad=True)
    expected = getattr(eager, name)(*inputs, bias=bias, **conditions)[0]
    output = getattr(fused, name)(*inputs, bias=bias, **conditions)
    d_output = torch.randn_like(output)
    torch.testing.assert_close(output, expected, rtol=1e-12, atol=1e-12)
    for got, right in zip(
        *(torch.autograd.grad(x, [*inputs, bias], d_output) for x in (output, expected)), strict=True
    ):
        torch.testing.assert_close(got, right, rtol=1e-11, atol=1e-12)


def test_far_features_take_tanh_of_each_sum(always_streamed):
    """Their exponentials would overflow."""
    inputs = tensors("additive", spread=100.0)
    torch.testing.assert_close(fused.additive(*inputs), eager.additive(*inputs)[0], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("reach", [1e-3, 0.1, 1.0, 5.0, 20.0])
def test_the_factored_tanh_errs_as_declared(reach):
    """At most the declared units in the last place beside three roundings of the features."""
    made = torch.Generator().manual_seed(2)
    query, key = ((torch.rand(1, 300, 64, generator=made) * 2 - 1) * reach for _ in range(2))
    t = _fused_tanh._features(*_fused_tanh._query_factors(query), *_fused_tanh._key_factors(key)).double()
    query, key = query.double()[:, :, None], key.double()[:, None]
    right, roundoff = (query + key).tanh(), 2.0**-24
    allowed = 2 * fused.CAPABILITIES.arithmetic.exp_ulp * roundoff * right.abs()
    allowed += 3 * roundoff * (query.abs() + key.abs()) * (1 - right**2)
    assert ((t - right).abs() <= allowed).all()


def test_the_features_are_never_held():
    """Forward and backward pass hold less than a hundredth of them at any time."""
    length, width = 512, 128
    inputs = [torch.randn(1, 1, length, width, requires_grad=True) for _ in range(3)]
    inputs += [torch.randn(width, width).div(8).requires_grad_() for _ in range(2)] + [
        torch.randn(width).requires_grad_()
    ]
    fused.additive(*inputs).sum().backward()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        fused.additive(*inputs).sum().backward()
    sizes = [event.nbytes() for event in profile.profiler.kineto_results.events() if event.name() == "[memory]"]
    assert max(sizes) * 100 < 4 * length * length * width


@pytest.mark.parametrize("name", ["additive", "concat_tanh", "gaussian_kernel", "softcap"])
def test_no_weights_are_kept(name):
    """Of a forward pass that is to be followed by a backward one, less than an eighth of (Lq, Lk) numbers is kept."""
    length = 2048
    inputs = [torch.randn(1, 1, length, 4, requires_grad=True) for _ in range(3)]
    more = {"additive": [(4, 4), (4, 4), (4,)], "concat_tanh": [(4, 8), (4,)], "gaussian_kernel": [(1,)], "softcap": []}
    inputs += [torch.randn(shape).requires_grad_() for shape in more[name]]
    kept = []

    def keep(x: torch.Tensor) -> torch.Tensor:
        kept.append(x.numel())
        return x

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        output = fused.scaled_dot_product(*inputs, softcap=2.0) if name == "softcap" else getattr(fused, name)(*inputs)
    assert output.requires_grad
    assert 0 < sum(kept) < length * length / 8


@pytest.mark.parametrize("guard", ["_NEAR", "_CANCELLED"])
def test_near_points_far_from_the_mean_are_not_expanded(monkeypatch, guard):
    """The expansion in float32 would lose them: two clusters, and distances of a thousandth inside of each."""
    made = torch.Generator().manual_seed(3)
    key = 0.3 * torch.randn(1, 1, 64, 32, generator=made) + 1000 * (torch.arange(64) % 2)[:, None]
    inputs = [key + 0.3, key, torch.randn(1, 1, 64, 8, generator=made), torch.ones(1)]
    monkeypatch.setattr(fused, "_SMALL_SQUARES", -1)
    right = eager.gaussian_kernel(*(x.double() for x in inputs))[0]
    torch.testing.assert_close(fused.gaussian_kernel(*inputs).double(), right, rtol=1e-4, atol=1e-5)
    monkeypatch.setattr(_fused_gaussian, guard, float("inf"))
    with pytest.raises(AssertionError):
        torch.testing.assert_close(fused.gaussian_kernel(*inputs).double(), right, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("conditions", CONDITIONS, ids=str)
def test_far_points_are_expanded_in_single_precision(monkeypatch, conditions):
    """Where every key is far enough from every query, blocks of products err about as little as the direct form."""
    made = torch.Generator().manual_seed(4)
    inputs = [torch.randn(2, 3, 7, 64, generator=made), torch.randn(2, 3, 9, 64, generator=made)]
    inputs += [torch.randn(2, 3, 9, 5, generator=made), torch.ones(1)]
    answers = []
    expand = _fused_gaussian._expanded_where_far
    monkeypatch.setattr(_fused_gaussian, "_expanded_where_far", lambda *of: answers.append(expand(*of)) or answers[0])
    monkeypatch.setattr(fused, "_SMALL_SQUARES", -1)
    right = eager.gaussian_kernel(*(x.double() for x in inputs), **conditions)[0]
    direct, expanded = (each.gaussian_kernel(*inputs, **conditions) for each in (eager, fused))
    assert (expanded - right).square().mean() <= 4 * (direct[0] - right).square().mean()
    assert answers[0] is not None


@pytest.mark.parametrize("width", [1, 2, 5])
def test_few_features_are_added_up_by_keys(always_streamed, width):
    """Loops whose vectors hold keys, unrolled over the features."""
    made = torch.Generator().manual_seed(5)
    query, key, value = (torch.randn(2, 2, n, width, dtype=torch.float64, generator=made) for n in (5, 7, 7))
    inputs = [query, key, value, torch.ones(1, dtype=torch.float64)]
    torch.testing.assert_close(
        fused.gaussian_kernel(*inputs), eager.gaussian_kernel(*inputs)[0], rtol=1e-12, atol=1e-12
    )


SHARED = [
    *({}, {"causal": "top_left"}, {"causal": "bottom_right"}, {"valid_lens": torch.tensor([3, 0])}),
    *({"mask": torch.arange(2 * 4 * 9).view(2, 4, 1, 9) % 5 > 0}, {"mask": torch.arange(18).view(2, 1, 1, 9) % 3 > 0}),
    *({"bias": torch.arange(4.0, dtype=torch.float64).view(1, 4, 1, 1)}, {"window": (2, 1), "causal": "bottom_right"}),
]


@pytest.mark.parametrize("queries", [1, 3])
@pytest.mark.parametrize("conditions", SHARED, ids=str)
def test_shared_keys_are_read_once(monkeypatch, queries, conditions):
    """Query heads that share a key head become its queries, with their own masks; causality keeps several apart."""
    asked = []
    attend = _fused_products._attend
    monkeypatch.setattr(_fused_products, "_attend", lambda *of: asked.append(of[0].shape[1]) or attend(*of))
    monkeypatch.setattr(_fused_products, "_SMALL", 0)
    made = torch.Generator().manual_seed(6)
    query = torch.randn(2, 4, queries, 6, dtype=torch.float64, generator=made)
    key, value = (torch.randn(2, 2, 9, 6, dtype=torch.float64, generator=made) for _ in range(2))
    expected = eager.scaled_dot_product(query, key, value, **conditions)[0]
    answer = fused.scaled_dot_product(query, key, value, **conditions)
    torch.testing.assert_close(answer, expected, rtol=1e-12, atol=1e-12)
    assert asked == [2 if queries == 1 or not conditions else 4]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_narrow_dtypes_are_computed_in_single_precision(monkeypatch, dtype):
    """But for few queries: one rounding of the answer, whatever the length."""
    monkeypatch.setattr(_fused_products, "multiplies_by_amx", lambda: False)
    made = torch.Generator().manual_seed(7)
    inputs = [torch.randn(1, 2, 40, 8, generator=made).to(dtype) for _ in range(3)]
    bias = torch.randn(1, 2, 40, 40, generator=made).to(dtype)
    right = eager.scaled_dot_product(*(x.double() for x in inputs), bias=bias.double())[0]
    assert torch.equal(fused.scaled_dot_product(*inputs, bias=bias), right.to(dtype))


@pytest.mark.parametrize("tiles", [False, True])
def test_bfloat16_stays_itself_where_the_processor_multiplies_tiles(monkeypatch, tiles):
    """There torch's kernel takes less than half of float32's time; float16 is converted everywhere."""
    monkeypatch.setattr(_fused_products, "multiplies_by_amx", lambda: tiles)
    asked = []

    def attend(query, key, value, **_):
        asked.append(query.dtype)
        return value

    monkeypatch.setattr(_fused_products, "scaled_dot_product_attention", attend)
    for dtype in (torch.bfloat16, torch.float16):
        x = torch.ones(1, 2, 256, 8, dtype=dtype)
        assert fused.scaled_dot_product(x, x, x).dtype == dtype
    assert asked == [torch.bfloat16 if tiles else torch.float32, torch.float32]


def test_blocks_that_lie_alike_share_a_mask(monkeypatch):
    """Of a window, all but those at the ends."""
    made, seen = [], Visibility.seen
    monkeypatch.setattr(Visibility, "seen", lambda *about: made.append(about[1:]) or seen(*about))
    x = torch.randn(1, 1, 1024, 8)
    answer = fused.scaled_dot_product(x, x, x, causal="top_left", window=(100, 0))
    assert len(made) == 2
    right = eager.scaled_dot_product(*[x.double()] * 3, causal="top_left", window=(100, 0))[0]
    torch.testing.assert_close(answer, right.float(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("conditions", CONDITIONS, ids=str)
def test_blocks_cover_what_is_seen_and_little_more(conditions):
    """A span's mask shows what the whole one does, and outside of the span nothing is seen."""
    for queries, keys in itertools.product((1, 4, 7, 9), repeat=2):
        visible = Visibility(queries, keys, **conditions)
        whole = visible.seen(0, queries, 0, keys, "cpu")
        whole = torch.ones(2, 1, queries, keys, dtype=bool) if whole is None else whole.expand(2, 1, queries, keys)
        for size in (1, 2, queries):
            rows = []
            for first, end, start, stop in visible.blocks(size):
                row = torch.zeros(2, 1, end - first, keys, dtype=bool)
                seen = visible.seen(first, end, start, stop, "cpu")
                row[..., start:stop] = True if seen is None else seen
                rows.append(row)
            assert torch.equal(torch.cat(rows, 2), whole)


@pytest.mark.parametrize("conditions", CONDITIONS, ids=str)
def test_blocks_of_products_agree_with_eager(monkeypatch, conditions):
    """Each block asks for the keys of its span alone."""
    monkeypatch.setattr(_fused_products, "_WORTH_BLOCKS", 0)
    monkeypatch.setattr(_fused_products, "_BAND", 2)
    inputs = tensors("gaussian_kernel", heads=2)[:3]
    expected = eager.scaled_dot_product(*inputs, **conditions)[0]
    torch.testing.assert_close(fused.scaled_dot_product(*inputs, **conditions), expected, rtol=1e-12, atol=1e-12)
