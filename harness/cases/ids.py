"""Case ids held against the declarations: an id that parses names a problem that can be computed."""

from __future__ import annotations

import math
from typing import Any

from attention_harness.cases.anchors import fixed_problem
from attention_harness.cases.distributions import DISTRIBUTIONS
from attention_harness.cases.inputs import shape_of
from attention_harness.cases.layouts import LAYOUTS
from attention_harness.cases.recordings import recordings
from attention_harness.cases.space import MAY_BE_EMPTY
from attention_harness.model.capabilities import DEVICES
from attention_harness.model.case import Case, spelt
from attention_harness.model.dtypes import DTYPES
from attention_harness.model.errors import HarnessError
from attention_harness.options import OPTIONS, required
from attention_harness.reference.specification import Mechanism
from attention_harness.registry import mechanism

LONGEST, MOST_ELEMENTS = 2**24, 2**40  # of an axis, and of a tensor: 8 TiB in float64


def parse(text: str) -> Case:
    """Return the case of an id; HarnessError says in one line what is wrong with it."""
    case = Case.from_id(text)
    known = mechanism(case.mechanism)
    if set(case.sizes) != set(known.axes):
        raise HarnessError(f"{text}: {known.name} has the sizes {' '.join(known.axes)}, got {' '.join(case.sizes)}")
    for whole, part in known.requires:
        if case.sizes[part] == 0 or case.sizes[whole] % case.sizes[part]:
            raise HarnessError(f"{text}: {whole} must be a multiple of {part}")
    for what, name, names in (
        ("dtype", case.dtype, DTYPES),
        ("layout", case.layout, LAYOUTS),
        ("device", case.device, DEVICES),
    ):
        if name not in names:
            raise HarnessError(f"{text}: unknown {what} {name!r}; known: {', '.join(names)}")
    for axis, length in case.sizes.items():
        if length == 0 and axis not in MAY_BE_EMPTY:
            raise HarnessError(f"{text}: {axis} must be 1 or more; only {', '.join(MAY_BE_EMPTY)} may be 0")
    _check_size(text, case, known)
    for name, form in case.options.items():
        _check_option(text, known, name, form)
    _check_declared(text, case, known)
    if case.content not in DISTRIBUTIONS:
        _check_given(text, case, known)
    return case


def _check_size(text: str, case: Case, known: Mechanism) -> None:
    """Refuse, before anything is allocated, what no machine could hold; what this one cannot hold a verdict says."""
    for axis, length in case.sizes.items():
        if length > LONGEST:
            raise HarnessError(f"{text}: {axis} is {length}; a length is {LONGEST} at most")
    full = {axis: max(length, 1) for axis, length in case.sizes.items()}
    shapes = {declared.name: declared.axes for declared in known.inputs} | {"the output": known.output}
    for name, axes in shapes.items():
        if math.prod(shape_of(axes, full)) > MOST_ELEMENTS:
            raise HarnessError(f"{text}: {name} would have more than 2^40 elements; give smaller sizes")


def _check_option(text: str, known: Mechanism, name: str, form: Any) -> None:
    """Refuse an option or choice that does not exist, and a form that is none of it."""
    unknown = f"{text}: option {name}={spelt(form)} is not known to {known.name}"
    if name in known.choices:
        if form not in known.choices[name]:
            raise HarnessError(f"{unknown}; expected {' or '.join(known.choices[name])}")
        return
    option = OPTIONS.get(name)
    if option is None or option.of_sizes is not None:
        raise HarnessError(f"{unknown}; known: {', '.join((*OPTIONS, *known.choices))}")
    if not option.accepts(form):
        raise HarnessError(f"{unknown}; expected {option.expected}")
    if option.capability(form) in known.options and (lacking := option.lacks(form, known.scores)):
        raise HarnessError(f"{text}: {known.name} {lacking}")


def _check_declared(text: str, case: Case, known: Mechanism) -> None:
    for name in known.choices:
        if name not in case.options:
            raise HarnessError(f"{text}: {known.name} needs {name}=..., one of {', '.join(known.choices[name])}")
    for capability in required(case):
        if capability not in known.options:
            takes = ", ".join(known.options) or "no option"
            raise HarnessError(f"{text}: {known.name} does not take {capability}; it takes {takes}")


def _check_given(text: str, case: Case, known: Mechanism) -> None:
    """Refuse a content that does not exist, and a worked example or recording under other sizes or options."""
    kind, _, name = case.content.partition(".")
    names = {"example": [example.name for example in known.examples], "recorded": recordings()}.get(kind)
    if names is None or not name:
        every = ", ".join(DISTRIBUTIONS)
        raise HarnessError(f"{text}: unknown content {case.content!r}; known: {every}, example.NAME, recorded.NAME")
    if name not in names:
        what = f"no example {name!r} of {known.name}" if kind == "example" else f"no recording {name!r}"
        raise HarnessError(f"{text}: {what}; known: {', '.join(names) or 'none'}")
    problem = fixed_problem(case)
    if problem is None:
        raise HarnessError(f"{text}: {case.content} is not an input of {known.name}")
    if problem.sizes != case.sizes or problem.options != case.options or case.layout == "expanded" or case.draw:
        raise HarnessError(
            f"{text}: {case.content} stands for one problem alone: {problem.id}, in any dtype and device"
        )
