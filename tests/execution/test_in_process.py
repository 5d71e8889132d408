"""What checks see of an implementation: copies, changes that a watched call made, and derivatives."""

from __future__ import annotations

import types
from pathlib import Path

import pytest
import torch
from torch.utils.checkpoint import checkpoint

from attention_harness import Capabilities
from attention_harness.cases.ids import parse
from attention_harness.host import calls
from attention_harness.model.errors import ImplementationRaised
from attention_harness.registry import Implementation
from tests.registry.sources import TINY

CASE = parse(TINY)


def prepared(function):
    """Return the interface to a function."""
    module = types.SimpleNamespace(prepare=lambda case: function, CAPABILITIES=Capabilities(("masked_softmax",)))
    return calls.prepared(Implementation("made", module, Path("made.py")), CASE)


def test_a_pair_is_output_and_weights_and_both_are_copies():
    """What a later call writes into the same memory is seen when the first answer is read again, and not before."""
    buffer = torch.zeros(2)

    def call(x):
        buffer.add_(x)
        return buffer, buffer

    subject = prepared(call)
    first = subject.call({"x": torch.ones(2)}, watched=True)
    subject.call({"x": torch.ones(2)})
    assert ([1, 1], [1, 1]) == (first.output.tolist(), first.weights.tolist())
    assert ([2, 2], [2, 2]) == (subject.reread(first).output.tolist(), subject.reread(first).weights.tolist())
    with pytest.raises(ValueError, match="watched=True"):
        subject.reread(subject.call({"x": torch.ones(2)}))


@pytest.mark.parametrize(
    ("change", "inputs", "state"),
    [
        (lambda x: x[0].fill_(7.0), ("x",), ()),
        (lambda x: x.neg_().neg_(), (), ()),
        (lambda x: x[1].mul_(0).neg_(), ("x",), ()),  # -0.0 is another number than 0.0
        (lambda x: x.t_(), ("x",), ()),
        (lambda x: torch.rand(1), (), ("torch's random state",)),
    ],
)
def test_a_watched_call_names_what_it_changed(change, inputs, state):
    """Numbers, signs of zeros and shapes of inputs; NaN is equal to itself; random state."""

    def call(x, y):
        change(x)
        return y + 1

    tensors = {"x": torch.tensor([[1.0, float("nan")], [0.0, 0.0], [2.0, 3.0]]), "y": torch.ones(1)}
    returned = prepared(call).call(tensors, watched=True)
    assert (inputs, state, {}) == (returned.changed_inputs, returned.changed_state, returned.shared_memory)


def test_memory_of_an_input_is_named():
    """A view of an input is no memory of its own, for output and weights alike."""
    tensors = {"x": torch.ones(3), "y": torch.ones(1)}
    returned = prepared(lambda x, y: (y + 1, x[:1])).call(tensors, watched=True)
    assert {"weights": "x"} == returned.shared_memory


def test_keywords_reach_the_call_and_nothing_else_does():
    """`training` is passed where it is true; seed and threads hold during the call alone."""
    seen = []

    def call(x, **keywords):
        seen.append((keywords, torch.rand(1).item(), torch.get_num_threads()))
        return x.clone()

    subject, tensors = prepared(call), {"x": torch.ones(1)}
    before, threads = torch.random.get_rng_state(), torch.get_num_threads()
    for _ in range(2):
        subject.call(tensors, training=True, seed=3, threads=2)
    assert torch.equal(before, torch.random.get_rng_state())
    assert threads == torch.get_num_threads()
    subject.call(tensors)
    assert seen[0] == seen[1]
    assert ({"training": True}, 2) == (seen[0][0], seen[0][2])
    assert {} == seen[2][0]


def test_first_and_second_derivatives():
    """Of x^3 y with the upstream 2: 6 x^2 y by x, 2 x^3 by y; then along (1, 10) by a product rule."""
    tensors = {"x": torch.tensor([3.0]), "y": torch.tensor([5.0]), "n": torch.tensor([1])}
    subject = prepared(lambda x, y, n: (x**3 * y, None))
    first = subject.gradients(tensors, torch.tensor([2.0]))
    assert {"x": 270.0, "y": 54.0} == {name: found.item() for name, found in first.by_name.items()}
    assert 135.0 == first.output.item()
    assert not first.output.requires_grad
    assert ["y"] == list(subject.gradients(tensors, torch.tensor([2.0]), ["y"]).by_name)
    directions = {"x": torch.tensor([1.0]), "y": torch.tensor([10.0])}
    second = subject.second_derivatives(tensors, torch.tensor([2.0]), directions)
    # d/dx (6 x^2 y + 20 x^3) = 12 x y + 60 x^2; d/dy = 6 x^2
    assert {"x": 720.0, "y": 54.0} == {name: found.item() for name, found in second.by_name.items()}


@pytest.mark.parametrize("accumulated", [False, True])
def test_a_call_between_the_passes(accumulated):
    """It is made after the forward pass and before the backward pass, with the same tensors requiring a gradient."""
    seen = []

    def square(x):
        seen.append((x.item(), x.requires_grad))
        out = x * x
        if seen[0][0] == x.item():
            out.register_hook(lambda gradient: seen.append("backward"))
        return out

    tensors, between = {"x": torch.tensor([3.0])}, {"x": torch.tensor([5.0])}
    found = prepared(square).gradients(tensors, torch.ones(1), ["x"], between=between, accumulated=accumulated)
    assert [(3.0, True), (5.0, True), "backward"] == seen
    assert 6.0 == found.by_name["x"].item()


def test_a_call_between_the_passes_of_a_reentrant_checkpoint():
    """It is made again where the forward pass is."""
    seen = []

    def square(x):
        return checkpoint(lambda x: (seen.append(x.item()), x * x)[1], x, use_reentrant=True)

    tensors, between = {"x": torch.tensor([3.0])}, {"x": torch.tensor([5.0])}
    assert 6.0 == prepared(square).gradients(tensors, torch.ones(1), between=between).by_name["x"].item()
    assert [3.0, 5.0, 3.0, 5.0, 3.0] == seen  # the last one in the backward pass


@pytest.mark.parametrize(
    ("function", "differentiable"),
    [
        (lambda x: x.detach() + 1, False),
        (lambda x: (x * 2).sum(), True),
        (lambda x: (x * 2).double(), True),
        (lambda x: "no tensor", False),
    ],
)
def test_what_cannot_be_differentiated_has_no_derivatives(function, differentiable):
    """Another shape or dtype than the upstream's raises nothing: its form is judged."""
    subject, tensors = prepared(function), {"x": torch.ones(2)}
    for found in (
        subject.gradients(tensors, torch.ones(2)),
        subject.second_derivatives(tensors, torch.ones(2), {"x": torch.ones(2)}),
    ):
        assert (differentiable, {}) == (found.differentiable, found.by_name)


@pytest.mark.parametrize(("power", "second_by_x"), [(2, 4.0), (1, None)])
def test_a_tensor_that_the_output_does_not_depend_on_has_none(power, second_by_x):
    """None stands for it, in either order of derivatives, and for all where first derivatives are constant."""
    tensors = {"x": torch.ones(1), "y": torch.ones(1)}
    subject = prepared(lambda x, y: 2 * x**power if power > 1 else 2 * x)
    assert None is subject.gradients(tensors, torch.ones(1)).by_name["y"]
    second = subject.second_derivatives(tensors, torch.ones(1), {name: torch.ones(1) for name in tensors}).by_name
    assert {"x": second_by_x, "y": None} == {name: None if one is None else one.item() for name, one in second.items()}


def test_what_is_no_callable_is_refused():
    """With what came and what was expected."""
    with pytest.raises(ImplementationRaised, match=r"TypeError.*returned int, expected a callable"):
        prepared(3)
