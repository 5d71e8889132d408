"""The implementation's answer to a changed problem, and the bounds of a right answer's error."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from attention_harness.cases import inputs
from attention_harness.checks.expected import Bounds, OutOfRange, bounds_of
from attention_harness.checks.form import WrongForm, numbers, to_array, wrong_form
from attention_harness.checks.relations.problem import Problem
from attention_harness.checks.subject import Subject

if TYPE_CHECKING:
    from torch import Tensor

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Answer:
    """What the implementation answered, and how far from it a right answer may be. weights: None where it has none."""

    output: Array
    bound: Array
    weights: Array | None
    weights_bound: Array | None


def answer_to(subject: Subject, problem: Problem) -> Answer:
    """Return the implementation's answer to a problem, with the bounds of that problem."""
    output, weights = bounds(subject, problem)
    returned = subject.prepared_for(problem.case).call(tensors(problem))
    form = wrong_form(returned.output, problem.case, output.value.shape, "output")
    if form:
        raise WrongForm(f"{form}; called for {problem.case.id} with numbers of a relation")
    if returned.weights is None or weights is None or not subject.implementation.capabilities.weights:
        return Answer(to_array(returned.output), output.bound, None, None)
    returned_weights = numbers(returned.weights, problem.case, weights.value.shape, "weights")
    return Answer(to_array(returned.output), output.bound, returned_weights, weights.bound)


def output_of(subject: Subject, problem: Problem) -> Array:
    """Return the output for a problem whose visible part, and so whose error bound, is that of another one."""
    return to_array(subject.prepared_for(problem.case).call(tensors(problem)).output)


def bounds(subject: Subject, problem: Problem) -> Bounds:
    """Return the error bounds of a problem's output and weights; raise OutOfRange where its dtype cannot hold it."""
    capabilities = subject.implementation.capabilities
    found = bounds_of(problem.case, problem.arrays, capabilities.arithmetic, capabilities.fully_masked_rows)
    if found[0].overflow:
        raise OutOfRange(f"{problem.case.id} with the numbers of a relation: {found[0].overflow}")
    return found


def tensors(problem: Problem) -> dict[str, Tensor]:
    """Return the torch tensors of a problem, in its dtype, device and memory layout.

    Raises ValueError for a number that the dtype does not hold: a relation would then compare different problems.
    """
    import torch

    case = problem.case
    layout = inputs.LAYOUTS["contiguous" if case.layout == "expanded" else case.layout]
    made = {}
    for name, array in problem.arrays.items():
        exact = torch.from_numpy(np.array(array))
        tensor = exact.to(getattr(torch, case.format.torch)) if exact.is_floating_point() else exact
        if not torch.equal(tensor.to(exact.dtype).nan_to_num(), exact.nan_to_num()):
            raise ValueError(f"{case.id}: the relation's {name} is not exact in {case.dtype}")
        made[name] = layout(tensor.to(case.device))
    return made
