"""No rounding that a declared arithmetic allows takes an operation out of its bound, and hardly any bound is wider."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attention_harness.bounds.difference import Difference
from attention_harness.bounds.elementary import Elementary
from attention_harness.bounds.operations import Tracked
from attention_harness.bounds.root_mean_square import RootMeanSquare
from attention_harness.bounds.softmax import Weights
from attention_harness.bounds.tape import Taped
from attention_harness.bounds.ufuncs import Ufuncs
from tests.bounds.soundness.adversary import Adversary
from tests.bounds.soundness.scenarios import MODELS, OPERATIONS, Leaf, gradient_ratio, value_ratio
from tests.conftest import DEEP

MODES = ("nearest", "random", "up", "down")
NAMED = pytest.mark.parametrize("name", OPERATIONS)
DRAWN = settings(max_examples=100 if DEEP else 3, derandomize=not DEEP, deadline=None, database=None)
WITHOUT_ROUNDING = {"either", "like", "rounded"}  # what the others are made of


def operations_of(kind: type) -> set[str]:
    """Return the names of a class's operations: its public methods and operators."""
    own = [part for part in kind.__mro__ if part not in (object, RootMeanSquare, Ufuncs)]
    names = {name for part in own for name in vars(part)}
    operators = {name for name in names if name.startswith("__") and hasattr(np.ndarray, name)}
    operators -= {"__init__", "__doc__", "__module__", "__dict__", "__weakref__", "__hash__", "__array_ufunc__"}
    methods = {name for name in names if not name.startswith("_") and callable(getattr(kind, name, None))}
    return (methods | operators) - WITHOUT_ROUNDING


def drawn(leaf: Leaf, rng: np.random.Generator) -> Leaf:
    """Return an input of the same shape with other numbers, off by nothing, little or much."""
    value = rng.normal(size=leaf.value.shape) * 2.0 ** rng.integers(-3, 4)
    return Leaf(value, 0.0 if leaf.parameter else np.abs(value) * rng.choice([0.0, 2.0**-10, 2.0**-5]))


@pytest.mark.parametrize("kind", [Tracked, Elementary, Weights, Difference, Taped])
def test_every_operation_has_its_scenario(kind):
    """An operation that is added to an array without one here is seen."""
    named = {name if name in OPERATIONS else f"{kind.__name__}.{name}" for name in operations_of(kind)}
    assert named - set(OPERATIONS) == set()
    assert len(named) > {Elementary: 3, Weights: 4, Difference: 2}.get(kind, 20)


@NAMED
def test_a_bound_a_tenth_too_small_is_caught(name):
    """Where every rounding goes up, the error passes nine tenths of the bound, and never the bound."""
    scenario = OPERATIONS[name]
    for leaves, model in [(scenario.leaves, scenario.model), *scenario.also]:
        ratios = [value_ratio(scenario.run, leaves, model, Adversary(mode)) for mode in ("up", "down")]
        assert 0.9 < max(ratios) <= 1


@pytest.mark.parametrize("name", [name for name, scenario in OPERATIONS.items() if scenario.upstream is not None])
def test_a_gradient_s_bound_a_tenth_too_small_is_caught(name):
    """The same of what a tape makes of the operation, whose inputs are exact."""
    scenario = OPERATIONS[name]
    leaves = [replace(leaf, bound=0.0) for leaf in scenario.leaves]
    ratios = [
        gradient_ratio(scenario.run, leaves, scenario.upstream, scenario.model, Adversary(mode))
        for mode in ("up", "down")
    ]
    assert 0.9 < max(ratios) <= 1


@NAMED
@pytest.mark.parametrize("model", MODELS)
@DRAWN
@given(seed=st.integers(0, 2**32))
def test_no_rounding_leaves_the_bound(name, model, seed):
    """Drawn numbers, whose roundings go to nearest, by chance, all up or all down; values and gradients.

    Four examples of each here; `python -m tox -e thorough` draws a hundred.
    """
    scenario, rng = OPERATIONS[name], np.random.default_rng(seed)
    leaves = [drawn(leaf, rng) for leaf in scenario.leaves]
    for mode in MODES:
        adversary = Adversary(mode, rng)
        assert value_ratio(scenario.run, leaves, MODELS[model], adversary) <= 1, mode
        if scenario.upstream is not None:
            upstream = drawn(scenario.upstream, rng)
            assert gradient_ratio(scenario.run, leaves, upstream, MODELS[model], adversary) <= 1, mode
