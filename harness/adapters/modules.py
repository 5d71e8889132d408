"""Libraries whose attention is a `torch.nn.Module` that holds its parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from attention_harness.model.errors import HarnessError

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module


def module_with(module: Module, parameters: Mapping[str, Tensor]) -> Callable[..., Any]:
    """Return the module as a function that computes with these parameters in place of its own.

    parameters   name in the module -> tensor of the same shape, for every parameter that the module has; `bias=False`
                 where it is made leaves biases out

    The module itself is not changed, so that calls may overlap, and gradients reach the tensors that are given.

    Raises HarnessError for a name that the module does not have, for one that is missing, and for another shape.
    """
    from torch.func import functional_call

    own = dict(module.named_parameters())
    kind = type(module).__name__
    missing, unknown = own.keys() - parameters.keys(), parameters.keys() - own.keys()
    if missing or unknown:
        said = [f"lacks {', '.join(sorted(missing))}"] if missing else []
        said += [f"names {', '.join(sorted(unknown))}, which the module does not have"] if unknown else []
        raise HarnessError(f"what is given for {kind} {' and '.join(said)}; it has {', '.join(sorted(own)) or 'none'}")
    for name, tensor in parameters.items():
        if tensor.shape != own[name].shape:
            raise HarnessError(
                f"{name} of {kind} is {tuple(own[name].shape)}, and {tuple(tensor.shape)} is given for it"
            )

    def call(*arguments: Any, **named: Any) -> Any:
        return functional_call(module, dict(parameters), arguments, named)

    return call
