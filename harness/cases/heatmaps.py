"""The attention weights that the report draws: one panel or more for every mechanism, from the reference."""

from __future__ import annotations

import math

import numpy as np

from attention_harness.cases import inputs
from attention_harness.cases.anchors import shown_cases
from attention_harness.model.case import Case
from attention_harness.model.run_facts import Heatmap
from attention_harness.options import required
from attention_harness.registry import mechanisms

_LARGEST = 64  # rows and columns that a panel can show


def heatmaps() -> dict[str, list[Heatmap]]:
    """Return, by mechanism, panels of numbers: queries down, keys across; for the encoding, positions and columns."""
    panels: dict[str, list[Heatmap]] = {name: [] for name in mechanisms()}
    for case in _shown():
        panels[case.mechanism].append(_panel(case))
    return panels


def _shown() -> list[Case]:
    """Return, for each mechanism, its plain cases, its recorded inputs and its worked examples."""
    wanted = [case for case in shown_cases() if case.dtype == "float32" and min(case.sizes.values()) > 0]
    plain = [case for case in wanted if case.content == "ordinary" and not required(case) and case.draw == 0]
    special = [case for case in wanted if case.content.startswith(("example.valid", "example.waist", "recorded."))]
    return [*plain, *special]


def _panel(case: Case) -> Heatmap:
    known = mechanisms()[case.mechanism]
    output, weights = known.evaluate(**inputs.exact(inputs.tensors(case)), **inputs.arguments(case))
    shown = output if weights is None else weights
    head = shown.reshape(-1, *shown.shape[-2:])[0][:_LARGEST, :_LARGEST]
    axes = ("position", "column") if weights is None else ("query", "key")
    title = "encoded sequence" if weights is None else "weights of the first batch and head"
    values = tuple(tuple(map(_shown_number, row)) for row in np.round(head, 6).tolist())
    return Heatmap(case=case.id, title=title, rows=axes[0], columns=axes[1], values=values)


def _shown_number(value: float) -> float | None:
    """Return a number, None where it is not finite: there is none to show."""
    return value if math.isfinite(value) else None
