"""The one way in which checks reach an implementation, whose process is another one than the judge's.

A check names a case, tensors and numbers, and gets tensors and facts back; it never holds a callable or an object of
the implementation. `execution.apart` implements this interface for a process of the implementation's own, and
`host.calls` within that process; mutants, which are ours, are called by the latter in the judge's own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from attention_harness.model.capabilities import Capabilities
from attention_harness.model.case import Case
from attention_harness.model.returned import Derivatives, Returned

if TYPE_CHECKING:
    from torch import Tensor


class Declaration(Protocol):
    """What an implementation declares; `registry.Declared` is one.

    name           of its file
    device         where it is checked
    refuses        why it does not take a case, or ""
    known_failure  the upstream reason declared for a check of a case, or ""
    """

    @property
    def name(self) -> str: ...
    @property
    def capabilities(self) -> Capabilities: ...
    @property
    def device(self) -> str: ...
    def refuses(self, case: Case) -> str: ...
    def known_failure(self, check: str, case: Case) -> str: ...


class Prepared(Protocol):
    """An implementation prepared for a case. It answers for other batch sizes and lengths of that case too."""

    @property
    def set_up(self) -> Mapping[str, tuple[Any, Any]]:
        """What importing and preparing the implementation changed in its process: name -> value before and after."""
        ...

    def call(
        self,
        tensors: Mapping[str, Tensor],
        *,
        training: bool = False,
        seed: int | None = None,
        threads: int | None = None,
        watched: bool = False,
        autocast: str = "",
    ) -> Returned:
        """Return what a call without autograd returns; what it raises is an `ImplementationRaised`, here and below.

        training   whether dropout acts
        seed       of torch's generators during this call; they are afterwards what they were before
        threads    of torch during this call
        watched    whether to look for changes of inputs and state: costly, so done once for an item
        autocast   dtype of torch.autocast around the call; "" for none
        """
        ...

    def call_mapped(self, tensors: Mapping[str, Tensor], names: Sequence[str]) -> Returned:
        """Return the output of a call under torch.func.vmap over the first axis of the named tensors, without autograd.

        The output has that axis too; of the other tensors every part gets the same.
        """
        ...

    def call_together(self, problems: Sequence[Mapping[str, Tensor]], rounds: int) -> list[list[Returned]]:
        """Return, for each problem, what calls without autograd return that overlap with calls on the others.

        Each problem has a thread of its own, and is called so many times; all begin a round together.
        """
        ...

    def reread(self, returned: Returned) -> Returned:
        """Return what a watched call returned, as it is now: a later call may have written into it."""
        ...

    def gradients(
        self,
        tensors: Mapping[str, Tensor],
        upstream: Tensor,
        names: Sequence[str] = (),
        *,
        between: Mapping[str, Tensor] | None = None,
        accumulated: bool = False,
        training: bool = False,
        seed: int | None = None,
    ) -> Derivatives:
        """Return the gradients by the named tensors, or by every floating one, of the output times `upstream`.

        Only these tensors require a gradient. One that is given under several names has one gradient, their sum.

        between          tensors of a further call with autograd, made between the forward and the backward pass
        accumulated      by `.backward()`, as in training, and not by `torch.autograd.grad`; what a reentrant checkpoint
                         is part of knows that way alone, and is asked so in any case
        training, seed   as in `call`, for the backward pass too
        """
        ...

    def forward_derivative(self, tensors: Mapping[str, Tensor], directions: Mapping[str, Tensor]) -> Derivatives:
        """Return the output and its derivative along directions of some tensors, by torch.func.jvp, as `output`."""
        ...

    def second_derivatives(
        self, tensors: Mapping[str, Tensor], upstream: Tensor, directions: Mapping[str, Tensor]
    ) -> Derivatives:
        """Return the gradients of the sum, over the floating tensors, of their first gradient times their direction."""
        ...


Prepare = Callable[[Case], Prepared]
"""The code of an implementation, wherever it runs: it is prepared for a case. What it declares is a `Declaration`.

Raises ImplementationRaised where that raises, or returns no callable.
"""
