"""The attention weights that the report draws: every mechanism on the notes' numbers and on a trained model's."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from attention_harness.cases import inputs
from attention_harness.cases.anchors import example_cases, recorded_cases
from attention_harness.cases.notes_sample import sample
from attention_harness.cases.real_sample import TITLE, real_sample
from attention_harness.model.case import Case
from attention_harness.model.run_facts import Heatmap
from attention_harness.reference.specification import Mechanism
from attention_harness.registry import mechanisms

_LARGEST = 64  # rows and columns that a panel can show
_HEADS = 4  # panels of one mechanism that differ in the head alone


def heatmaps() -> dict[str, list[Heatmap]]:
    """Return, by mechanism, panels of numbers: queries down, keys across; for the encoding, positions and columns."""
    panels: dict[str, list[Heatmap]] = {}
    for name, known in mechanisms().items():
        found = [*_of_notes(known), *_of_real_input(known), *_of_zeros(known)]
        drawn = {(one.values, one.input): one for one in found[::-1]}
        panels[name] = [*drawn.values()][::-1]  # of panels that are alike, the first
    return panels


def _of_notes(known: Mechanism) -> Iterator[Heatmap]:
    """Yield the notes' examples that have numbers, and their sample where no example is made of it."""
    cases = [one for one in example_cases() if one.mechanism == known.name and one.dtype == "float64"]
    for case in cases:
        if known.example(case.content.removeprefix("example.")).output is not None:
            yield from _of_case(known, case, "notes")
    arrays, arguments = sample(known)
    if arrays and not any(case.content.startswith("example.waist") for case in cases):
        yield from _panels(known, arrays, arguments, "the notes' two-dimensional sample", "notes")


def _of_real_input(known: Mechanism) -> Iterator[Heatmap]:
    """Yield the first tokens of a recording through every variant of the mechanism, and the whole recordings of it."""
    for said, arrays, arguments in real_sample(known):
        yield from _panels(known, arrays, arguments, f"{TITLE}{said}", "recorded")
    for case in recorded_cases():
        if case.mechanism == known.name and case.dtype == "float32":
            yield from _of_case(known, case, "recorded")


def _of_zeros(known: Mechanism) -> Iterator[Heatmap]:
    """Yield what a mechanism without scores adds to its input, if it adds anything: the encoding of positions."""
    arrays = {one.name: np.zeros((1,) * (len(one.axes) - 2) + (_LARGEST, 32)) for one in known.inputs}
    if not known.scores and np.any(known.evaluate(**arrays)[0]):
        yield from _panels(known, arrays, {}, "a sequence of zeros: what is added", "drawn")


def _of_case(known: Mechanism, case: Case, source: Any) -> Iterator[Heatmap]:
    """Yield the panel of a case's first batch and head."""
    title = case.content.replace(".", ": ").replace("_", " ")
    arrays = inputs.exact(inputs.tensors(case))
    yield next(_panels(known, arrays, inputs.arguments(case), title, source, case.id))


def _panels(
    known: Mechanism, arrays: Mapping[str, Any], arguments: Mapping[str, Any], title: str, source: Any, case: str = ""
) -> Iterator[Heatmap]:
    """Yield a panel for each head of the first batch."""
    output, weights = known.evaluate(**arrays, **arguments)
    axes = ("query", "key") if weights is not None else ("position", "column")
    shown = np.asarray(output if weights is None else weights)[0]
    heads = shown.reshape(-1, *shown.shape[-2:])[:_HEADS, :_LARGEST, :_LARGEST]
    for place, head in enumerate(heads):
        of_head = f", head {place + 1}" if len(heads) > 1 and not case else ""
        values = tuple(tuple(map(_shown_number, row)) for row in np.round(head, 6).tolist())
        yield Heatmap(case, f"{title}{of_head}", axes[0], axes[1], values, source)


def _shown_number(value: float) -> float | None:
    """Return a number, None where it is not finite: there is none to show."""
    return value if math.isfinite(value) else None
