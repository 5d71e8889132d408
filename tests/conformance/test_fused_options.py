"""`fused` computes its options by blocks, spans and segments as eager does at once, and so its further mechanisms."""

from __future__ import annotations

import pytest
import torch

from attention_harness.implementations import (
    _fused_blocks,
    _fused_latent,
    _fused_pairs,
    _fused_positions,
    _fused_products,
    eager,
    fused,
)
from tests.conformance.test_fused import CONDITIONS as SPANS

CONDITIONS = [
    *SPANS,
    {"cache_lens": torch.tensor([3, 9])},
    {"cache_lens": torch.tensor([3, 9]), "causal": "bottom_right"},
    {"cache_lens": torch.tensor([2, 7]), "causal": "bottom_right", "window": (2, 0), "alibi": "full"},
    {"cache_lens": torch.tensor([3, 9]), "valid_lens": torch.tensor([5, 4])},
    {"segments": torch.tensor([0, 3, 3, 6])},
    {"segments": torch.tensor([[0, 2, 5, 7], [0, 4, 4, 9]]), "causal": "bottom_right", "alibi": "causal"},
    {"segments": torch.tensor([[0, 2, 3, 6], [0, 4, 7, 8]]), "valid_lens": torch.tensor([5, 8]), "window": (1, 2)},
    {"segments": torch.tensor([0, 2, 5, 7]), "cache_lens": torch.tensor([3, 9]), "causal": "top_left"},
    {"softcap": 1.5},
    {"softcap": 0.3, "causal": "bottom_right"},
    {"alibi": "full"},
    {"alibi": "causal", "causal": "bottom_right"},
    {"mask": torch.arange(7)[:, None] % 3 != torch.arange(9) % 2},
]


def draws(*shapes: tuple[int, ...]) -> list[torch.Tensor]:
    """Return tensors in float64 that require gradients."""
    made = torch.Generator().manual_seed(4)
    return [torch.randn(*shape, dtype=torch.float64, generator=made).requires_grad_() for shape in shapes]


def agree(name: str, inputs: list[torch.Tensor], learned: dict[str, torch.Tensor], **settings: object) -> None:
    """Hold an output and all its gradients against eager's, in float64."""
    expected = getattr(eager, name)(*inputs, **learned, **settings)
    expected = expected[0] if isinstance(expected, tuple) else expected
    with torch.no_grad():
        unrecorded = getattr(fused, name)(*inputs, **learned, **settings)
    output = getattr(fused, name)(*inputs, **learned, **settings)
    torch.testing.assert_close(output, expected, rtol=1e-11, atol=1e-11)
    torch.testing.assert_close(unrecorded, expected, rtol=1e-11, atol=1e-11)
    d_output = torch.linspace(-1, 1, output.numel(), dtype=torch.float64).view(output.shape)
    sources = [*inputs, *(x for x in learned.values() if x.requires_grad)]
    found = (torch.autograd.grad(x, sources, d_output, allow_unused=True) for x in (output, expected))
    for got, right in zip(*found, strict=True):
        assert (got is None) == (right is None)
        if right is not None:
            torch.testing.assert_close(got, right, rtol=1e-10, atol=1e-10)


@pytest.fixture
def always_in_blocks(monkeypatch):
    """Hold no scores of small problems either, with blocks of two queries, and key heads one after the other."""
    for module, name in (
        (fused, "_SMALL_SCORES"),
        (fused, "_SMALL_WEIGHTS"),
        (fused, "_SMALL_DIFFERENCE"),
        (fused, "_SMALL_LATENT"),
    ):
        monkeypatch.setattr(module, name, -1)
    monkeypatch.setattr(_fused_products, "_WORTH_BLOCKS", 0)
    monkeypatch.setattr(_fused_products, "_BAND", 2)
    monkeypatch.setattr(_fused_blocks, "_BAND", 2)
    monkeypatch.setattr(_fused_blocks, "_SCORES", 40)
    monkeypatch.setattr(_fused_blocks, "_WORTH_HEADS", 0)
    monkeypatch.setattr(_fused_pairs, "_BAND", 3)


@pytest.mark.parametrize("name", ["scaled_dot_product", "masked_softmax", "gaussian_kernel"])
@pytest.mark.parametrize("conditions", CONDITIONS, ids=str)
@pytest.mark.parametrize("learned", [(), ("bias",), ("sinks",), ("relative_bias",), ("relative_bias", "sinks", "bias")])
def test_options_agree_with_eager(always_in_blocks, name, conditions, learned):
    """Blocks, spans, segments and biases by distance, and their gradients."""
    grouped = 2 if name == "scaled_dot_product" else 4
    shapes = [(2, 4, 7, 9)] if name == "masked_softmax" else [(2, 4, 7, 6), (2, grouped, 9, 6), (2, grouped, 9, 5)]
    inputs = draws(*shapes, *([(1,)] if name == "gaussian_kernel" else []))
    bias, sinks, table = draws((2, 1, 7, 9), (4,), (32, 4))
    tensors = {"bias": bias, "sinks": sinks, "relative_bias": table}
    agree(name, inputs, {each: tensors[each] for each in learned}, **conditions)


@pytest.mark.parametrize("causal", [None, "bottom_right"])
def test_far_places_have_buckets_of_their_own(always_in_blocks, causal):
    """Beyond 8 or 16 places a bucket holds several distances, up to 128 and more."""
    inputs = draws((1, 2, 7, 4), (1, 2, 300, 4), (1, 2, 300, 4))
    [table] = draws((32, 2))
    agree("scaled_dot_product", inputs, {"relative_bias": table}, **({"causal": causal} if causal else {}))


@pytest.mark.parametrize("conditions", CONDITIONS, ids=str)
def test_the_log_sum_exp_agrees_with_eager(always_in_blocks, conditions):
    """Minus infinity where a row sees no key."""
    inputs = draws((2, 4, 7, 6), (2, 2, 9, 6), (2, 2, 9, 5))
    with torch.no_grad():
        right, got = (each.scaled_dot_product(*inputs, lse="natural", **conditions) for each in (eager, fused))
    torch.testing.assert_close(got[0], right[0], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(got[2], right[2], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("conditions", CONDITIONS, ids=str)
def test_differences_agree_with_eager(always_in_blocks, conditions):
    """Both maps see the same keys."""
    vectors = ((2, 4, 7, 6), (2, 4, 7, 6), (2, 2, 9, 6), (2, 2, 9, 6), (2, 2, 9, 5))
    agree("differential_attention", draws(*vectors, *((6,) for _ in range(4))), {}, **conditions)


@pytest.mark.parametrize(("queries", "of_latent", "absorbed"), [(1, 6, True), (7, 40, False)])
@pytest.mark.parametrize("conditions", [{}, {"causal": "bottom_right"}, {"alibi": "full"}], ids=str)
def test_both_forms_of_latent_attention_agree_with_eager(always_in_blocks, queries, of_latent, absorbed, conditions):
    """One query absorbs its weights; many of a wide latent do not."""
    shapes = (
        (2, 4, queries, 6),
        (2, 4, queries, 3),
        (2, 9, of_latent),
        (2, 9, 3),
        (4, 6, of_latent),
        (4, 5, of_latent),
    )
    inputs = draws(*shapes)
    assert (_fused_latent.keyed(*inputs)[3] is not None) == absorbed
    agree("latent_attention", inputs, {}, **conditions)


@pytest.mark.parametrize("positions", ["none", "sinusoidal"])
@pytest.mark.parametrize("rotary", [None, "half", "interleaved"])
@pytest.mark.parametrize("norms", [(), ("query_key_norm",), ("query_key_norm", "rotated_query_key_norm")])
def test_self_attention_agrees_with_eager(positions, rotary, norms):
    """Queries and keys, rotated or not, normed before and after it."""
    sequence, *weights = draws((2, 7, 6), (2, 6), (2, 6))
    learned = dict(zip(norms, weights, strict=False))
    agree("self_attention", [sequence], learned, positions=positions, **({"rotary": rotary} if rotary else {}))


@pytest.mark.parametrize("slab", [4, 1 << 16])
@pytest.mark.parametrize("pairing", ["half", "interleaved", "proportional"])
@pytest.mark.parametrize("factor", [1.0, 0.5])
def test_rotations_agree_with_eager(monkeypatch, slab, pairing, factor):
    """In one slab and in many, with features that stay as they are."""
    monkeypatch.setattr(_fused_positions, "_SLAB", slab)
    settings = {"pairing": pairing, "partial_rotary_factor": factor, "base": 500.0, "first_position": 3}
    agree("rotary_embedding", draws((2, 3, 5, 9)), {}, **settings)


@pytest.mark.parametrize("slab", [4, 1 << 16])
def test_encodings_agree_with_eager(monkeypatch, slab):
    """The table of one dtype is not that of another, nor one made in inference mode unfit for a backward pass."""
    monkeypatch.setattr(_fused_positions, "_SLAB", slab)
    (sequence,) = draws((2, 5, 7))
    with torch.inference_mode():
        fused.positional_encoding(sequence.detach(), base=77.0)
    agree("positional_encoding", [sequence], {}, base=77.0)
    narrow = fused.positional_encoding(sequence.detach().bfloat16())
    right = eager.positional_encoding(sequence.detach().bfloat16().double())
    torch.testing.assert_close(narrow.double(), right, rtol=2.0**-8, atol=1e-6)


@pytest.mark.parametrize("strength", [0.1, 30.0, 1000.0])
@pytest.mark.parametrize("gates", [(), ("head",), ("feature",), ("rate",), ("head", "rate"), ("feature", "rate")])
def test_chunks_of_linear_attention_agree_with_eager(strength, gates):
    """In float32, with gradients; decays whose sums of 32 or even 8 positions are beyond float64 take eager's steps."""
    query, key, value, head, feature, rate = draws(
        (2, 4, 70, 6), (2, 2, 70, 6), (2, 2, 70, 5), (2, 2, 70), (2, 2, 70, 6), (2, 2, 70)
    )
    key = torch.nn.functional.normalize(key, dim=-1)
    settings = {"decay": -head.abs() * strength} if "head" in gates else {}
    settings |= {"decay": -feature.abs() * strength} if "feature" in gates else {}
    settings |= {"update_rate": rate.sigmoid()} if "rate" in gates else {}
    sources = [query, key, value, *settings.values()]
    right = eager.linear_attention(query, key, value, **settings)
    single = [x.detach().float().requires_grad_() for x in sources]
    of_settings = dict(zip(settings, single[3:], strict=True))
    got = fused.linear_attention(*single[:3], **of_settings)
    with torch.no_grad():
        unrecorded = fused.linear_attention(*single[:3], **of_settings)
    for output in (got, unrecorded):
        torch.testing.assert_close(output.double(), right, rtol=1e-5, atol=1e-5)
    for one, other in zip(
        torch.autograd.grad(got.sum(), single), torch.autograd.grad(right.sum(), sources), strict=True
    ):
        torch.testing.assert_close(one.double(), other, rtol=1e-4, atol=1e-4)


def test_capped_scores_are_never_held():
    """A block of them is, of one head."""
    query, key, value = (torch.randn(1, 2, 2048, 16) for _ in range(3))
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        fused.scaled_dot_product(query, key, value, softcap=2.0, alibi="full")
    sizes = [event.nbytes() for event in profile.profiler.kineto_results.events() if event.name() == "[memory]"]
    assert max(sizes) * 10 < 4 * 2 * 2048 * 2048
