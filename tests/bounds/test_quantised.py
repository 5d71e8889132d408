"""The bound of what an implementation quantises itself holds for its codes, and is no wider than they err."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from attention_harness.bounds import ErrorBound, blocked, error_bounds
from attention_harness.bounds.judge import limits_of
from attention_harness.bounds.operations import Tracked
from attention_harness.bounds.quantised import quantised_inputs
from attention_harness.bounds.rounding import Model
from attention_harness.cases.ids import parse
from attention_harness.checks.expected import arguments, arrays_of, bound_of
from attention_harness.model.capabilities import Arithmetic
from attention_harness.model.dtypes import CODES
from attention_harness.registry import mechanisms


def stored(x: np.ndarray, code: str, *, smoothed: bool, block: int) -> np.ndarray:
    """Return numbers (H, L, D) from codes of blocks of positions, of which the mean was taken out before."""
    mean = x.mean(-2, keepdims=True) if smoothed else 0.0
    found = []
    for part in np.split(x - mean, range(block, x.shape[-2], block), -2):
        scale = np.float32(np.abs(part).max((-2, -1), keepdims=True) / CODES[code].largest)
        scaled = torch.from_numpy(np.float32(part) / scale)
        codes = scaled.round() if code == "int8" else scaled.to(getattr(torch, CODES[code].torch)).float()
        found.append(codes.numpy() * scale)
    return np.concatenate(found, -2) + mean


@pytest.mark.parametrize("smoothed", [False, True], ids=["as they are", "without their mean"])
@pytest.mark.parametrize("block", [64, 16], ids=["by heads", "by blocks"])
@pytest.mark.parametrize("code", CODES)
def test_codes_stay_within_the_bound(code, block, smoothed):
    """Of heads of unlike sizes and means; the largest error comes near, the deviation is that of the errors."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(8, 64, 16)) * 2.0 ** np.arange(-4, 4)[:, None, None] + rng.normal(size=(8, 1, 16))
    x = np.float64(np.float32(x))
    model = Model.of(Arithmetic(quantised={"key": code}), "float32")
    tracked = quantised_inputs({"key": Tracked(model, x)}, model, {"key": x})["key"]
    error = stored(x, code, smoothed=smoothed, block=block) - x
    ratios = np.abs(error) / tracked.bound
    assert ratios.max() <= 1
    if not smoothed:
        assert ratios.max() > 0.85  # a float's error is u/(1 + u) of the number at most, 0.89 of u in e5m2
    if block == x.shape[-2] and not smoothed:
        assert 0.8 < np.sqrt((error**2 / tracked.variance).mean()) < 1.2


def test_what_is_not_named_is_exact():
    """The others keep no error, and a name that is no input stands for nothing."""
    model = Model.of(Arithmetic(quantised={"key": "int8", "probabilities": "e4m3"}), "bfloat16")
    assert set(quantised_inputs({"query": Tracked(model, np.ones((2, 2)))}, model, {})) == set()
    assert model.probabilities.precision == CODES["e4m3"].precision


@pytest.mark.parametrize("code", CODES)
def test_probabilities_are_codes_of_numbers_to_one(code):
    """Whole numbers of 127 parts, floats as they are: the largest error of each is within what the format says."""
    p = np.random.default_rng(0).random(4096)
    scaled = torch.from_numpy(np.float32(p))
    held = (scaled * 127).round() / 127 if code == "int8" else scaled.to(getattr(torch, CODES[code].torch)).float()
    fmt = Model.of(Arithmetic(quantised={"probabilities": code}), "float32").probabilities
    ratios = np.abs(held.numpy() - p) / (fmt.roundoff * p + fmt.half_spacing)
    assert 0.85 < ratios.max() <= 1 + 1e-4


def test_a_block_of_queries_has_the_scale_of_its_head():
    """One number far above the others in another block makes all codes coarse: blocks are bounded as the whole is."""
    case = parse("scaled_dot_product-B1H2Hk2Lq64Lk32D8Dv6-float32-plain-ordinary-contiguous")
    known, (tensors, options) = mechanisms()[case.mechanism], arguments(case, arrays_of(case))
    tensors["query"][0, 0, 5, 3] = 64.0
    arithmetic = Arithmetic(quantised={"query": "int8"})
    whole, _ = error_bounds(known.evaluate, tensors, options, case.dtype, arithmetic)
    assert np.allclose(blocked(known, tensors, options, case.dtype, arithmetic, 16).bound, whole.bound, rtol=1e-12)


def test_an_input_that_is_rounded_first_errs_by_both():
    """A key in single precision, rounded to bfloat16 and then to whole numbers."""
    x = np.float64(np.float32(np.random.default_rng(0).normal(size=(1, 64, 16))))
    model = Model.of(Arithmetic(quantised={"key": "int8"}), "bfloat16")
    rounded = Tracked(model, x).rounded(x, 0.0, 0.0, model.io)
    tracked = quantised_inputs({"key": rounded}, model, {"key": x})["key"]
    narrow = torch.from_numpy(x).bfloat16().double().numpy()
    assert (np.abs(stored(narrow, "int8", smoothed=False, block=64) - x) <= tracked.bound).all()


@pytest.mark.parametrize("code", CODES)
def test_the_statistics_of_small_errors_are_asked(code):
    """Of weights as codes, whose exponentials reach 1 in every row; not where one tensor is key and value, too."""
    case = parse("scaled_dot_product-B2H3Hk3Lq16Lk17D16Dv16-float32-plain-ordinary-contiguous")
    bound, _ = bound_of(case, Arithmetic(quantised={"probabilities": code}), "zero")
    assert bound.linear.all()
    bound, _ = bound_of(case, Arithmetic(quantised={"key": code}), "zero")
    assert bound.shared == 2 * 3 * 17 * 16
    same = parse("scaled_dot_product-B2H3Hk3Lq16Lk16D16Dv16-float32-plain-same-contiguous")
    bound, _ = bound_of(same, Arithmetic(quantised={"key": code}), "zero")
    assert not bound.linear.any()


def test_few_codes_say_little():
    """Ten numbers that are rounded are ten errors, however many rows they reach: the limit is that of ten."""
    rows = np.ones(129, bool)
    bound = ErrorBound(*[np.ones((129, 4))] * 3, rows, None, "", np.arange(129.0), np.full(129, 4.0), shared=10.0)
    limits = limits_of(bound, rows, False)
    assert limits.whole == pytest.approx(1.25 + 4 / 10**0.5)
    assert limits.bias == np.inf
