"""Libraries whose attention is a `torch.nn.Module` that holds its parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from attention_harness.model.errors import HarnessError

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module


def module_with(module: Module) -> Callable[..., Any]:
    """Return the module as a function of its parameters: call(parameters, *arguments, **named).

    parameters   name in the module -> tensor of the same shape, for every parameter that the module has; `bias=False`
                 where it is made leaves biases out

    Gradients reach the tensors that are given. While a call runs, torch puts them into the module, which is as it was
    afterwards: calls must not overlap, so declare `thread_safe=False`. Names and shapes are looked at once.

    Raises HarnessError for a name that the module does not have, for one that is missing, and for another shape.
    """
    from torch.func import functional_call

    expected = {name: tuple(tensor.shape) for name, tensor in module.named_parameters()}
    fitting: set[frozenset[tuple[str, tuple[int, ...]]]] = set()

    def call(parameters: Mapping[str, Tensor], /, *arguments: Any, **named: Any) -> Any:
        shapes = {name: tuple(tensor.shape) for name, tensor in parameters.items()}
        if (key := frozenset(shapes.items())) not in fitting:
            _validate(type(module).__name__, shapes, expected)
            fitting.add(key)
        return functional_call(module, dict(parameters), arguments, named)

    return call


def _validate(kind: str, shapes: Mapping[str, tuple[int, ...]], expected: Mapping[str, tuple[int, ...]]) -> None:
    """Raise HarnessError unless names and shapes are those that the module has."""
    missing, unknown = expected.keys() - shapes.keys(), shapes.keys() - expected.keys()
    if missing or unknown:
        problems = [f"missing parameters: {', '.join(sorted(missing))}"] if missing else []
        problems += [f"unknown parameters: {', '.join(sorted(unknown))}"] if unknown else []
        raise HarnessError(
            f"module_with({kind}): {'; '.join(problems)}; expected: {', '.join(sorted(expected)) or 'none'}"
        )
    for name, shape in shapes.items():
        if shape != expected[name]:
            raise HarnessError(f"module_with({kind}): {name} has shape {shape}, expected {expected[name]}")
