"""Worked examples, step by step: what goes in, each layer, the scores, the weights and the output of the reference."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from attention_harness.cases import notes_sample
from attention_harness.model.mechanism_facts import LARGEST, Given, InputFacts, Matrix, Numbers, Step, WorkedExample
from attention_harness.reference.arrays import Plain, Words
from attention_harness.reference.specification import Example, Mechanism

_MOST_MATRICES = 4
_DIGITS = 12  # beyond these the order of a sum shows


class Observed(Plain, np.ndarray):
    """A NumPy array that notes the layers and the scores that a formula computes with it."""

    seen: list[tuple[str, Any]]

    def __array_finalize__(self, parent: Any) -> None:
        self.seen = getattr(parent, "seen", [])

    def softmax(self, visible: Any, fully_masked_rows: Words) -> Any:
        """Return the softmax, and note its scores, NaN where a key is hidden."""
        self.seen.append(("scores", np.where(visible, np.asarray(self), np.nan)))
        return Plain.softmax(self, visible, fully_masked_rows)

    @staticmethod
    def linear(parts: tuple[Any, ...], weight: Any, bias: Any) -> Any:
        """Return the layer's result, and note it."""
        result = Plain.linear(parts, weight, bias)
        parts[0].seen.append(("projection", np.asarray(result)))
        return result


def observed(
    known: Mechanism, arrays: Mapping[str, Any], arguments: Mapping[str, Any]
) -> tuple[list[tuple[str, Any]], Any, Any]:
    """Return what a formula computes on the way, by kind and in its order, then its output and weights."""
    seen: list[tuple[str, Any]] = []
    views: dict[str, Any] = {}
    for name, array in arrays.items():
        views[name] = np.array(array, np.float64).view(Observed)
        views[name].seen = seen
    output, weights = known.evaluate(**views, **arguments)
    return seen, np.asarray(output), None if weights is None else np.asarray(weights)


def worked_examples(known: Mechanism) -> tuple[WorkedExample, ...]:
    """Return the notes' examples of a mechanism, and their sample put through it where they do not do that themselves.

    What can be read comes first: of a large example only the shapes are shown.
    """
    found = [_of_notes(known, example) for example in known.examples]
    if not any(example.name.startswith("waist") for example in known.examples):
        found += _ours(known)
    return tuple(sorted(found, key=lambda one: not all(step.computed.matrices for step in one.steps)))


def _of_notes(known: Mechanism, example: Example) -> WorkedExample:
    expected = {"scores": example.scores, "weights": example.weights, "output": example.output}
    if known.returns_weights:
        expected["weights"] = example.output
    return WorkedExample(
        name=example.name,
        of_notes=True,
        source=example.source,
        given=_given(known, example.inputs),
        steps=_steps(known, example.inputs, example.options, expected),
        options=_in_words(example.options),
        digits=example.digits,
        remark=example.remark,
    )


def _ours(known: Mechanism) -> tuple[WorkedExample, ...]:
    arrays, arguments = notes_sample.sample(known)
    if not arrays:
        return ()
    source = ". ".join(filter(None, (notes_sample.IN_WORDS, notes_sample.BY_NAME.get(known.name))))
    given, steps = _given(known, arrays), _steps(known, arrays, arguments, {})
    return (WorkedExample("waist_and_chest", False, source, given, steps, _in_words(arguments)),)


def _in_words(options: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} = {value}" for name, value in options.items())


def _given(known: Mechanism, arrays: Mapping[str, Any]) -> tuple[Given, ...]:
    return tuple(Given(one.name, one.symbol, _numbers(known, one.axes, arrays[one.name])) for one in known.inputs)


def _steps(
    known: Mechanism, arrays: Mapping[str, Any], arguments: Mapping[str, Any], expected: Mapping[str, Any]
) -> tuple[Step, ...]:
    seen, output, weights = observed(known, arrays, arguments)
    if weights is not None:
        seen.append(("weights", weights))
    seen.append(("output", output))
    steps = []
    for formula, (kind, array) in zip(known.steps, seen, strict=True):
        axes = {"output": known.output, "weights": known.scores, "scores": known.scores}.get(kind, ("B", "H"))
        stated = expected.get(kind)
        if formula:
            numbers = None if stated is None else _numbers(known, axes, stated)
            steps.append(Step(kind, formula, _numbers(known, axes, array), numbers))
    return tuple(steps)


def _numbers(known: Mechanism, axes: tuple[str, ...], values: Any) -> Numbers:
    """Return a tensor with its numbers, if they are few enough to be read."""
    array = np.asarray(values, np.float64)
    array = array.reshape(1, -1) if array.ndim < 2 else array
    flat = array.reshape(-1, *array.shape[-2:])
    if max(flat.shape[1:]) > LARGEST or len(flat) > _MOST_MATRICES:
        return Numbers(np.shape(values))
    words = {"B": "batch", "H": "head", "Hk": "head"}
    labels = [
        ", ".join(
            f"{words.get(axis, axis)} {place + 1}"
            for axis, place, length in zip(axes, at, array.shape, strict=False)
            if length > 1
        )
        for at in np.ndindex(array.shape[:-2])
    ]
    matrices = tuple(
        Matrix(label, tuple(tuple(map(_number, row)) for row in matrix.tolist()))
        for label, matrix in zip(labels, flat, strict=True)
    )
    return Numbers(np.shape(values), matrices)


def _number(value: float) -> float | None:
    return float(f"{value:.{_DIGITS}g}") if math.isfinite(value) else None


def input_facts(known: Mechanism) -> tuple[InputFacts, ...]:
    """Return what a mechanism's tensors are called, are shaped like and mean."""
    return tuple(InputFacts(i.name, i.symbol, " ".join(i.axes), i.meaning, i.parameter) for i in known.inputs)
