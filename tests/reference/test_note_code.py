"""Where the code of the notes is right, the reference gives its answers, on the random inputs that the notes draw."""

from __future__ import annotations

import pytest
import torch

from tests.reference import note_code
from tests.reference.test_errata import excess, parameter, random, reference

ATTENTION = note_code.run(note_code.MASK_SOFTMAX, note_code.ADDITIVE, note_code.DOT_PRODUCT)
LENGTHS = [None, torch.tensor([2, 6]), torch.tensor([[3], [10]])]


def heads(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> dict[str, torch.Tensor]:
    """Return the notes' (B, L, D) tensors as the mechanisms' (B, 1, L, D)."""
    return {"query": query[:, None], "key": key[:, None], "value": value[:, None]}


def visibility(lens: torch.Tensor | None) -> dict[str, object]:
    return {} if lens is None else {"valid_lens": lens.numpy()}


@pytest.mark.parametrize(("attention_type", "score"), [("dot", "dot_product"), ("cosine", "cosine")])
def test_the_projected_module_agrees(attention_type, score):
    """Note 000: batch 10, hidden size 256, length 12, and its shapes; an unknown type is a ValueError in both."""
    module = note_code.run(note_code.PROJECTED).Attention(attention_type, 256).double()
    query, keys, values = random(1, 10, 256), random(2, 10, 12, 256), random(3, 10, 12, 256)
    output, weights = module(query, keys, values)
    assert output.shape == (10, 1, 256)
    assert weights.shape == (10, 1, 12)
    given = {"query": query[:, None], "key": keys, "value": values}
    given |= {f"W_{name[0]}": parameter(getattr(module, name)) for name in ("query", "key", "value")}
    assert excess(output, "projected", given, score=score) <= 0
    module.attention_type = "unknown"
    with pytest.raises(ValueError, match="unknown"):
        module(query, keys, values)
    with pytest.raises(ValueError, match="unknown"):
        reference("projected", given, score="unknown")


@pytest.mark.parametrize("lens", LENGTHS, ids=str)
@pytest.mark.parametrize("equal_keys", [True, False])
def test_the_additive_module_agrees(lens, equal_keys):
    """Notes 003 and 004: queries (2, 1, 20), keys (2, 10, 2), values 0 to 39, with and without lengths."""
    module = ATTENTION.AdditiveAttention(key_size=2, query_size=20, num_hiddens=8, dropout=0.1).double().eval()
    keys = torch.ones(2, 10, 2).double() if equal_keys else random(2, 2, 10, 2)
    values = torch.arange(40.0).double().reshape(1, 10, 4).repeat(2, 1, 1)
    given = heads(random(1, 2, 1, 20), keys, values)
    given |= {"W_q": parameter(module.W_q), "W_k": parameter(module.W_k), "w_v": parameter(module.w_v)[0]}
    output = module(*(given[name][:, 0] for name in ("query", "key", "value")), lens)
    assert excess(output[:, None, None], "additive", given, **visibility(lens)) <= 0


@pytest.mark.parametrize("lens", LENGTHS, ids=str)
def test_the_scaled_dot_product_module_agrees(lens):
    """Note 003: queries (2, 1, 2), with and without lengths, dropout off."""
    given = heads(random(1, 2, 1, 2), random(2, 2, 10, 2), random(3, 2, 10, 4))
    module = ATTENTION.DotProductAttention(dropout=0.5).eval()
    output = module(*(x[:, 0] for x in given.values()), lens)
    assert excess(output[:, None], "scaled_dot_product", given, **visibility(lens)) <= 0


@pytest.mark.parametrize("lens", [None, torch.tensor([2, 3]), torch.tensor([[1, 3], [2, 4]])], ids=str)
def test_the_masked_softmax_agrees_where_scores_are_ordinary(lens):
    """Note 003: random scores (2, 2, 4), far above the fill of -1e6, and no length of 0."""
    scores = random(1, 2, 2, 4)
    weights = ATTENTION.mask_softmax(scores.clone(), lens)
    assert excess(weights[:, None], "masked_softmax", {"scores": scores[:, None]}, **visibility(lens)) <= 0


def test_the_kernel_regression_agrees():
    """Note 004: one learned w, scalar queries, each with keys and values of its own."""
    module = note_code.run(note_code.KERNEL).NWKernelRegression().double()
    queries, keys, values = random(1, 7), random(2, 7, 5), random(3, 7, 5)
    given = {"query": queries[:, None, None, None], "key": keys[:, None, :, None], "value": values[:, None, :, None]}
    output = module(queries, keys, values)
    assert excess(output[:, None, None, None], "gaussian_kernel", given | {"w": module.w.detach()}) <= 0
