"""Is it right under what users apply to a call: vmap, forward differentiation, autocast, tensors of mixed dtypes?

Each is judged where it is declared, element by element within computed bounds:

- Under vmap each part is a problem of its own, with the error bound of that problem.
- The derivative of the output along directions is $J v$. Its bound is that of the gradient of
  $\\langle v, J^\\top u \\rangle$ by u, on the reference's tape.
- Under autocast, tensors in float32 are rounded to the narrower dtype, and all further steps may be made in that one.
- A tensor of another dtype than the case's is rounded to that; where it is narrower, its numbers are exact there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from attention_harness.bounds import ErrorBound
from attention_harness.bounds.error_bound import forward_bounds
from attention_harness.bounds.judge import Judgement, judge, worst
from attention_harness.cases import inputs
from attention_harness.checks.builds import is_worth_a_build
from attention_harness.checks.declaration import check
from attention_harness.checks.expected import OTHER_WORDS, arguments, bounds_of, fully_masked_rows
from attention_harness.checks.form import numbers
from attention_harness.checks.gradients import alone, direction, floating
from attention_harness.checks.interface import Declaration
from attention_harness.checks.relations.sampling import drawn, short
from attention_harness.checks.subject import Subject
from attention_harness.model import time_account
from attention_harness.model.case import Case
from attention_harness.model.dtypes import DTYPES
from attention_harness.registry import mechanisms

if TYPE_CHECKING:
    from torch import Tensor

Tensors = dict[str, "Tensor"]
ASKED_BY = {
    "vmap": "vmap",
    "forward_derivatives": "forward_derivative",
    "autocast": "autocast",
    "narrower_inputs": "mixed_dtypes",
    "wider_inputs": "mixed_dtypes",
}
"""What a declaration may say -> the check, or the behaviour of that name, which holds it to that."""


@check("vmap", lambda one, case: one.capabilities.vmap and drawn(case), sampled=short)
def vmap(subject: Subject) -> Judgement:
    """Under torch.func.vmap over all tensors, and over one floating tensor alone, each part is a right answer.

    What an option brings is mapped alone wherever it is given; of the mechanism's own tensors one, by the fingerprint.
    """
    parts = parts_of(subject.case)
    return worst(judge_mapped(subject, subject.case, parts, names) for names in (list(parts[0]), *alone(subject.case)))


def parts_of(case: Case) -> tuple[Tensors, Tensors]:
    """Return the tensors of a case with its numbers and with other ones."""
    return inputs.tensors(case), inputs.tensors(replace(case, draw=case.draw + 1))


def judge_mapped(subject: Subject, case: Case, parts: tuple[Tensors, Tensors], names: list[str]) -> Judgement:
    """Return the judgement of a call under vmap over both parts of the named tensors."""
    import torch

    one = parts[0]
    stacked = {name: torch.stack([part[name] for part in parts]) if name in names else one[name] for name in one}
    output = subject.prepared_for(case).call_mapped(stacked, names).output
    what = f"under vmap over {', '.join(names)}"
    if type(output) is not torch.Tensor or tuple(output.shape[:1]) != (len(parts),):
        return Judgement.refuse(f"{what}: the output has no axis of {len(parts)} parts in front")
    problems = ({name: part[name] if name in names else one[name] for name in one} for part in parts)
    return worst(
        _judged(found, case, _bounds(subject, case, problem)[0], what)
        for found, problem in zip(output, problems, strict=True)
    )


def _bounds(subject: Subject, case: Case, tensors: Mapping[str, Tensor], rounded: Iterable[str] = ()) -> Any:
    capabilities = subject.implementation.capabilities
    return bounds_of(case, inputs.exact(tensors), capabilities.arithmetic, capabilities.policy, tuple(rounded))


def _judged(tensor: Any, case: Case, error_bound: ErrorBound, what: str) -> Judgement:
    """Return the judgement of a tensor by its elements; statistics are left to `accuracy`."""
    if error_bound.overflow:
        return Judgement(0.0)
    judged = judge(numbers(tensor, case, error_bound.value.shape, what), replace(error_bound, linear=None))
    return replace(judged, reason=f"{what}: {judged.reason}") if judged.reason else judged


@check(
    "forward_derivative",
    lambda one, case: one.capabilities.forward_derivatives and drawn(case) and 0 not in case.sizes.values(),
    sampled=short,
)
def forward_derivative(subject: Subject) -> Judgement:
    """The derivative of the output along directions of all floating tensors, and of one alone, by torch.func.jvp.

    Rows that see no key are judged where the declared policy gives them zero.
    """
    names = floating(inputs.tensors(subject.case))
    return worst(judge_forward(subject, each) for each in (names, *alone(subject.case)))


def judge_forward(subject: Subject, names: list[str]) -> Judgement:
    """Return the judgement of the derivative along directions of the named tensors, and of the output beside it."""
    case, capabilities = subject.case, subject.implementation.capabilities
    tensors = inputs.tensors(case)
    directions = {name: direction(case, name, tensors[name]) for name in names}
    evaluate, arrays = mechanisms()[case.mechanism].evaluate, inputs.exact(tensors)
    with time_account.spent(time_account.REFERENCE):
        exact = inputs.exact(directions)
        right = forward_bounds(evaluate, *arguments(case, arrays), case.dtype, capabilities.arithmetic, exact)
    found = subject.prepared.forward_derivative(tensors, directions)
    what = f"forward derivative by {', '.join(names)}"
    derivative = numbers(found.by_name["output"], case, right.value.shape, what)
    masked = fully_masked_rows(case, arrays, capabilities.policy, OTHER_WORDS)[..., None]
    judged = judge(np.where(masked, right.value, derivative), right) if not right.overflow else Judgement(0.0)
    if judged.reason:
        return replace(judged, reason=f"{what}: {judged.reason}")
    return worst([judged, _judged(found.output, case, subject.error_bound()[0], "output beside a forward derivative")])


@check(
    "autocast",
    lambda one, case: bool(one.capabilities.autocast) and can_autocast(one, case),
    is_worth_a_build,
    sampled=short,
)
def autocast(subject: Subject) -> Judgement:
    """Under torch.autocast the output has that dtype or its own, and errs as arithmetic in that dtype may."""
    return worst(judge_autocast(subject, dtype) for dtype in subject.implementation.capabilities.autocast)


def can_autocast(implementation: Declaration, case: Case) -> bool:
    """Return whether autocast acts on the case: on tensors in float32."""
    return case.dtype == "float32" and drawn(case)


def judge_autocast(subject: Subject, dtype: str) -> Judgement:
    """Return the judgement of a call under autocast in this dtype."""
    import torch

    case, tensors = subject.case, inputs.tensors(subject.case)
    narrow = replace(case, dtype=dtype)
    right = _bounds(subject, narrow, tensors, floating(tensors))[0]
    output = subject.prepared.call(tensors, autocast=dtype).output
    own = getattr(output, "dtype", None) is getattr(torch, case.format.torch)
    return _judged(output, case if own else narrow, right, f"under autocast in {dtype}")


@check("mixed_dtypes", lambda one, case: bool(_others(one, case)) and drawn(case), is_worth_a_build, sampled=short)
def mixed_dtypes(subject: Subject) -> Judgement:
    """With declared tensors in a narrower or wider dtype than the case's, together and one alone, it is right."""
    return worst(judge_mixed(subject, others) for others in _others(subject.implementation, subject.case))


def judge_mixed(subject: Subject, others: Mapping[str, str]) -> Judgement:
    """Return the judgement of a call with some tensors in other dtypes, by torch's names."""
    import torch

    case, tensors = subject.case, inputs.tensors(subject.case)
    wider = [name for name, dtype in others.items() if dtype in DTYPES and not case.format.holds(DTYPES[dtype])]
    for name, dtype in others.items():
        source = inputs.tensors(replace(case, dtype=dtype)) if name in wider else tensors
        tensors[name] = source[name].to(getattr(torch, dtype))
    what = " and ".join(f"{name} in {dtype}" for name, dtype in others.items())
    right = _bounds(subject, case, tensors, wider)[0]
    return _judged(subject.prepared.call(tensors).output, case, right, f"with {what}")


def _others(implementation: Declaration, case: Case) -> list[dict[str, str]]:
    """Return which tensors to bring in which dtypes: all that are declared, and one of them alone."""
    capabilities, found = implementation.capabilities, list[dict[str, str]]()
    for names, dtypes in ((capabilities.narrower_inputs, _narrower(case)), (capabilities.wider_inputs, _wider(case))):
        kinds = {name: tensor.bytes for name, tensor in inputs.option_tensors(case).items()}
        kinds |= {declared.name: None for declared in mechanisms()[case.mechanism].inputs}
        present = {name: dtypes[kinds[name]] for name in names if dtypes.get(kinds.get(name, 0))}
        if present:
            chosen = sorted(present)[case.fingerprint % len(present)]
            found += [present] if len(present) == 1 else [present, {chosen: present[chosen]}]
    return found


Kinds = dict[int | None, str]
"""The dtype for a kind of tensor, by the bytes of an element: 8 for whole numbers, 1 for bool, None for floating."""


def _narrower(case: Case) -> Kinds:
    floats = [name for name, dtype in DTYPES.items() if case.format.holds(dtype) and name != case.dtype]
    return {8: "int32", None: floats[case.fingerprint % len(floats)] if floats else ""}


def _wider(case: Case) -> Kinds:
    floats = [dtype for dtype in DTYPES.values() if dtype.holds(case.format) and dtype.name != case.dtype]
    return {1: "uint8", None: min(floats, key=lambda dtype: dtype.bits).name if floats else ""}
