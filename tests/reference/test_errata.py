"""Every erratum of the notes is shown: their own code fails or answers wrongly, as stated, and ours does not."""

from __future__ import annotations

import ast
import builtins
import itertools
import math

import numpy as np
import pytest
import torch

from attention_harness.bounds import error_bounds, gamma
from attention_harness.model.capabilities import Arithmetic
from attention_harness.model.dtypes import DTYPES
from attention_harness.registry import mechanisms
from tests.reference import note_code

MECHANISMS = mechanisms()
ERRATA = [(mechanism.name, erratum) for mechanism in MECHANISMS.values() for erratum in mechanism.errata]
# Rows of shared/NOTES.md that hold errata -> (mechanism, what each of them says, in a word).
ROWS = {
    2: ("cosine", ["zero vector"]),
    4: ("location", ["outpu_size", "randn(1, 1, 64)"]),
    8: ("tanh_gated", ["Linear(hidden_dim, 1)"]),
    9: ("projected", ["(seq_len, hidden_dim)"]),
    10: ("gaussian_kernel", ["1/2 (q - k)^2"]),
    11: ("scaled_dot_product", ["divided by d_k"]),
    13: ("masked_softmax", ["-1e6", "length of 0"]),
    18: ("multi_head", ["transpose_qkv"]),
    19: ("positional_encoding", ["1::2", "max_len"]),
}


def random(seed: int, *shape: int) -> torch.Tensor:
    return torch.from_numpy(np.random.Generator(np.random.Philox(seed)).standard_normal(shape))


def parameter(layer: torch.nn.Linear) -> np.ndarray:
    return layer.weight.detach().numpy()


def reference(name: str, tensors: dict[str, object], **options: object) -> tuple[np.ndarray, np.ndarray]:
    return MECHANISMS[name].evaluate(**{k: np.asarray(x, np.float64) for k, x in tensors.items()}, **options)


def excess(
    note: torch.Tensor, name: str, tensors: dict[str, object], dtype: str = "float64", **options: object
) -> float:
    """Return by how much the note's output leaves the error bound of the reference: at most 0 where they agree."""
    given = {k: np.asarray(x, np.float64) for k, x in tensors.items()}
    allowed, _ = error_bounds(MECHANISMS[name].evaluate, given, options, dtype, Arithmetic())
    return float((np.abs(note.detach().double().numpy() - allowed.value) - allowed.bound).max())


def test_a_zero_vector_is_nan_in_the_note_and_scores_zero_here():
    """0/0 is NaN there; here the zero query scores 0 with every key, so that all keys weigh the same."""
    module = note_code.run(note_code.PROJECTED).Attention("cosine", 4).double()
    query, keys, values = torch.zeros(1, 4).double(), random(1, 1, 8, 4), random(2, 1, 8, 4)
    output, weights = module(query, keys, values)
    assert weights.isnan().all()
    assert output.isnan().all()
    keys[0, 3] = 0.0
    assert module(random(3, 1, 4), keys, values)[1].isnan().all()  # one zero key spoils the whole row
    output, weights = reference(
        "cosine", {"query": query[:, None, None], "key": keys[:, None], "value": values[:, None]}
    )
    assert np.full((1, 1, 1, 8), 1 / 8).tolist() == weights.tolist()
    assert np.isfinite(output).all()


def test_the_seq2seq_module_as_written_raises():
    """The constructor reads self.outpu_size and, that repaired, the call reads k."""
    with pytest.raises(AttributeError, match="outpu_size"):
        note_code.run(note_code.LOCATION)
    repaired = note_code.run(note_code.LOCATION.replace("self.outpu_size", "self.output_size"))
    with pytest.raises(NameError, match="'k' is not defined"):
        repaired.attn(repaired.Q, repaired.K, torch.randn(1, 32, 64))


def test_the_seq2seq_value_needs_a_row_for_each_position():
    """With the note's V of (1, 1, 64) bmm fails; with (1, 32, 64) the shapes and numbers are ours."""
    note = note_code.run(note_code.LOCATION.replace("outpu_size", "output_size").replace("k[0]", "K[0]"))
    with pytest.raises(RuntimeError, match="batch2"):
        note.attn(note.Q, note.K, torch.randn(1, 1, 64))
    attn = note.attn.double()
    given = {"query": random(1, 1, 1, 32), "key": random(2, 1, 1, 32), "value": random(3, 1, 32, 64)}
    output, weights = attn(*given.values())
    assert (output.shape, weights.shape) == ((1, 1, 64), (1, 32))
    given |= {"W": parameter(attn.attn), "b": attn.attn.bias.detach()}
    given |= {"W_c": parameter(attn.attn_combine), "b_c": attn.attn_combine.bias.detach()}
    assert excess(output, "location", given) <= 0


def test_the_gated_layer_of_the_note_fails_unless_hidden_is_one():
    """(B, L, 1) @ (B, H, 1) needs H = 1; with Linear(H, H) the layer is tanh(W e) . s for every H."""
    note = note_code.run(note_code.GATED)
    with pytest.raises(RuntimeError, match="batch2"):
        note.Attention(3)(random(1, 2, 5, 3).float(), random(2, 2, 3).float())
    right = note_code.run(
        note_code.GATED.replace("nn.Linear(hidden_dim, 1, bias=False)", "nn.Linear(hidden_dim, hidden_dim, bias=False)")
    )
    for layer, hidden in ((note.Attention(1), 1), (right.Attention(1), 1), (right.Attention(3), 3)):
        encoded, state = random(3, 2, 5, hidden), random(4, 2, hidden)
        context, _ = layer.double()(encoded, state)
        heads = {"query": state[:, None, None], "key": encoded[:, None], "value": encoded[:, None]}
        assert excess(context[:, None, None], "tanh_gated", heads | {"W": parameter(layer.attn_weights)}) <= 0


def test_the_key_of_the_projected_layer_has_a_batch_axis():
    """A key of (seq_len, hidden_dim) has no axis 2 to transpose; attn_weights may be deleted, and nothing changes."""
    layer = note_code.run(note_code.PROJECTED_LAYER).Attention(4).double()
    encoded, state = random(1, 2, 5, 4), random(2, 2, 4)
    with pytest.raises(IndexError, match="Dimension out of range"):
        layer(encoded[0], state)
    context, weights = layer(encoded, state)
    del layer.attn_weights
    assert layer(encoded, state)[0].equal(context)
    given = {"query": state[:, None], "key": encoded, "value": encoded}
    given |= {name: parameter(getattr(layer, name)) for name in ("W_q", "W_k", "W_v")}
    assert excess(context[:, None], "projected", given, score="dot_product") <= 0
    assert weights.shape == (2, 1, 5)


def test_the_kernel_without_its_minus_fetches_the_farthest_key():
    """softmax(1/2 (q - k)^2) gives 51 all the weight and 40 as the answer; with the minus it is 45.5."""
    query, key, value = (
        57.0,
        torch.tensor([51.0, 56.0, 58.0]).double(),
        torch.tensor([40.0, 43.0, 48.0]).double(),
    )
    as_written = torch.softmax(1 / 2 * (query - key) ** 2, -1)
    assert (int(as_written.argmax()), f"{as_written @ value:.1f}") == (0, "40.0")
    module = note_code.run(note_code.KERNEL).NWKernelRegression().double()
    torch.nn.init.ones_(module.w)
    note = module(torch.tensor([query]).double(), key[None], value[None])
    heads = {
        "query": np.full((1, 1, 1, 1), query),
        "key": key.reshape(1, 1, 3, 1),
        "value": value.reshape(1, 1, 3, 1),
    }
    assert f"{reference('gaussian_kernel', heads | {'w': [1]})[0].item():.1f}" == "45.5"
    assert excess(note.reshape(1, 1, 1, 1), "gaussian_kernel", heads | {"w": [1]}) <= 0  # note 004 has the minus


@pytest.mark.parametrize("width", [4, 16])
def test_dividing_by_the_width_makes_scores_vanish(width):
    """Over all keys of +-1 the product's mean square is d: over sqrt(d) it is 1 at every width, over d it is 1/d."""
    keys = np.array(list(itertools.product((-1.0, 1.0), repeat=width)))
    products = keys @ keys[0]
    assert (products**2).mean() == width
    assert ((products / math.sqrt(width)) ** 2).mean() == 1.0
    assert ((products / width) ** 2).mean() == 1 / width
    query, key, value = random(1, 2, 1, width), random(2, 2, 5, width), random(3, 2, 5, 3)
    heads = {"query": query[:, None], "key": key[:, None], "value": value[:, None]}
    _, weights = reference("scaled_dot_product", heads)
    by_root, by_width = (
        reference("dot_product", heads | {"query": heads["query"] / x})[1] for x in (width**0.5, width)
    )
    assert weights.tolist() == by_root.tolist() != by_width.tolist()  # powers of two: exact
    note = note_code.run(note_code.MASK_SOFTMAX, note_code.DOT_PRODUCT).DotProductAttention(0.0)
    assert excess(note(query, key, value)[:, None], "scaled_dot_product", heads) <= 0  # the note's code has the root


def test_a_finite_fill_loses_kept_scores_below_it():
    """Kept scores of -2e6 lose to a masked one filled with -1e6: the note's weights lie on what is masked."""
    scores, lens = torch.tensor([[[-2e6, -2e6, 0.0]]]).double(), torch.tensor([2])
    note = note_code.run(note_code.MASK_SOFTMAX).mask_softmax(scores.clone(), lens)
    assert note.tolist() == [[[0.0, 0.0, 1.0]]]
    ours, _ = reference("masked_softmax", {"scores": scores[:, None]}, valid_lens=lens.numpy())
    assert ours.tolist() == [[[[0.5, 0.5, 0.0]]]]


def test_a_length_of_zero_gives_the_mean_in_the_note_and_zero_here():
    """A row of -1e6 throughout is uniform after its softmax; a row that sees nothing weighs nothing."""
    scores, lens = random(1, 2, 3, 4), torch.tensor([0, 2])
    note = note_code.run(note_code.MASK_SOFTMAX).mask_softmax(scores.clone(), lens)
    assert note[0].tolist() == [[1 / 4] * 4] * 3
    ours, _ = reference("masked_softmax", {"scores": scores[:, None]}, valid_lens=lens.numpy())
    assert ours[0].tolist() == [[[0.0] * 4] * 3]
    assert excess(note[1:, None], "masked_softmax", {"scores": scores[1:, None]}, valid_lens=lens[1:].numpy()) <= 0


def undefined(source: str) -> set[str]:
    """Return the global names that a piece of code reads but neither defines nor imports."""
    nodes = list(ast.walk(ast.parse(source)))
    names = [node for node in nodes if isinstance(node, ast.Name)]
    made = {node.id for node in names if isinstance(node.ctx, ast.Store)} | {
        a.arg for a in nodes if isinstance(a, ast.arg)
    }
    made |= {node.name for node in nodes if isinstance(node, ast.ClassDef | ast.FunctionDef)}
    return {node.id for node in names} - made - set(dir(builtins)) - {"torch", "nn", "F", "math", "d2l"}


def test_the_multi_head_module_uses_undefined_functions():
    """Note 004 calls three functions that it never defines; with ours in their place its module agrees with ours."""
    assert {"transpose_qkv", "transpose_output"} == undefined(note_code.MULTI_HEAD)
    assert {"masked_softmax"} == undefined(note_code.ADDITIVE_AGAIN)
    modules = [ast.parse(source).body for source in (note_code.MULTI_HEAD, note_code.ADDITIVE_AGAIN)]
    names = [node.name for body in modules for node in body if isinstance(node, ast.ClassDef)]
    [erratum] = MECHANISMS["multi_head"].errata
    assert erratum.source == f"note 004, {' and '.join(names)}"
    sources = (note_code.MASK_SOFTMAX, note_code.DOT_PRODUCT, note_code.MULTI_HEAD)
    arguments = {
        "key_size": 3,
        "query_size": 5,
        "value_size": 4,
        "num_hiddens": 6,
        "num_heads": 2,
        "dropout": 0.0,
    }
    given = {"query": random(1, 2, 4, 5), "key": random(2, 2, 7, 3), "value": random(3, 2, 7, 4)}
    lens = torch.tensor([2, 6])
    with pytest.raises(NameError, match="'transpose_qkv' is not defined"):
        note_code.run(*sources).MultiHeadAttention(**arguments).double()(*given.values(), lens)

    def split(x: torch.Tensor, heads: int) -> torch.Tensor:
        return x.unflatten(-1, (heads, -1)).transpose(1, 2).flatten(0, 1)

    def merge(x: torch.Tensor, heads: int) -> torch.Tensor:
        return x.unflatten(0, (-1, heads)).transpose(1, 2).flatten(2)

    note = note_code.run(*sources, transpose_qkv=split, transpose_output=merge).MultiHeadAttention(**arguments).double()
    output = note(*given.values(), lens)
    given |= {name: parameter(getattr(note, name)) for name in ("W_q", "W_k", "W_v", "W_o")}
    assert excess(output, "multi_head", given, heads=2, valid_lens=lens.numpy()) <= 0


def test_the_encoding_of_the_note_raises_for_an_odd_width():
    """The cosine half of 7 columns has 3, not 4; ours ends with a sine and agrees with the note at even widths."""
    note = note_code.run(note_code.ENCODING)
    with pytest.raises(RuntimeError, match="must match"):
        note.PositionalEncoding(7, 0.0)
    sequence = random(1, 2, 9, 8).float()
    output = note.PositionalEncoding(8, 0.0)(sequence)
    assert excess(output, "positional_encoding", {"sequence": sequence}, "float32") <= 0
    odd, _ = reference("positional_encoding", {"sequence": np.zeros((1, 2, 7))})
    assert odd[0, 0].tolist() == [0.0, 1.0, 0.0, 1.0, 0.0, 1.0, 0.0]
    roundings = gamma(math.log(10000) + 4, DTYPES["float64"].roundoff)  # of the rate, and of its sine
    assert abs(odd[0, 1, 6] - math.sin(10000 ** (-6 / 7))) <= 2 * roundings * odd[0, 1, 6]


def test_the_encoding_of_the_note_raises_beyond_max_len():
    """The 1001st position has no row in the note; ours has it, and leaves the first thousand as they are."""
    note = note_code.run(note_code.ENCODING).PositionalEncoding(8, 0.0)
    assert note(torch.zeros(1, 1000, 8)).shape == (1, 1000, 8)
    with pytest.raises(RuntimeError, match="must match"):
        note(torch.zeros(1, 1001, 8))
    longer, _ = reference("positional_encoding", {"sequence": np.zeros((1, 1001, 8))})
    shorter, _ = reference("positional_encoding", {"sequence": np.zeros((1, 1000, 8))})
    assert shorter.tolist() == longer[:, :1000].tolist()
    assert (
        excess(
            note(torch.zeros(1, 1000, 8)),
            "positional_encoding",
            {"sequence": np.zeros((1, 1000, 8))},
            "float32",
        )
        <= 0
    )


def test_every_erratum_is_shown_by_a_test_of_its_own():
    """`shown_by` names a test of this file, no two name the same, and no test here is without its erratum."""
    here = {name for name in globals() if name.startswith("test_") and not name.startswith("test_every_")}
    named = [erratum.shown_by for _, erratum in ERRATA]
    assert sorted(f"tests/reference/test_errata.py::{name}" for name in here) == sorted(named)


def test_every_erratum_of_the_notes_is_stated():
    """Each row of the notes with an erratum has it beside its mechanism, in order, and there are no others."""
    stated = {name: [erratum.says for own, erratum in ERRATA if own == name] for name, _ in ERRATA}
    assert {name: len(words) for name, words in ROWS.values()} == {name: len(says) for name, says in stated.items()}
    for name, words in ROWS.values():
        for word, says in zip(words, stated[name], strict=True):
            assert word in says
