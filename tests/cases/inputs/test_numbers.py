"""What the numbers are like: of both signs, spread, rounded exactly, and held exactly for the reference."""

from __future__ import annotations

import struct
from dataclasses import replace

import numpy as np
import pytest
import torch

from attention_harness.cases import inputs, streams
from attention_harness.cases.distributions import DISTRIBUTIONS, RARE
from attention_harness.cases.ids import parse
from attention_harness.cases.matrix import matrix
from attention_harness.model.case import Case
from attention_harness.registry import mechanisms

LARGE = parse("scaled_dot_product-B4H4Hk4Lq64Lk64D32Dv32-float64-plain-ordinary-contiguous")


@pytest.mark.parametrize("name", ["query", "key", "value"])
def test_ordinary_numbers_are_normal(name):
    """Mean 0, variance 1, kurtosis 2.9 (twelve uniforms), as often below zero as above."""
    x = inputs.tensors(LARGE)[name].numpy()
    assert pytest.approx(x.mean(), abs=0.02) == 0.0
    assert pytest.approx(x.var(), abs=0.03) == 1.0
    assert pytest.approx((x**4).mean() / x.var() ** 2, abs=0.1) == 2.9
    assert pytest.approx((x < 0).mean(), abs=0.01) == 0.5
    assert 3.0 < np.abs(x).max() <= 6.0
    assert x.size == np.unique(x).size


@pytest.mark.parametrize("content", DISTRIBUTIONS)
@pytest.mark.parametrize("mechanism", mechanisms())
def test_nothing_is_uniform_between_0_and_1(mechanism, content):
    """No floating tensor lies in (0, 1), where all weights are alike; but `w` is near 1, and `exact` means it.

    Nor do short keys, which make no weights: those of `shifted` are all above 0.
    """
    short = {declared.name for declared in mechanisms()[mechanism].inputs if declared.short}
    case = next(case for case in matrix() if case.mechanism == mechanism and case.content == "ordinary")
    for name, x in inputs.exact(inputs.tensors(replace(case, content=content, dtype="float64"))).items():
        if x.dtype.kind == "f" and name not in {"w", *short} and x.size >= 30:
            assert x.min() < 0 or x.max() > 1 or content == "exact", name
            assert x.std() > 0 or content == "exact", name


CLAIMS = {
    "large": lambda plain, x: np.array_equal(plain["query"] * 4, x["query"]),
    "shifted": lambda plain, x: np.array_equal(plain["value"] + 10, x["value"]),
    "sunken": lambda plain, x: np.array_equal(plain["key"][..., 0] - 24, x["key"][..., 0]),
    "peaked": lambda plain, x: np.array_equal(plain["key"][..., ::5, :] * 8, x["key"][..., ::5, :]),
    "nearly_equal": lambda plain, x: np.ptp(x["key"], axis=-2).max() < 0.02 and np.abs(x["key"]).max() > 2,
    "outlier": lambda plain, x: np.array_equal(plain["key"][..., 0] * 8, x["key"][..., 0]),
    "tiny": lambda plain, x: 0 < np.abs(x["query"]).max() < 0.002 > np.abs(x["key"]).max(),
    "far_below": lambda plain, x: (x["query"] @ x["key"].swapaxes(-1, -2)).max() < -(2.0**39),
    "rising": lambda plain, x: np.diff(x["key"][..., 0]).min() > 2,
    "falling": lambda plain, x: np.diff(x["key"][..., 0]).max() < -2 and np.array_equal(plain["value"], x["value"]),
    "both_ends": lambda plain, x: np.array_equal(plain["value"][..., ::2] * 2.0**20, x["value"][..., ::2]),
    "large_products": lambda plain, x: (products(x) / 32**0.5).max() < 65504 < products(x).min(),
    "deep": lambda plain, x: (products(x) / 32**0.5).max() < -1e9 and np.ptp(products(x), -1).max() < 100,
    "balanced": lambda plain, x: x["value"][..., 9, :].std() / x["value"][..., 0, :].std() > 0.5 * np.exp(54),
    "unlike": lambda plain, x: np.array_equal(products(plain), products(x)) and np.abs(x["key"]).max() > 65504,
    "narrow": lambda plain, x: np.array_equal(plain["query"] / 16, x["query"]),
    "wide": lambda plain, x: np.array_equal(plain["query"] * 16, x["query"]),
    "exact": lambda plain, x: not products(x).any() and np.array_equal(x["value"], np.round(x["value"])),
    "same": lambda plain, x: np.array_equal(plain["query"], x["key"]),
}


def products(x: dict[str, np.ndarray]) -> np.ndarray:
    """Return what every query and key make."""
    return np.einsum("...id,...jd->...ij", x["query"], x["key"])


@pytest.mark.parametrize("content", CLAIMS)
def test_a_distribution_does_what_it_says(content):
    """Each changes the ordinary numbers in its own way, and no other changes them so."""
    plain = inputs.exact(inputs.tensors(LARGE))
    made = {name: inputs.exact(inputs.tensors(replace(LARGE, content=name))) for name in DISTRIBUTIONS}
    assert [content] == [name for name, given in made.items() if CLAIMS[content](plain, given)]


def test_every_distribution_is_claimed():
    """A new distribution gets a claim above."""
    assert {"ordinary", *CLAIMS} == set(DISTRIBUTIONS)


@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16", "float16"])
def test_values_at_both_ends_fit_their_format(dtype):
    """Beyond 65,504 where there are such numbers, and near the smallest normal one, of which none is lost."""
    case = replace(LARGE, dtype=dtype, content="both_ends")
    value = inputs.exact(inputs.tensors(case))["value"]
    assert np.isfinite(value).all()
    assert (np.abs(value).max() > 65504) == (case.format.largest > 65504)
    small = np.abs(value[..., 1::2])
    assert case.format.smallest <= np.median(small)
    assert np.median(small) < (case.format.smallest if dtype != "float64" else 2.0**-416) * 2.0**17


@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16", "float16"])
@pytest.mark.parametrize("content", RARE)
def test_contents_that_no_rule_combines_are_finite(content, dtype):
    """In every format, options' tensors too, but for what hides."""
    case = replace(LARGE, dtype=dtype, content=content, options={"mask": "full", "bias": "query"})
    for name, x in inputs.exact(inputs.tensors(case)).items():
        assert np.isfinite(x[~np.isneginf(x)] if name == "bias" else x).all(), name


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
def test_every_key_counts_where_values_are_counterweights(dtype):
    """The products of the first keys' weights and values are of one size."""
    case = replace(LARGE, dtype=dtype, content="balanced")
    x = inputs.exact(inputs.tensors(case))
    scores = products(x) / 32**0.5
    terms = np.exp(scores - scores.max(-1, keepdims=True))[..., :2] * np.abs(x["value"]).mean(-1)[..., None, :2]
    assert 1e-3 < np.median(terms[..., 1] / terms[..., 0]) < 1e3


@pytest.mark.parametrize(("content", "limits"), [("narrow", (12, 40)), ("wide", (-0.2, -0.04))])
def test_an_inverse_bandwidth_may_be_far_from_one(content, limits):
    """The scores stay those of the ordinary content."""
    case = parse("gaussian_kernel-B2H3Lq5Lk7D6Dv8-float64-plain-ordinary-contiguous")
    plain, given = (inputs.exact(inputs.tensors(replace(case, content=one))) for one in ("ordinary", content))
    assert limits[0] < given["w"].item() < limits[1]
    assert np.array_equal(plain["query"] * plain["w"], given["query"] * np.abs(given["w"]))


def test_one_tensor_is_given_for_every_input_of_its_shape():
    """The same object in torch, the same array for the reference; options and parameters are their own."""
    case = parse("multi_head-B2H2Lq5Lk7E8Eq8Ek8Ev8O8-float32-mask=full-same-contiguous")
    given = inputs.tensors(case)
    assert given["key"] is given["value"] is not given["query"]
    assert len({id(x) for x in given.values()}) == len(given) - 1
    arrays = inputs.exact(given)
    assert arrays["key"] is arrays["value"]
    assert not np.shares_memory(arrays["key"], given["key"].numpy())


@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16", "float16"])
def test_a_bias_far_below_fills(dtype):
    """Every other row is lower than a finite fill; the others have one place near the least float32, or hidden."""
    case = replace(LARGE, dtype=dtype, content="far_below", options={"bias": "query"})
    bias = inputs.exact(inputs.tensors(case))["bias"]
    shown = np.isfinite(bias)
    fill = {"float64": -1e9, "float32": -1e6, "bfloat16": -1e6, "float16": -1e4}[dtype]
    assert (bias[::2][shown[::2]] < fill).all()
    assert np.abs(bias[1::2, :-1][shown[1::2, :-1]]).max() < 7
    assert (bias[1::2, -1][shown[1::2, -1]] == -min(case.format.largest, 2.0**128) / 2).all()
    assert 0.7 < shown.mean() < 0.9


def to_bfloat16(number: float) -> float:
    """Round a float32 to the nearest bfloat16, ties to even, by its bits."""
    bits = int.from_bytes(struct.pack(">f", number), "big")
    bits += 0x7FFF + (bits >> 16 & 1)
    return float(struct.unpack(">f", (bits >> 16 << 16).to_bytes(4, "big"))[0])


def test_half_precision_is_rounded_to_nearest():
    """bfloat16 and float16 inputs are the float32 inputs, each rounded once, ties to even."""
    given = {
        dtype: inputs.tensors(replace(LARGE, dtype=dtype))["query"] for dtype in ("float32", "float16", "bfloat16")
    }
    single = given["float32"].numpy()
    assert np.array_equal(single.astype(np.float16), given["float16"].numpy())
    expected = [to_bfloat16(x) for x in single.flat[:5000].tolist()]
    assert expected == given["bfloat16"].flatten()[:5000].tolist()


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16"])
def test_exact_holds_the_same_numbers(dtype):
    """The reference gets the rounded numbers, bit for bit, in memory of its own."""
    options = {"mask": "full", "bias": "query", "valid_lens": "batch"}
    given = inputs.tensors(replace(LARGE, dtype=dtype, options=options, layout="offset"))
    exact = inputs.exact(given)
    assert {name: array.dtype.kind for name, array in exact.items()} == {
        "query": "f",
        "key": "f",
        "value": "f",
        "mask": "b",
        "bias": "f",
        "valid_lens": "i",
    }
    assert all(array.itemsize == 8 for name, array in exact.items() if name != "mask")
    for name, tensor in given.items():
        assert torch.equal(tensor, torch.from_numpy(exact[name]).to(tensor.dtype)), name
        exact[name][...] = 0
    assert given["query"].abs().max() > 1


def test_masks_bias_and_lengths():
    """A mask shows about 7 keys of 10, a bias hides by -inf, lengths lie between none and all of the keys."""
    options = {"mask": "full", "bias": "full", "valid_lens": "query"}
    given = inputs.tensors(replace(LARGE, options=options))
    assert pytest.approx(given["mask"].double().mean().item(), abs=0.01) == 0.7
    assert pytest.approx(given["bias"].isfinite().double().mean().item(), abs=0.01) == 0.8
    assert not given["bias"].isnan().any()
    assert (given["valid_lens"].min(), given["valid_lens"].max()) == (0, 64)
    assert {name: tuple(given[name].shape) for name in options} == {
        "mask": (4, 4, 64, 64),
        "bias": (4, 4, 64, 64),
        "valid_lens": (4, 64),
    }


@pytest.mark.parametrize(
    ("form", "shape"),
    [
        ("full", (4, 4, 9, 5)),
        ("batch", (4, 1, 1, 5)),
        ("head", (1, 4, 9, 5)),
        ("query", (9, 5)),
        ("batch_query", (4, 1, 9, 5)),
        ("key", (1, 1, 1, 5)),
        ("column", (4, 1, 9, 1)),
    ],
)
def test_forms_of_a_mask(form, shape):
    """Each form has the shape that broadcasts to batch, heads, queries and keys."""
    case = replace(LARGE, sizes=dict(LARGE.sizes) | {"Lq": 9, "Lk": 5}, options={"mask": form, "bias": form})
    given = inputs.tensors(case)
    assert [shape, shape] == [tuple(given["mask"].shape), tuple(given["bias"].shape)]
    flagged, other = (draw_with("mask", case, wanted) for wanted in (True, False))
    hidden, shown = (inputs.tensors(one)["mask"].reshape(-1, shape[-1]) for one in (flagged, other))
    assert (len(hidden) > 1) == (not hidden[-1].any()), "half of all cases hide the last row of several"
    assert hidden[0].any(), "but not the first, which the layout `expanded` repeats"
    assert shown[-1].any() or form == "column", "a row of one number is shown or hidden as a whole"


def draw_with(option: str, case: Case, wanted: bool) -> Case:
    """Return the first draw of a case whose coin for an option falls so."""
    return next(one for n in range(99) if streams.flag(one := replace(case, draw=n), option) is wanted)


@pytest.mark.parametrize("draw", range(20))
def test_a_mask_of_one_row_is_left_as_drawn(draw):
    """Where all queries share a row nothing is planted, however the coin falls."""
    one = replace(LARGE, sizes=dict(LARGE.sizes) | {"B": 1}, options={"mask": "batch"}, draw=draw)
    mask = inputs.tensors(one)["mask"]
    assert mask.shape == (1, 1, 1, 64)
    assert 30 < mask.sum() < 60
    more = replace(one, sizes=LARGE.sizes)
    several = inputs.tensors(more)["mask"].reshape(4, 64)
    assert streams.flag(more, "mask") == (not several[-1].any())
    assert several[:-1].any(-1).all()


@pytest.mark.parametrize("draw", range(20))
@pytest.mark.parametrize("form", ["batch", "query"])
@pytest.mark.parametrize(("batch", "queries", "keys"), [(4, 9, 5), (3, 1, 2), (1, 1, 5), (2, 1, 1)])
def test_the_first_length_shows_a_key_and_the_last_of_half_the_cases_none(batch, queries, keys, form, draw):
    """A fully masked row is planted where there are several; a first length of 0 would hide all of an expanded case."""
    sizes = dict(LARGE.sizes) | {"B": batch, "Lq": queries, "Lk": keys}
    case = replace(LARGE, sizes=sizes, options={"valid_lens": form}, draw=draw)
    lens = inputs.tensors(case)["valid_lens"]
    assert ((batch,) if form == "batch" else (batch, queries)) == tuple(lens.shape)
    assert 0 <= lens.min() <= lens.max() <= keys
    assert lens.flatten()[0] >= 1
    if lens.numel() > 1 and not streams.flag(case, "valid_lens"):
        assert lens.flatten()[-1] == 0


def test_lengths_are_drawn_where_none_is_planted():
    """Over some of those cases the last length takes every value there is."""
    few = replace(LARGE, sizes=dict(LARGE.sizes) | {"Lk": 3}, options={"valid_lens": "batch"})
    drawn = [case for n in range(80) if streams.flag(case := replace(few, draw=n), "valid_lens")]
    assert 25 < len(drawn) < 55
    assert {0, 1, 2, 3} == {int(inputs.tensors(case)["valid_lens"][-1]) for case in drawn}


@pytest.mark.parametrize("form", ["full", "query"])
def test_a_mask_shows_two_keys_where_causality_first_does(form):
    """Of the first batch and head: with one key alone no error of a score or weight would show."""
    for draw in range(12):
        sizes = dict(LARGE.sizes) | {"Lq": 9, "Lk": 5}
        case = replace(LARGE, sizes=sizes, options={"mask": form, "causal": "bottom_right"}, draw=draw)
        mask = inputs.tensors(case)["mask"].reshape(-1, 9, 5)[0]
        assert mask[5, :2].all(), "query 5 stands at key 1: 5 + 5 - 9"
