"""The cases that no factor makes: worked examples, recordings, plain problems, empty lengths, sampled options."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from attention_harness.cases.recordings import recorded, recordings
from attention_harness.cases.space import Variant, variants
from attention_harness.model.case import Case
from attention_harness.options import OPTIONS, Option
from attention_harness.reference.specification import Example, Mechanism
from attention_harness.registry import mechanisms

EMPTY_LENGTHS = ((0, 5), (5, 0))  # outside the factors: whatever a length of 0 is paired with would not be seen
_SAMPLED: dict[str, Any] = {"batches": (4, 4, 4)}  # enough batches and heads to see a random mask that they share


def example_cases() -> list[Case]:
    """Return the worked examples of the notes, in float64 and float32."""
    return [
        _example(known, example, dtype)
        for known in mechanisms().values()
        for example in known.examples
        for dtype in ("float64", "float32")
    ]


def _example(known: Mechanism, example: Example, dtype: str) -> Case:
    sizes: dict[str, int] = {}
    for declared in known.inputs:
        shape = np.shape(example.inputs[declared.name])
        sizes |= {axis: n for axis, n in zip(declared.axes, shape, strict=True) if axis in known.axes}
    options: dict[str, Any] = {}
    for name, value in example.options.items():
        option = OPTIONS.get(name)
        options[name] = _form(option, np.shape(value), known, sizes) if option and option.tensor else value
    return Case(known.name, sizes, dtype, options, f"example.{example.name}")


def _form(option: Option, shape: tuple[int, ...], known: Mechanism, sizes: dict[str, int]) -> str:
    """Return the form of an option whose tensor has this shape."""
    assert option.tensor is not None
    for form in option.forms:
        axes = option.tensor.axes(form, known.scores)
        if tuple(1 if axis == "1" else sizes[axis] for axis in axes) == shape:
            return str(form)
    raise ValueError(f"an example of {known.name} has {option.name} of shape {shape}, which is no form of it")


def recorded_cases() -> list[Case]:
    """Return the recorded real inputs: query, key, value and padding mask of a trained model."""
    found = []
    for name in recordings():
        batch, heads, queries, width = recorded(name, "query").shape
        sizes = {"B": batch, "H": heads, "Hk": heads, "Lq": queries, "Lk": queries, "D": width, "Dv": width}
        for dtype in ("float64", "float32", "bfloat16"):
            found.append(Case("scaled_dot_product", sizes, dtype, {"mask": "batch"}, f"recorded.{name}"))
    return found


def shown_cases() -> list[Case]:
    """Return the examples, the recordings and every variant without options: what a report draws, at no cost."""
    return [*example_cases(), *recorded_cases(), *(variant.plain() for variant in variants())]


def sampled_cases() -> list[Case]:
    """Return one case for every mechanism with each option that the factors do not combine, such as dropout."""
    first: dict[str, Variant] = {}
    for variant in variants():
        first.setdefault(variant.mechanism.name, variant)
    apart = [option for option in OPTIONS.values() if option.more_forms and not option.forms]
    plain = [(option, v.plain(**_SAMPLED)) for option in apart for v in first.values() if v.takes(option.name, None)]
    return [replace(case, options={**case.options, option.name: option.more_forms[0]}) for option, case in plain]


def anchors(tier: str) -> list[Case]:
    """Return the cases that a tier has whatever its factors combine."""
    fixed = [*shown_cases(), *sampled_cases()]
    if tier == "quick":
        return [case for case in fixed if case.dtype == "float32"]
    plain = [variant.plain("float64") for variant in variants()]
    empty = [variant.plain(lengths=lengths) for lengths in EMPTY_LENGTHS for variant in variants()]
    return list(dict.fromkeys([*fixed, *plain, *empty]))


def fixed_problem(case: Case) -> Case | None:
    """Return the one problem that a worked example or a recording stands for; None where there is none of that name."""
    found = [one for one in (*example_cases(), *recorded_cases()) if one.content == case.content]
    return next((one for one in found if one.mechanism == case.mechanism), None)
