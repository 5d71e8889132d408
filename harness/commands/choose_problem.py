"""What `choose` is asked, from words to a case: the shape of the first tensor, and what follows from it."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from attention_harness.cases.ids import parse
from attention_harness.model.case import Case
from attention_harness.model.errors import HarnessError
from attention_harness.reference.specification import Mechanism
from attention_harness.registry import mechanism

GATE_SCORES = 1 << 19  # scores that the float64 reference and its error bound are asked for in reasonable time
EITHER = "either"  # --causal without a corner
_LAYOUT = ("shape", "kv_heads", "kv_length", "size")
_DESCRIBES = (*_LAYOUT, "dtype", "causal", "mask", "bias", "valid_lens", "scale", "option")
_LENGTHS = ("Lq", "Lk", "L", "P")


def case_of(options: argparse.Namespace) -> Case:
    """Return the case that the arguments describe; a case id describes itself."""
    if "-" in options.mechanism:
        given = [name for name in _DESCRIBES if getattr(options, name)]
        if given:
            extra = ", ".join(f"--{name.replace('_', '-')}" for name in given)
            raise HarnessError(f"{options.mechanism} is a case, which says all of that itself: leave out {extra}")
        return parse(options.mechanism).on(options.device)
    known = mechanism(options.mechanism)
    if options.shape is None:
        raise HarnessError(f"choose {known.name} needs --shape {_example(known)}: {_axes(known)}")
    sizes = _sizes(known, options)
    case = Case(known.name, sizes, options.dtype or "float32", _options(known, sizes, options))
    return parse(case.id).on(options.device)


def _axes(known: Mechanism) -> str:
    first = known.inputs[0]
    return f"the axes {' '.join(first.axes)} of its {first.name}"


def _example(known: Mechanism) -> str:
    usual = {"B": 1, "H": 8, "Lq": 256, "L": 256}
    return "x".join(str(usual.get(axis, 64)) for axis in known.inputs[0].axes)


def _sizes(known: Mechanism, options: argparse.Namespace) -> dict[str, int]:
    """Return a length for every axis: of the first tensor as given, of the others as they usually are."""
    numbers, first = re.findall(r"\d+", options.shape), known.inputs[0].axes
    if not re.fullmatch(r"\d{1,9}(x\d{1,9})*", options.shape) or len(numbers) != len(first):
        raise HarnessError(
            f"--shape {options.shape}: give {len(first)} numbers such as {_example(known)}: {_axes(known)}"
        )
    sizes = dict(zip(first, map(int, numbers), strict=True))
    width = int(numbers[-1])
    given = dict(_pair(text, "--size") for text in options.size)
    for axis, value in given.items():
        if axis not in known.axes or not value.isdecimal():
            raise HarnessError(f"--size {axis}={value}: {known.name} has the sizes {' '.join(known.axes)}")
    usual = {
        "Hk": options.kv_heads or sizes.get("H"),
        "Lk": options.kv_length or sizes.get("Lq"),
        "P": options.kv_length or sizes.get("Lq"),
    }
    for option, axis in (("kv_heads", "Hk"), ("kv_length", "Lk")):
        if getattr(options, option) is not None and not {axis, "P" if axis == "Lk" else axis} & set(known.axes):
            raise HarnessError(f"--{option.replace('_', '-')}: {known.name} has no {axis}")
    for axis in known.axes:
        if axis in given:
            sizes[axis] = int(given[axis])
        elif axis not in sizes:
            length = usual.get(axis, None if axis in ("B", "H") else width)
            if length is None:
                raise HarnessError(f"choose {known.name} needs --size {axis}=N: its shape does not say {axis}")
            sizes[axis] = length
    return sizes


def _options(known: Mechanism, sizes: Mapping[str, int], options: argparse.Namespace) -> dict[str, Any]:
    found: dict[str, Any] = {name: getattr(options, name) for name in ("mask", "bias", "valid_lens", "scale")}
    if options.causal is not None:
        found["causal"] = _corner(sizes) if options.causal == EITHER else options.causal
    found |= dict(_pair(text, "--option") for text in options.option)
    return {name: value for name, value in found.items() if value is not None}


def _corner(sizes: Mapping[str, int]) -> str:
    """Return the corner of a causal mask where it does not matter; where it does it has to be said."""
    if sizes.get("Lq") != sizes.get("Lk"):
        raise HarnessError(
            f"--causal: {sizes.get('Lq')} queries and {sizes.get('Lk')} keys; say where the mask begins: "
            "--causal top_left, or --causal bottom_right as in decoding with a cache"
        )
    return "top_left"


def _pair(text: str, option: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not value:
        raise HarnessError(f"{option} {text}: expected NAME=VALUE")
    return name, value


def gated_on(case: Case) -> Case:
    """Return the case that conformance is asked on: the same, or of the same kind with shorter lengths.

    The float64 reference holds every score, so that long sequences do not fit: a batch of 2 stands for a larger one,
    and lengths are halved, the longest first.
    """
    sizes = dict(case.sizes)
    axes = mechanism(case.mechanism).scores or mechanism(case.mechanism).output
    while math.prod(sizes[axis] for axis in axes) > GATE_SCORES:
        longest = max(sizes[axis] for axis in _LENGTHS if axis in sizes)
        if sizes.get("B", 1) > 2:
            sizes["B"] = 2
        elif longest > 2:
            sizes |= {axis: -(-sizes[axis] // 2) for axis in _LENGTHS if sizes.get(axis) == longest}
        elif sizes.get("B", 1) > 1:
            sizes["B"] = 1
        else:
            break
    return replace(case, sizes=sizes)
