"""Tensors in parts: what a call gets, and that derivatives by parts are those of the whole."""

from __future__ import annotations

import pytest
import torch

from attention_harness import registry
from attention_harness.cases import inputs
from attention_harness.cases.ids import parse
from attention_harness.cases.parts import has_parts, joined, parts_of, split
from attention_harness.checks.in_parts import InParts
from attention_harness.execution import in_process

HEAD = "scaled_dot_product-B2H3Hk3Lq{}Lk{}D8Dv6-float64-{}-{}-contiguous"
FORMS = {"before": 4, "half": 3, "none": 0, "all": 7}


def case_of(options: str, queries: int = 3, keys: int = 7, content: str = "ordinary"):
    return parse(HEAD.format(queries, keys, options, content))


@pytest.mark.parametrize("form", FORMS)
def test_the_first_keys_come_apart(form):
    """Parts follow each other, each of the length that the form says; of half of the cases they are views."""
    case = case_of(f"past={form}")
    whole = inputs.tensors(case)
    given = split(case, whole, parts_of(case, whole))
    assert has_parts(case)
    assert {"query", "key", "value", "past_key", "past_value"} == given.keys()
    assert given["query"] is whole["query"]
    for name in ("key", "value"):
        assert given[f"past_{name}"].shape[-2] == FORMS[form]
        assert torch.equal(torch.cat((given[f"past_{name}"], given[name]), -2), whole[name])
        same = given[name].untyped_storage().data_ptr() == whole[name].untyped_storage().data_ptr()
        assert same == (case.fingerprint % 2 == 0) or not given[name].numel()


@pytest.mark.parametrize("draw", range(4))
def test_other_numbers_in_the_same_memory_come_in_the_same_parts(draw):
    """An implementation that knows a tensor by its memory meets the same memory, views or not."""
    case = parse(
        f"scaled_dot_product-B2H3Hk3Lq3Lk7D8Dv6-float64-past=half-ordinary-contiguous-draw{draw}".removesuffix("-draw0")
    )
    met = []

    class Prepared:
        def call(self, tensors):
            met.append({name: (x.data_ptr(), x.clone()) for name, x in tensors.items()})

    prepared, whole = InParts(Prepared(), case), inputs.tensors(case)
    prepared.call(whole)
    for tensor in whole.values():
        tensor.mul_(2)
    prepared.call(whole)
    first, second = met
    for name in first:
        assert first[name][0] == second[name][0]
        assert torch.equal(2 * first[name][1], second[name][1])
    prepared.call(inputs.tensors(case))
    assert torch.equal(met[2]["past_key"][1], first["past_key"][1])


def test_more_queries_than_keys_bring_every_key():
    """Then nothing is earlier."""
    case = case_of("past=before", 7, 3)
    whole = inputs.tensors(case)
    assert split(case, whole, parts_of(case, whole))["past_key"].shape[-2] == 0


def test_without_the_option_nothing_is_split():
    """The call takes the tensors as they are."""
    case = case_of("plain")
    assert not has_parts(case)
    assert {} == parts_of(case, inputs.tensors(case))


def test_a_missing_part_leaves_no_gradient_unless_it_is_empty():
    """A part without keys needs none."""
    case = case_of("past=half")
    parts = parts_of(case, inputs.tensors(case))
    one = torch.ones(2, 3, 3, 8)
    assert joined(case, {"past_key": one, "key": None}, parts)["key"] is None
    case = case_of("past=none")
    parts = parts_of(case, inputs.tensors(case))
    assert joined(case, {"past_key": None, "key": one}, parts)["key"].shape == one.shape


def asked(options: str, tensors, derivative: str):
    """Return eager's derivatives for a case of six queries and keys."""
    case = parse(f"scaled_dot_product-B2H3Hk3Lq6Lk6D8Dv8-float64-{options}-ordinary-contiguous")
    prepared = in_process.subject(registry.select(["eager"])[0], case).prepared
    upstream, directions = torch.ones(2, 3, 6, 8).double(), {name: torch.ones_like(x) for name, x in tensors.items()}
    if derivative == "forward":
        return prepared.forward_derivative(tensors, directions).by_name
    if derivative == "second":
        return prepared.second_derivatives(tensors, upstream, directions).by_name
    return prepared.gradients(tensors, upstream).by_name


@pytest.mark.parametrize(
    ("derivative", "alike"), [("first", False), ("first", True), ("second", False), ("forward", False)]
)
@pytest.mark.parametrize("form", FORMS)
def test_derivatives_are_those_of_the_whole(form, derivative, alike):
    """Also where one tensor is given whole, as the query, and in parts, as key and value: it has the sum of all."""
    names = ("query", "key", "value")
    generator = torch.Generator().manual_seed(1)
    tensors = {name: torch.randn(2, 3, 6, 8, generator=generator, dtype=torch.float64) for name in names}
    if alike:
        tensors = dict.fromkeys(names, tensors["query"])
    plain, parted = (asked(options, tensors, derivative) for options in ("plain", f"past={form}"))
    assert plain.keys() == parted.keys()
    for name, gradient in plain.items():
        assert torch.allclose(gradient, parted[name], rtol=1e-12, atol=1e-13), name
