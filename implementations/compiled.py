"""The eager functions through torch.compile: TorchInductor, one graph, dynamic shapes."""

from __future__ import annotations

import functools
import inspect
import types
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from attention_harness.implementations import eager

if TYPE_CHECKING:
    from collections.abc import Callable

    from attention_harness import Case

# torch 2.13: AOTAutograd, which compiles the backward pass, refuses to differentiate it again; torch.compile does not
# trace under torch.func's transformations.
CAPABILITIES = replace(eager.CAPABILITIES, second_derivatives=False, vmap=False, forward_derivatives=False, builds=True)

# torch 2.13, CPU: this function on these float16 views gives wrong weights (0.70 where 3e-10 is right) when compiled
# with dynamic=True; with dynamic=False, and on contiguous copies, it is right. Found by this suite; not reduced yet.
_OFFSET = "torch 2.13 inductor, dynamic shapes: wrong numbers for float16 views of width 1 at an offset in memory"
KNOWN_FAILURES = {
    f"{check}:location-B1Lq5P7Dq1Dk2Dv1O2-float16-plain-large-offset": _OFFSET for check in ("accuracy", "weights")
}

_KINDS_OF_CALLS = 64


def prepare(case: Case) -> Callable[..., Any]:
    """Return the compiled function. Cases share one when their lengths alone differ."""
    function = eager.prepare(case)
    lengths = list(case.sizes.values())
    # torch.compile makes a graph of its own for lengths of 0 and 1, and for lengths that are equal to each other.
    special = tuple(length if length < 2 else lengths.index(length) + 2 for length in lengths)
    structure = (case.dtype, case.device, case.layout, special, tuple(case.options.items()))
    return functools.partial(_compiled(function.func, structure), **function.keywords)


@functools.cache
def _compiled(function: Callable[..., Any], structure: tuple[Any, ...]) -> Callable[..., Any]:
    """Return the function compiled for one structure of inputs."""
    import torch

    # torch.compile keeps its graphs, and counts them towards its recompile limit, by code object: a copy for each
    # structure stays far from the limit. Beyond it fullgraph raises, where the default falls back to eager silently.
    own = types.FunctionType(function.__code__.replace(), function.__globals__, function.__name__)
    own.__kwdefaults__ = function.__kwdefaults__
    # One structure has a graph for each kind of call: with and without gradients, under autocast, in mixed dtypes.
    known = inspect.signature(torch.compile).parameters
    limit: dict[str, Any] = {"recompile_limit": _KINDS_OF_CALLS} if "recompile_limit" in known else {}  # torch 2.13
    return torch.compile(own, fullgraph=True, dynamic=True, **limit)
