"""The problem of `choose`, from arguments to a case: the shape of the first tensor, and what follows from it."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from attention_harness.cases.ids import parse
from attention_harness.model.capabilities import DEVICES
from attention_harness.model.case import Case
from attention_harness.model.dtypes import DTYPES
from attention_harness.model.errors import HarnessError
from attention_harness.options import OPTIONS, Option, interval
from attention_harness.options.option import Place
from attention_harness.reference.specification import Mechanism
from attention_harness.registry import mechanism

GATE_SCORES = 1 << 19  # scores that the float64 reference and its error bound take a reasonable time for
_NO_VALUE = ""  # of an option that is named without a form
_LENGTHS = ("Lq", "Lk", "L", "P")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what describes a problem: its shape, and the harness's options by their names."""
    parser.add_argument("mechanism", metavar="MECHANISM", help="what is to be computed; or the id of a case")
    parser.add_argument("--shape", metavar="1x32x2048x128", help="of its first tensor: B x H x L x D of a query")
    parser.add_argument("--dtype", choices=DTYPES, help="default float32")
    text = "a size that the shape does not say: Hk=N heads of key and value, Lk=N keys, or any other"
    parser.add_argument("--size", action="append", default=[], metavar="AXIS=N", help=text)
    for option in _arguments():
        text = f"{option.summary}; FORM: {option.expected}"
        default: dict[str, Any] = {} if option.argument is None else {"nargs": "?", "const": _NO_VALUE}
        parser.add_argument(
            _flag(option.name), dest=option.name, metavar="FORM", help=text.replace("%", "%%"), **default
        )
    parser.add_argument("--option", action="append", default=[], metavar="NAME=VALUE", help="a mechanism's choice")
    parser.add_argument("--device", choices=DEVICES, default="cpu", help="where the tensors live")


def case_of(options: argparse.Namespace) -> Case:
    """Return the case that the arguments describe; a case id describes itself."""
    if "-" in options.mechanism:
        describing = ("shape", "size", "dtype", "option", *(one.name for one in _arguments()))
        extra = [_flag(name) for name in describing if getattr(options, name) not in (None, [])]
        if extra:
            raise HarnessError(
                f"{options.mechanism} is a case, which says all of that itself: leave out {', '.join(extra)}"
            )
        return parse(options.mechanism).on(options.device)
    known = mechanism(options.mechanism)
    if options.shape is None:
        raise HarnessError(f"choose {known.name} needs --shape {_example(known)}: {_axes(known)}")
    sizes = _sizes(known, options)
    forms = {one.name: getattr(options, one.name) for one in _arguments()}
    named = {name: _form(OPTIONS[name], form, sizes) for name, form in forms.items() if form is not None}
    named |= dict(_pair(text, "--option") for text in options.option)
    return parse(Case(known.name, sizes, options.dtype or "float32", named).id).on(options.device)


def _arguments() -> list[Option]:
    """Return the options that have an argument: those that stand in a case's id and act in inference."""
    return [option for option in OPTIONS.values() if option.of_sizes is None and not option.training]


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _form(option: Option, text: str, sizes: Mapping[str, int]) -> str | float:
    """Return the form that an argument means; without a value the usual one, where the others show the same keys."""
    if text == _NO_VALUE:
        queries, keys = sizes.get("Lq", 0), sizes.get("Lk", 0)
        seen = {_shown(option, form, Place(queries, keys)) for form in option.forms}
        if option.interval is not None and len(seen) > 1:
            named = ", ".join(f"{_flag(option.name)} {form}" for form in option.forms)
            raise HarnessError(
                f"{_flag(option.name)}: with {queries} queries and {keys} keys its forms differ; say which: {named}"
            )
        return str(option.argument)
    try:
        return float(text)
    except ValueError:
        return text


def _shown(option: Option, form: str, place: Place) -> tuple[bytes, bytes]:
    first, last = interval({option.name: form}, place)
    return first.tobytes(), last.tobytes()


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
    named = dict(_pair(text, "--size") for text in options.size)
    for axis, value in named.items():
        if axis not in known.axes or not value.isdecimal():
            raise HarnessError(f"--size {axis}={value}: {known.name} has the sizes {' '.join(known.axes)}")
    usual = {"Hk": sizes.get("H"), "Lk": sizes.get("Lq"), "P": sizes.get("Lq")}
    for axis in known.axes:
        if axis in named:
            sizes[axis] = int(named[axis])
        elif axis not in sizes:
            length = usual.get(axis, None if axis in ("B", "H") else width)
            if length is None:
                raise HarnessError(f"choose {known.name} needs --size {axis}=N: its shape does not say {axis}")
            sizes[axis] = length
    return sizes


def _pair(text: str, option: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not value:
        raise HarnessError(f"{option} {text}: expected NAME=VALUE")
    return name, value


def gated_on(case: Case) -> Case:
    """Return the case that conformance is checked on: the same, or of the same kind with shorter lengths.

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
