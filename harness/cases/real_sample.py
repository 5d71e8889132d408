"""The first tokens of a recorded text as the input of every mechanism: all formulas are seen on one real problem.

A head of a trained model made queries, keys and values for scaled dot-product attention (`recordings`). The other
formulas get the same ones. What they need beside these is drawn, since the model has learned nothing for them.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attention_harness.cases.recordings import recorded
from attention_harness.reference.specification import Mechanism

_RECORDING, _HEAD, _OTHER, _TOKENS = "minilm_layer0", 4, 5, 24
TITLE = f"{_TOKENS} tokens of the Gettysburg Address, MiniLM layer 0, head {_HEAD + 1}"

Array = NDArray[np.float64]


def real_sample(known: Mechanism) -> Iterator[tuple[str, dict[str, Array], dict[str, Any]]]:
    """Yield, for each variant of a mechanism, what is particular to it in words, inputs, and choices and settings."""
    arrays = {}
    for declared in known.inputs:
        array = _parameter(known, declared.name) if declared.parameter else _tensor(known, declared.name)
        arrays[declared.name] = array if declared.parameter else _with_axes(array, declared.axes)
    learned = [declared.name for declared in known.inputs if declared.parameter]
    said = "; w = 1" if learned == ["w"] else "; learned tensors drawn" if learned else ""
    settings: dict[str, Any] = dict.fromkeys(known.settings, 4)
    for chosen in itertools.product(*known.choices.values()):
        choices = dict(zip(known.choices, chosen, strict=True))
        in_words = "".join(f"; {name} = {value}" for name, value in choices.items())
        yield f"{said}{in_words}", arrays, choices | settings


def _with_axes(array: Array, axes: tuple[str, ...]) -> Array:
    return array.reshape((1,) * (len(axes) - array.ndim) + array.shape)


def _recorded(name: str, head: int = _HEAD, text: int = 0) -> Array:
    return recorded(_RECORDING, name)[text, head, :_TOKENS].astype(np.float64)


def _tensor(known: Mechanism, name: str) -> Array:
    """Return what stands for a tensor of a mechanism."""
    if name == "scores":
        return _recorded("query") @ _recorded("key").T / math.sqrt(_recorded("query").shape[-1])
    if name == "context":  # the other text
        return _recorded("value", text=1)
    if name in ("latent", "sequence"):
        return _recorded("value")
    kind, _, part = name.partition("_")
    array = _recorded(kind, _HEAD if part in ("", "1") else _OTHER)
    if any(declared.name == name and declared.short for declared in known.inputs):
        array = array / np.linalg.norm(array, axis=-1, keepdims=True)
    return array


def _parameter(known: Mechanism, name: str) -> Array:
    """Return a learned tensor: drawn, so that a layer keeps the size of its input; w is 1."""
    declared = next(one for one in known.inputs if one.name == name)
    width: int = _recorded("value").shape[-1]
    lengths: dict[str, int] = {"P": _TOKENS, "H": 1, "1": 1}
    shape = tuple(sum(lengths.get(part, width) for part in axis.split("+")) for axis in declared.axes)
    if name == "w":
        return np.ones(shape)
    seed = [*known.name.encode(), *name.encode()]
    drawn = np.random.Generator(np.random.Philox(np.random.SeedSequence(seed))).standard_normal(shape)
    return drawn / math.sqrt(shape[-1])
