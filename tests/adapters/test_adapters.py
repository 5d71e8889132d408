"""Adapters give a library its own conventions and the harness its own: each against the plain computation."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from attention_harness import HarnessError
from attention_harness.adapters import additive_mask, from_layout, hidden_is_true, module_with, via_dlpack

EINSUM = {
    "BHLD": "bhqd,bhkd->bhqk;bhqk,bhkd->bhqd",
    "BLHD": "bqhd,bkhd->bhqk;bhqk,bkhd->bqhd",
    "LBHD": "qbhd,kbhd->bhqk;bhqk,kbhd->qbhd",
    "BHDL": "bhdq,bhdk->bhqk;bhqk,bhdk->bhdq",
}


def drawn(heads: int = 3, key_heads: int = 3) -> list[torch.Tensor]:
    """Return query, key and value with unlike sizes."""
    generator = torch.Generator().manual_seed(0)
    shapes = ((2, heads, 5, 8), (2, key_heads, 7, 8), (2, key_heads, 7, 6))
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]


def plain(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    return (query @ key.mT).softmax(-1) @ value


@pytest.mark.parametrize("layout", EINSUM)
def test_a_kernel_sees_its_layout(layout):
    """The kernel computes in its own layout, and answers in the harness's."""
    scores, sums = EINSUM[layout].split(";")

    @from_layout(layout)
    def kernel(query, key, value, more):
        assert more == "as it is"
        return torch.einsum(sums, torch.einsum(scores, query, key).softmax(-1), value)

    given = drawn()
    torch.testing.assert_close(kernel(*given, more="as it is"), plain(*given))


@pytest.mark.parametrize("layout", ["BLE", "LBE", "BEL"])
@pytest.mark.parametrize("key_heads", [3, 1])
def test_a_kernel_sees_its_heads_in_one_axis(layout, key_heads):
    """Each position's heads lie one after the other; key and value may have fewer of them."""
    query, key, value = drawn(key_heads=key_heads)

    @from_layout(layout)
    def kernel(query, key, value):
        places = [layout.index(axis) for axis in "BLE"]
        heads = [
            x.permute(places).unflatten(2, (-1, width)).transpose(1, 2)
            for x, width in ((query, 8), (key, 8), (value, 6))
        ]
        heads[1:] = [x.expand(-1, 3, -1, -1) for x in heads[1:]]
        found = plain(*heads)
        return found.transpose(1, 2).flatten(2).permute(["BLE".index(axis) for axis in layout])

    torch.testing.assert_close(
        kernel(query, key, value), plain(query, *(x.expand(-1, 3, -1, -1) for x in (key, value)))
    )


def test_weights_stay_as_they_are_and_gradients_flow():
    @from_layout("BLHD")
    def kernel(query, key, value):
        weights = torch.einsum("bqhd,bkhd->bhqk", query, key).softmax(-1)
        return torch.einsum("bhqk,bkhd->bqhd", weights, value), weights

    given = [x.requires_grad_() for x in drawn()]
    output, weights = kernel(*given)
    torch.testing.assert_close(weights, (given[0] @ given[1].mT).softmax(-1))
    found = torch.autograd.grad(output.sum(), given)
    torch.testing.assert_close(found, torch.autograd.grad(plain(*given).sum(), given))


@pytest.mark.parametrize("layout", ["BHL", "BLHE", "blhd", "BBLD", ""])
def test_other_layouts_are_refused(layout):
    with pytest.raises(HarnessError, match="an order of the letters BHLD or BLE"):
        from_layout(layout)


@pytest.mark.parametrize("answer", [torch.zeros(2, 5, 24), None])
def test_an_output_of_other_axes_is_named(answer):
    """It is not read as something that it is not."""
    with pytest.raises(HarnessError, match="expected 4 axes, BLHD"):
        from_layout("BLHD")(lambda query, key, value: answer)(*drawn())


def test_tensors_without_heads_are_refused():
    """A mechanism whose query is (B, Lq, E) has no heads to move."""
    with pytest.raises(HarnessError, match="leave it out where the mechanism has no axis of heads"):
        from_layout("BLHD")(lambda **tensors: None)(*(x[:, 0] for x in drawn()))


def test_masks():
    """Both masks hide what the harness's hides; without a mask there is none."""
    mask = torch.tensor([[True, False, True]])
    bias = torch.tensor([[0.5, 1.0, -math.inf]], dtype=torch.float64)
    assert [[False, True, False]] == hidden_is_true(mask).tolist()
    assert [[0.0, -math.inf, 0.0]] == additive_mask(mask, torch.float32).tolist()
    assert [[0.5, -math.inf, -math.inf]] == additive_mask(mask, torch.float32, bias).tolist()
    assert torch.float32 == additive_mask(None, torch.float32, bias).dtype
    assert [[0.0, -1e4, 0.0]] == additive_mask(mask, torch.float16, hidden=-1e4).tolist()
    assert (torch.float32, torch.float16) == tuple(
        additive_mask(mask, dtype).dtype for dtype in (torch.float32, torch.float16)
    )
    assert (None, None, bias) == (
        hidden_is_true(None),
        additive_mask(None, torch.float64),
        additive_mask(None, torch.float64, bias),
    )


def test_arrays_of_another_library():
    """The kernel gets NumPy's arrays, of views and of booleans too, and answers with them."""

    @via_dlpack(np.from_dlpack)
    def kernel(query, key, value, mask, scale):
        assert all(isinstance(x, np.ndarray) and x.flags.c_contiguous for x in (query, key, value, mask))
        scores = np.where(mask, query @ key.swapaxes(-1, -2) * scale, -np.inf)
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        weights /= weights.sum(-1, keepdims=True)
        return weights @ value, weights

    query, key, value = drawn()
    mask = torch.arange(7) < 5
    key = key.mT.contiguous().mT.requires_grad_()
    output, weights = kernel(query, key=key, value=value, mask=mask, scale=0.5)
    expected = (query @ key.mT * 0.5).masked_fill(~mask, -math.inf).softmax(-1)
    torch.testing.assert_close((output, weights), ((expected @ value).detach(), expected.detach()))


class Layer(torch.nn.Module):
    """Attention with one projection."""

    def __init__(self) -> None:
        super().__init__()
        self.project = torch.nn.Linear(8, 8, bias=False, dtype=torch.float64)

    def forward(self, query, key, value):
        return plain(self.project(query), key, value)


def test_a_module_with_other_parameters():
    """It computes with what is given, gradients reach that, and its own parameters are what they were."""
    layer, given = Layer(), drawn()
    before = layer.project.weight.detach().clone()
    weight = torch.eye(8, dtype=torch.float64).requires_grad_()
    output = module_with(layer)({"project.weight": weight}, *given[:2], value=given[2])
    torch.testing.assert_close(output, plain(*given))
    assert torch.autograd.grad(output.sum(), weight)[0].abs().sum() > 0
    assert torch.equal(before, layer.project.weight)


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        ((), "missing parameters: project.weight; expected: project.weight"),
        (("project.weight", "project.bias"), "unknown parameters: project.bias; expected: project.weight"),
        (("weight",), "missing parameters: project.weight; unknown parameters: weight"),
    ],
)
def test_parameters_that_do_not_fit_are_named(names, reason):
    with pytest.raises(HarnessError, match=reason):
        module_with(Layer())(dict.fromkeys(names, torch.eye(8)))


def test_a_parameter_of_another_shape_is_named():
    with pytest.raises(HarnessError, match=r"project.weight has shape \(4, 8\), expected \(8, 8\)"):
        module_with(Layer())({"project.weight": torch.zeros(4, 8)})
