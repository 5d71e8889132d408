"""Whatever the roundings of its every step, an implementation of a whole formula stays within the whole bound."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attention_harness.bounds.tape import Taped, gradients
from attention_harness.cases.inputs import shape_of
from attention_harness.options import OPTIONS
from attention_harness.registry import mechanisms
from tests.bounds.soundness.adversary import Adversary
from tests.bounds.soundness.scenarios import MODELS, Leaf, ratio
from tests.conftest import DEEP

SIZES = {"B": 2, "H": 2, "Hk": 1, "Lq": 3, "Lk": 5, "L": 4, "P": 5, "D": 4, "Dv": 3, "Dq": 4, "Dk": 3, "A": 5, "E": 4}
SIZES |= {"Eq": 3, "Ek": 4, "Ev": 3, "O": 3, "C": 4, "R": 2}
MODES = ("nearest", "random", "up", "down")
DRAWN = settings(max_examples=100 if DEEP else 2, derandomize=not DEEP, deadline=None, database=None)
FORMULA = pytest.mark.parametrize("name", mechanisms())
MODEL = pytest.mark.parametrize("model", MODELS)


class Problem:
    """A mechanism's tensors and one of its choices, with a mask and a bias that hide some keys, and a cap by chance."""

    def __init__(self, name: str, rng: np.random.Generator) -> None:
        self.known, self.rng = mechanisms()[name], rng
        sizes = SIZES if "grouped_heads" in self.known.options else SIZES | {"Hk": 2}
        self.leaves = {}
        for declared in self.known.inputs:
            shape = shape_of(declared.axes, sizes)
            drawn = rng.normal(size=shape)
            self.leaves[declared.name] = Leaf(drawn / np.sqrt(shape[-1]) if declared.parameter else 2 * drawn)
        self.options = {option: rng.choice(values) for option, values in self.known.choices.items()}
        self.options |= {keyword: sizes[axis] for keyword, axis in self.known.settings.items()}
        if self.known.scores:
            scores = shape_of(self.known.scores, sizes)
            self.options["mask"] = rng.random(scores[-2:]) < 0.7
            self.leaves["bias"] = Leaf(np.where(rng.random(scores) < 0.8, rng.normal(size=scores), -np.inf))
            if "softcap" in self.known.options and rng.random() < 0.5:
                self.options["softcap"] = float(rng.choice([1.5, 0.3]))  # the second is exact in no format
        if "update_rate" in self.known.options:
            self.add_gates(sizes)
        self.output = shape_of(self.known.output, sizes)

    def add_gates(self, sizes) -> None:
        """Add a decay, a rate, or both, to keys that are not much longer than 1: steps that shrink what was wrong."""
        self.leaves["key"] = Leaf(self.leaves["key"].value / 4)
        axes = OPTIONS["decay"].tensor.axes(str(self.rng.choice(["head", "feature"])), ())
        gates = {"decay": -np.abs(self.rng.normal(size=shape_of(axes, sizes)))}
        gates["update_rate"] = self.rng.random(shape_of(OPTIONS["update_rate"].tensor.axes("", ()), sizes))
        left_out = self.rng.choice(["decay", "update_rate", ""])
        self.leaves |= {name: Leaf(x) for name, x in gates.items() if name != left_out}

    def evaluated(self, arrays):
        """Return the output as it is handed out."""
        return self.known.evaluate(**self.options, **arrays)[0].as_output()

    def arrays(self, model, adversary=None):
        """Return the inputs as tracked arrays, or as an implementation holds them."""
        leaves = self.leaves.items()
        return {n: x.simulated(model, adversary) if adversary else x.tracked(model) for n, x in leaves}

    def gradients(self, model, upstream: Leaf, adversary=None):
        """Return the gradient of <upstream, output> for every input, as it is handed out."""
        taped = {name: Taped(array) for name, array in self.arrays(model, adversary).items()}
        adjoint = upstream.simulated(model, adversary) if adversary else upstream.tracked(model)
        found = gradients([(self.evaluated(taped), adjoint)], list(taped.values()))
        return {name: x.as_output() for name, x in zip(taped, found, strict=True)}

    def second(self, model, upstream: Leaf, directions, adversary=None):
        """Return the gradient of the sum of <direction, gradient> over the inputs, as it is handed out."""

        def made(leaf):
            return leaf.simulated(model, adversary) if adversary else leaf.tracked(model)

        outer = {name: Taped(array) for name, array in self.arrays(model, adversary).items()}
        inner = {name: Taped(array) for name, array in outer.items()}
        found = gradients([(self.evaluated(inner), Taped(made(upstream)))], list(inner.values()))
        pairs = [(x, made(directions[name])) for name, x in zip(inner, found, strict=True) if isinstance(x, Taped)]
        second = gradients(pairs, list(outer.values()))
        return {name: x.as_output() for name, x in zip(outer, second, strict=True) if x is not None}


@FORMULA
@MODEL
@DRAWN
@given(seed=st.integers(0, 2**32))
def test_the_output_stays_within_its_bound(name, model, seed):
    """With a mask and a bias, rows that see no key among them."""
    rng = np.random.default_rng(seed)
    problem = Problem(name, rng)
    bound = problem.evaluated(problem.arrays(MODELS[model]))
    for mode in MODES:
        held = problem.evaluated(problem.arrays(MODELS[model], Adversary(mode, rng)))
        assert ratio(bound, held) <= 1, mode


@FORMULA
@MODEL
@DRAWN
@given(seed=st.integers(0, 2**32))
def test_the_gradients_stay_within_their_bounds(name, model, seed):
    """Of every tensor, the bias among them."""
    rng = np.random.default_rng(seed)
    problem = Problem(name, rng)
    upstream = Leaf(rng.normal(size=problem.output))
    bounds = problem.gradients(MODELS[model], upstream)
    for mode in MODES:
        held = problem.gradients(MODELS[model], upstream, Adversary(mode, rng))
        ratios = {name: ratio(bound, held[name]) for name, bound in bounds.items()}
        assert {name: found for name, found in ratios.items() if found > 1} == {}, mode


@pytest.mark.parametrize("name", [name for name, known in mechanisms().items() if known.scores])
@DRAWN
@given(seed=st.integers(0, 2**32))
def test_second_derivatives_stay_within_their_bounds(name, seed):
    """Where all steps are stored in one format, as second derivatives are asked in float64 alone."""
    rng = np.random.default_rng(seed)
    problem, model = Problem(name, rng), MODELS["one format"]
    upstream = Leaf(rng.normal(size=problem.output))
    directions = {key: Leaf(rng.normal(size=leaf.value.shape)) for key, leaf in problem.leaves.items()}
    bounds = problem.second(model, upstream, directions)
    for mode in MODES:
        held = problem.second(model, upstream, directions, Adversary(mode, rng))
        ratios = {key: ratio(bound, held[key]) for key, bound in bounds.items()}
        assert {key: found for key, found in ratios.items() if found > 1} == {}, mode
