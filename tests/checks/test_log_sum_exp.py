"""The log-sum-exp that is returned: right to 50 digits, judged as sharply as its bound, refused in a wrong form."""

from __future__ import annotations

import re
from types import ModuleType

import mpmath
import numpy as np
import pytest
import torch

from attention_harness import Arithmetic, Capabilities, registry
from attention_harness.cases.ids import parse
from attention_harness.checks import BY_NAME
from attention_harness.checks.expected import arrays_of
from attention_harness.checks.log_sum_exp import bound_of
from attention_harness.execution import in_process
from attention_harness.reference.core import visible_keys

ID = "scaled_dot_product-B2H4Hk2Lq5Lk7D8Dv6-{}-{}-{}-contiguous"
OPTIONS = ("lse=natural", "lse=natural+mask=full", "lse=natural+sinks=large", "causal=bottom_right+lse=natural")


def judged(change, case, check: str = "log_sum_exp", **declared):
    """Return the judgement of eager whose results go through a change."""
    [eager] = registry.select(["eager"])
    module = ModuleType("changed")
    module.CAPABILITIES = Capabilities(
        ("scaled_dot_product",),
        dtypes=("float64", "float32", "bfloat16", "float16"),
        options=eager.capabilities.options,
        **declared,
    )
    module.prepare = lambda case: lambda **tensors: change(eager.prepare(case)(**tensors))
    implementation = registry.Implementation("changed", module, eager.path)
    return BY_NAME[check].judge(in_process.subject(implementation, case))


@pytest.mark.parametrize("content", ["ordinary", "large", "shifted", "peaked", "sunken", "far_below", "exact"])
@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16", "float16"])
def test_a_right_one_passes(dtype, options, content):
    """In the dtype of the sums, and stored in the case's."""
    case = parse(ID.format(dtype, options, content))
    assert "" == judged(lambda three: three, case).reason
    assert "" == judged(lambda three: (*three[:2], three[2].to(three[0].dtype)), case).reason


@pytest.mark.parametrize("options", OPTIONS)
def test_the_reference_is_right_to_half_its_float64_bound(options):
    """Against mpmath at 50 digits, from the very numbers of the case; rows that see no key have minus infinity."""
    case = parse(ID.format("float64", options, "large"))
    arrays = arrays_of(case)
    bound = bound_of(case, arrays, Arithmetic())
    hides = {name: arrays.get(name, form) for name, form in case.options.items() if name in ("mask", "causal")}
    seen = visible_keys((2, 4, 5, 7), **hides)
    with mpmath.workdps(50):
        for b, h, i in np.ndindex(2, 4, 5):
            query, keys = arrays["query"][b, h, i], arrays["key"][b, h // 2]
            scores = [mpmath.fdot(query.tolist(), key.tolist()) / mpmath.sqrt(8) for key in keys]
            masses = [mpmath.exp(score) for score, shown in zip(scores, seen[b, h, i], strict=True) if shown]
            if "sinks" in arrays:
                masses.append(mpmath.exp(float(arrays["sinks"][h])))
            found = bound.value[b, h, i]
            if not masses:
                assert found == -np.inf
                continue
            assert abs(mpmath.log(mpmath.fsum(masses)) - found) <= bound.bound[b, h, i] / 2


@pytest.mark.parametrize(("dtype", "relative"), [("float64", 2e-14), ("float32", 1e-5), ("bfloat16", 0.1)])
def test_a_small_error_is_seen(dtype, relative):
    """Of a few tens of roundings of the sums' dtype; of some of the scores' in bfloat16."""
    case = parse(ID.format(dtype, "lse=natural", "ordinary"))
    assert judged(lambda three: (*three[:2], three[2] + relative), case).error_ratio > 1


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda three: three[:2], "returned none: expected \\(output, weights or None, lse\\)"),
        (lambda three: (*three[:2], three[2][..., None]), "lse has shape \\(2, 4, 5, 1\\), expected \\(2, 4, 5\\)"),
        (lambda three: (*three[:2], three[2].half()), "lse has dtype float16, expected float32"),
        (lambda three: (*three[:2], three[2].tolist()), "returned a list"),
    ],
)
def test_a_wrong_form_is_refused(change, reason):
    """Each with what came and what was expected."""
    case = parse(ID.format("float32", "lse=natural", "ordinary"))
    assert re.search(reason, judged(change, case).reason)


def test_weights_are_none_where_they_are_not_declared():
    """The places stay: (output, None, lse)."""
    case = parse(ID.format("float32", "lse=natural", "ordinary"))
    assert "" == judged(lambda three: (three[0], None, three[2]), case).reason


def test_rows_of_another_declared_policy_are_not_asked():
    """Whoever declares NaN for rows without keys may have anything there; the other rows are judged."""
    case = parse(ID.replace("Lq5Lk7", "Lq9Lk5").format("float32", "causal=bottom_right+lse=natural", "ordinary"))

    def forgets(three):
        return *three[:2], three[2].masked_fill(three[2].isneginf(), 0.0)

    assert judged(forgets, case).error_ratio > 1
    assert "" == judged(forgets, case, fully_masked_rows="nan").reason
    assert judged(lambda three: (*three[:2], -three[2]), case, fully_masked_rows="nan").error_ratio > 1


@pytest.mark.parametrize(
    ("change", "finding"),
    [
        (lambda lse: lse, "natural, minus infinity without a key"),
        (lambda lse: lse / np.log(2), "base 2, minus infinity without a key"),
        (lambda lse: -lse, "natural, negated, infinity without a key"),
        (lambda lse: lse.masked_fill(lse.isneginf(), 0.0), "natural, 0 without a key"),
        (lambda lse: lse.masked_fill(lse.isneginf(), torch.nan), "natural, NaN without a key"),
        (lambda lse: lse + 1, "other, minus infinity without a key"),
    ],
)
def test_the_behaviour_tells_which_one_it_is(change, finding):
    """And contradicts the declaration where it is not the natural one."""
    case = parse("scaled_dot_product-B2H3Hk3Lq5Lk7D16Dv8-float32-plain-ordinary-contiguous")

    def changed(results):
        return (*results[:2], change(results[2])) if len(results) == 3 else results

    found = judged(changed, case, "behaviour.log_sum_exp")
    assert finding == found.finding
    assert bool(found.reason) == (finding != "natural, minus infinity without a key")


def test_a_later_call_has_its_own():
    """The log-sum-exp of the first call, handed out again for other numbers, is seen by the second call."""
    first = {}

    def stale(results):
        return (*results[:2], first.setdefault(results[2].shape, results[2].clone()).clone())

    case = parse(ID.format("float32", "lse=natural", "ordinary"))
    assert "" == judged(lambda results: results, case, "second_call").reason
    assert "log-sum-exp is" in judged(stale, case, "second_call").reason


@pytest.mark.parametrize("name", ["lse=natural", "plain"])
def test_a_later_call_has_its_own_weights(name):
    """Where they are declared; whoever declares none may return anything."""
    first = {}

    def stale(results):
        return results[0], first.setdefault(results[1].shape, results[1].clone()).clone(), *results[2:]

    case = parse(ID.format("float32", name, "ordinary"))
    assert "" == judged(lambda results: results, case, "second_call", weights=True).reason
    found = judged(stale, case, "second_call", weights=True)
    assert found.reason.startswith("called again with ")
    assert "" == judged(lambda results: (results[0], None, *results[2:]), case, "second_call").reason


@pytest.mark.parametrize("part", [1, 2])
def test_the_first_inputs_again_have_theirs(part):
    """Every call is right but the last one, which has the weights or the log-sum-exp of another call."""
    case = parse(ID.format("float32", "lse=natural", "ordinary"))
    kept = []

    def last(results):
        kept.append(results)
        changed = list(results)
        again = len(kept) > 2 and torch.equal(results[0], kept[0][0]) and len({one[0].shape for one in kept}) > 2
        changed[part] = results[part] + 1 if again else results[part]
        return tuple(changed)

    found = judged(last, case, "second_call", weights=True)
    assert found.reason.startswith("called again with the first inputs: ")


def test_an_infinite_one_beside_an_infinite_bound_is_judged():
    """Scores whose errors exceed what any exponential holds bound nothing: that is no crash of the check."""
    case = parse("scaled_dot_product-B2H3Hk3Lq2Lk129D8Dv6-float32-lse=natural-far_below-mixed")
    assert np.isposinf(bound_of(case, arrays_of(case), Arithmetic()).bound).any()
    found = judged(lambda results: (*results[:2], torch.full_like(results[2], torch.inf)), case)
    assert 0 <= found.error_ratio
