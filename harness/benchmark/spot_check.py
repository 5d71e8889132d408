"""After the timing: is what a timed call returns right for numbers that it had not met, and did it compute it?

The gate has judged the case's own numbers. Here an arm gets a set of the rotation with other numbers, as before each
sample, and its answer is judged by the same error bound, computed for them. Then the same set comes again: an answer
that takes a quarter of the time was looked up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attention_harness.bounds.blocks import PAIRS, one_block, pairs, splits
from attention_harness.bounds.error_bound import error_bounds, gradient_bounds
from attention_harness.bounds.judge import judge
from attention_harness.cases import inputs
from attention_harness.cases.parts import joined
from attention_harness.checks.expected import arguments
from attention_harness.checks.form import to_array
from attention_harness.registry import mechanisms

if TYPE_CHECKING:
    from attention_harness.benchmark.arms import Arm

LOOKED_UP = 4.0
"""A repeated input that is answered so many times faster was looked up. Caches of the processor do less: what is
timed anew was written a moment ago, and lies in them too."""
_TIMES, _CONFIRMED = 3, 4


def why_not_timed(arm: Arm) -> str:
    """Return why the times of an arm are none, or ""."""
    faster = _times_faster(arm)
    if wrong := _wrong(arm):
        return f"its answer to inputs that it had not met is wrong, which is not what the gate has seen: {wrong}"
    for _ in range(_CONFIRMED):
        if faster > LOOKED_UP:  # or the machine was busy for a moment
            faster = min(faster, _times_faster(arm))
    return f"it answers inputs that it has met from a table, {faster:.1f} times faster" if faster > LOOKED_UP else ""


def _times_faster(arm: Arm) -> float:
    """Return how many times faster a set of the rotation is answered when it comes again."""
    rotation, fresh, again = arm.problem.rotation, [], []
    for _ in range(_TIMES):
        rotation.refresh()
        fresh.append(arm.clock.once(arm.call, rotation.sets[0]))
        again += [arm.clock.once(arm.call, rotation.sets[0]) for _ in range(2)]
    return min(fresh) / max(min(again), 1e-9)


def _wrong(arm: Arm) -> str:
    """Return what is wrong about the answer to the first set with fresh numbers, or ""."""
    problem, capabilities = arm.problem, arm.implementation.capabilities
    case, known = problem.case, mechanisms()[problem.case.mechanism]
    problem.rotation.refresh()
    fresh = problem.rotation.sets[0]
    answer = arm.call(**fresh)
    whole = joined(case, {name: tensor.detach() for name, tensor in fresh.items()}, problem.parts)
    arrays = inputs.exact({name: tensor for name, tensor in whole.items() if tensor is not None})
    tensors, options = arguments(case, arrays)
    small = pairs(known, case.sizes) <= PAIRS
    if not problem.forward_only:
        if small and (wrong := _wrong_gradient(arm, answer, tensors, options)):
            return wrong
        answer = arm.prepared(**fresh)
    output: Any = to_array((answer[0] if isinstance(answer, tuple) else answer).detach())
    if known.scores:
        options["fully_masked_rows"] = capabilities.policy
    if not small and splits(known):
        tensors, options, part = one_block(known, tensors, options, case.sizes)
        output = output[(slice(None),) * known.output.index("Lq") + (part,)]
    bound, _ = error_bounds(known.evaluate, tensors, options, case.dtype, capabilities.arithmetic, weights=False)
    return judge(output, bound, degenerate=True).reason


def _wrong_gradient(arm: Arm, answer: Any, tensors: dict[str, Any], options: dict[str, Any]) -> str:
    """Return which gradient is wrong and how, or ""."""
    case, known = arm.problem.case, mechanisms()[arm.problem.case.mechanism]
    upstream = to_array(arm.problem.upstream)
    arithmetic = arm.implementation.capabilities.arithmetic
    bounds = gradient_bounds(known.evaluate, tensors, options, case.dtype, arithmetic, upstream)
    names = [name for name, tensor in arm.problem.tensors.items() if tensor.requires_grad]
    whole = joined(case, dict(zip(names, answer, strict=True)), arm.problem.parts)
    for name, gradient in whole.items():
        if gradient is None or bounds[name].overflow:
            continue
        if reason := judge(to_array(gradient), bounds[name], degenerate=True).reason:
            return f"gradient of {name}: {reason}"
    return ""
