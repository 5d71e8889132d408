"""Every mechanism's declaration says what its function does, and the oracle leans on NumPy alone."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import attention_harness.reference
from attention_harness.model.case import AXES
from attention_harness.options import OPTIONS, Group, capabilities
from attention_harness.reference import core
from attention_harness.reference.specification import SCORED
from attention_harness.registry import mechanisms

MECHANISM = pytest.mark.parametrize("mechanism", mechanisms().values(), ids=mechanisms())
# All of the notes, and those that users run beyond them.
NAMES = {
    *(
        "dot_product",
        "scaled_dot_product",
        "cosine",
        "additive",
        "concat_tanh",
        "tanh_gated",
        "gaussian_kernel",
    ),
    *("location", "projected", "multi_head", "self_attention", "cross_attention", "latent_attention"),
    *("masked_softmax", "positional_encoding", "rotary_embedding", "differential_attention", "linear_attention"),
}


def words(mechanism) -> str:
    """Return the specification on one line."""
    return " ".join(inspect.getdoc(mechanism.evaluate).split())


def test_all_mechanisms_of_the_design_are_there():
    """No formula of the notes is missing, and each stands in the file of its name."""
    assert set(mechanisms()) == NAMES
    for name, mechanism in mechanisms().items():
        assert mechanism.name == mechanism.evaluate.__name__ == name
        assert mechanism.evaluate.__module__ == f"attention_harness.reference.{name}"


@MECHANISM
def test_the_docstring_is_the_specification(mechanism):
    """It states one LaTeX formula with balanced braces, the shapes, the fully masked rows and the source."""
    formula = mechanism.formula
    assert formula.count("{") == formula.count("}") > 0
    assert formula.count(r"\left") == formula.count(r"\right")
    assert "$$" not in formula
    assert words(mechanism).count("$$") == 2
    for part in ("Shapes: ", "Fully masked rows: ", "Source: "):
        assert words(mechanism).count(part) == 1, part
    beyond = "beyond the notes"
    assert mechanism.source.startswith(("note", beyond))
    assert words(mechanism).split("Source: ")[1].startswith(beyond if beyond in mechanism.source else "note")


@MECHANISM
def test_the_docstring_gives_the_declared_shapes(mechanism):
    """Every input stands there with its axes, and so do the output's and the weights' axes."""
    shapes = words(mechanism).split("Shapes: ")[1].split("Fully masked rows: ")[0].replace("Dq + D", "Dq+D")
    before, _, after = shapes.partition("-> ")
    for declared in mechanism.inputs:
        axes = re.escape(f"({', '.join(declared.axes)})")
        assert re.search(rf"\b{declared.name}( \w)? {axes}", before), declared.name
    if "of the same shape" in after:
        assert mechanism.output == mechanism.inputs[0].axes == mechanism.scores
    else:
        assert f"({', '.join(mechanism.output)})" in after
        assert not mechanism.scores or f"weights ({', '.join(mechanism.scores)})" in after


@MECHANISM
def test_the_inputs_are_the_parameters_of_the_function(mechanism):
    """Same names, same order; choices and settings are keywords; visibility is taken exactly where it is declared."""
    parameters = inspect.signature(mechanism.evaluate).parameters.values()
    by_kind = {kind: [p.name for p in parameters if p.kind is kind] for kind in type(next(iter(parameters)).kind)}
    kinds = inspect.Parameter
    assert [declared.name for declared in mechanism.inputs] == by_kind[kinds.POSITIONAL_OR_KEYWORD]
    named = [one for one in OPTIONS.values() if one.group is Group.NAMED and one.of_sizes is None and one.in_formula]
    taken = {one.name for one in named if set(one.capabilities) & set(mechanism.options)}
    for one in OPTIONS.values():
        taken |= set(one.brought) if set(one.capabilities) & set(mechanism.options) else set()
    own = {*mechanism.choices, *mechanism.settings, *taken}
    assert own == set(by_kind[kinds.KEYWORD_ONLY])
    assert bool(set(mechanism.options) & set(SCORED)) == bool(by_kind[kinds.VAR_KEYWORD])
    assert all(declared.meaning for declared in mechanism.inputs)


@MECHANISM
def test_the_options_are_the_harness_s_and_grouped_heads_have_their_axis(mechanism):
    """No option is unknown; a mechanism groups heads where it has key heads; causality needs keys in a row."""
    assert set(mechanism.options) <= set(capabilities())
    assert len(set(mechanism.options)) == len(mechanism.options)
    assert ("grouped_heads" in mechanism.options) == ("Hk" in mechanism.axes)
    assert bool(set(mechanism.options) & set(SCORED)) == bool(mechanism.scores)
    causal = {"causal_top_left", "causal_bottom_right"} & set(mechanism.options)
    assert (len(causal) == 2) == (bool(mechanism.scores) and mechanism.scores[-1] != "P")


@MECHANISM
def test_every_axis_has_a_length(mechanism):
    """Output and scores are made of the inputs' letters, and all letters are known to a case's id."""
    inputs = {letter for declared in mechanism.inputs for axis in declared.axes for letter in axis.split("+")}
    letters = set(mechanism.axes)
    assert letters == (inputs | set(mechanism.settings.values())) - {"1"}
    assert set(mechanism.output) | set(mechanism.scores) <= letters <= {*AXES, *mechanism.letters}
    assert {axis for pair in mechanism.requires for axis in pair} <= letters


@MECHANISM
def test_the_examples_fit_the_declaration(mechanism):
    """Equal letters have equal lengths, options are declared, and names are used once."""
    assert len({example.name for example in mechanism.examples}) == len(mechanism.examples)
    for example in mechanism.examples:
        sizes = {}
        for declared in mechanism.inputs:
            for axis, length in zip(declared.axes, np.shape(example.inputs[declared.name]), strict=True):
                expected = sum(sizes[letter] for letter in axis.split("+")) if "+" in axis else sizes.get(axis, length)
                assert expected == length, (example.name, declared.name, axis)
                sizes[axis] = length
        assert set(example.options) <= {*mechanism.options, *mechanism.choices}
        assert set(example.shapes) <= {"output", "weights"}


def test_the_core_refuses_an_option_that_it_does_not_know():
    """A misspelt option is an error that names those there are, and never silently dropped."""
    with pytest.raises(TypeError, match="unknown option 'maks'; known: alibi, base, bias, cache_lens, causal"):
        core.visible_keys((1, 2, 2), maks=np.ones((2, 2), bool))


def test_the_oracle_imports_numpy_alone():
    """A fresh interpreter that imports every reference has loaded no framework, and of ours only options and model."""
    folder = Path(attention_harness.reference.__path__[0])
    modules = [f"attention_harness.reference.{path.stem}" for path in sorted(folder.glob("[!_]*.py"))]
    program = (
        "import importlib, sys, numpy; before = set(sys.modules)\n"
        f"for name in {modules!r}: importlib.import_module(name)\n"
        "print(*{'.'.join(name.split('.')[:2]) for name in set(sys.modules) - before})"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = {name for name in ran.stdout.split() if name.partition(".")[0] not in sys.stdlib_module_names}
    ours = {name.removeprefix("attention_harness.") for name in loaded if name.startswith("attention_harness.")}
    assert {name.partition(".")[0] for name in loaded} <= {"attention_harness", "numpy"}
    assert ours <= {"reference", "options", "model"}
    assert {f"attention_harness.reference.{name}" for name in NAMES} < set(modules)
