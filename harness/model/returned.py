"""What an implementation answers, as checks see it: tensors and facts, and never an object of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Returned:
    """What a call returned, copied as it was then, and what a watched call did beside that.

    output, weights, lse   tensors, or whatever else came back: their form is for checks to judge
    changed_inputs    names of the tensors that hold other numbers, or have another shape, after the call
    changed_state     what of the process's state differs after the call, in the words of a reason
    shared_memory     "output", "weights" or "lse" -> the input in whose memory it lies
    """

    output: Any
    weights: Any = None
    lse: Any = None
    changed_inputs: tuple[str, ...] = ()
    changed_state: tuple[str, ...] = ()
    shared_memory: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Derivatives:
    """The output of a call with autograd, and derivatives by the names of tensors.

    differentiable   whether autograd knows a way from the output to any input
    by_name          None for a tensor that autograd finds no way to; empty where nothing could be differentiated: the
                     output is no tensor of the upstream's shape, dtype and device, or is not differentiable
    """

    output: Any
    differentiable: bool
    by_name: Mapping[str, Any]
