"""Calls an implementation in this process, behind the interface that checks use."""

from __future__ import annotations

import contextlib
import random
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from attention_harness.host.overlapping import overlapping
from attention_harness.host.process_state import differences, settings
from attention_harness.host.raised import in_words
from attention_harness.model import time_account
from attention_harness.model.case import Case
from attention_harness.model.dtypes import DTYPES
from attention_harness.model.returned import Derivatives, Returned

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class _WatchedReturn(Returned):
    live: Any = None  # the objects themselves


class Implementation(Protocol):
    """What is called: a `registry.Implementation` is one."""

    @property
    def name(self) -> str: ...
    @property
    def path(self) -> Path: ...
    def prepare(self, case: Case) -> Callable[..., Any]: ...


_set_up: dict[str, dict[str, tuple[Any, Any]]] = {}  # name of an implementation -> what it changed before its calls


@contextlib.contextmanager
def setting_up(name: str) -> Iterator[None]:
    """Note what importing or preparing an implementation changes: told once, as a behaviour, and no impurity."""
    before = settings()
    yield
    noted = _set_up.setdefault(name, {})
    for setting, (old, new) in differences(before, settings()).items():
        noted[setting] = noted.get(setting, (old, new))[0], new


def changed_by_calls(name: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Return the settings that differ, but for what importing and preparing the implementation made of them."""
    noted = _set_up.get(name, {})
    found = differences(before, after)
    return [setting for setting, (_, new) in found.items() if setting not in noted or noted[setting][1] != new]


def prepared(implementation: Implementation, case: Case) -> PreparedInProcess:
    """Return the implementation prepared for a case: preparing and calling count as the implementation's time."""
    with in_words(implementation.path):
        with time_account.spent(time_account.IMPLEMENTATION), setting_up(implementation.name):
            function = implementation.prepare(case)
        if not callable(function):
            raise TypeError(f"prepare(case) returned {type(function).__name__}, expected a callable")
    return PreparedInProcess(function, _set_up.get(implementation.name, {}), implementation.path)


class PreparedInProcess:
    """A `Prepared` that calls a function of this process."""

    def __init__(
        self, function: Callable[..., Any], set_up: Mapping[str, tuple[Any, Any]], path: Path = Path()
    ) -> None:
        self._function = function
        self._path = path
        self.set_up = set_up

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
        """See `Prepared.call`."""
        import torch

        keywords = _keywords(training)
        with in_words(self._path), torch.no_grad(), _seeded(seed), _threads(threads), _autocast(tensors, autocast):
            if not watched:
                return _copied(self._run({**tensors}, keywords))
            inputs_before = {name: (tensor.shape, _bytes(tensor)) for name, tensor in tensors.items()}
            state_before = _state()
            result = self._run({**tensors}, keywords)
            state_after = _state()
            returned = _copied(result)
        return _WatchedReturn(
            returned.output,
            returned.weights,
            returned.lse,
            tuple(name for name, tensor in tensors.items() if (tensor.shape, _bytes(tensor)) != inputs_before[name]),
            tuple(differences(state_before, state_after)),
            _shared_memory(result, tensors),
            live=result,
        )

    def call_together(self, problems: Sequence[Mapping[str, Tensor]], rounds: int) -> list[list[Returned]]:
        """See `Prepared.call_together`."""
        with in_words(self._path), time_account.spent(time_account.IMPLEMENTATION):
            return overlapping(lambda tensors: _copied(self._function(**tensors)), problems, rounds)

    def call_mapped(self, tensors: Mapping[str, Tensor], names: Sequence[str]) -> Returned:
        """See `Prepared.call_mapped`."""
        import torch

        axes = tuple(0 if name in names else None for name in tensors)
        with in_words(self._path), torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what torch maps slowly
            return Returned(_copy(torch.func.vmap(self._of_values(tensors), in_dims=axes)(*tensors.values())))

    def reread(self, returned: Returned) -> Returned:
        """See `Prepared.reread`."""
        if not isinstance(returned, _WatchedReturn):
            raise ValueError("only what a watched call returned can be read again; call with watched=True")
        with in_words(self._path):
            return _copied(returned.live)

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
        """See `Prepared.gradients`."""
        import torch

        with in_words(self._path), _seeded(seed):
            leaves, output = self._graph(tensors, names, training)
            if not _differentiable(output, upstream):
                return Derivatives(_copy(output), getattr(output, "requires_grad", False), {})
            given = upstream.clone()
            later = [self._graph(between, names, training)] if between else []  # alive until the backward pass is done
            if not accumulated:
                try:
                    with time_account.spent(time_account.IMPLEMENTATION):
                        found = torch.autograd.grad(output, list(leaves.values()), upstream, allow_unused=True)
                    _require_unchanged(upstream, given)
                    return Derivatives(_copy(output), True, dict(zip(leaves, found)))
                except RuntimeError as error:
                    if "checkpoint" not in str(error):  # a reentrant one takes `.backward()` alone
                        raise
                leaves, output = self._graph(tensors, names, training)
                later += [self._graph(between, names, training)] if between else []
            with time_account.spent(time_account.IMPLEMENTATION):
                output.backward(upstream)
            _require_unchanged(upstream, given)
        return Derivatives(_copy(output), True, {name: leaf.grad for name, leaf in leaves.items()})

    def forward_derivative(self, tensors: Mapping[str, Tensor], directions: Mapping[str, Tensor]) -> Derivatives:
        """See `Prepared.forward_derivative`."""
        import torch

        others = {name: tensor for name, tensor in tensors.items() if name not in directions}
        # torch copies a direction into memory laid out as the tensor's, and refuses where its elements share some.
        along = tuple(_apart(tensors[name]) for name in directions), tuple(directions.values())
        with in_words(self._path):
            output, derivative, *_ = torch.func.jvp(self._of_values(directions, others), *along)
            return Derivatives(_copy(output), True, {"output": _copy(derivative)})

    def second_derivatives(
        self, tensors: Mapping[str, Tensor], upstream: Tensor, directions: Mapping[str, Tensor]
    ) -> Derivatives:
        """See `Prepared.second_derivatives`."""
        import torch

        with in_words(self._path):
            leaves, output = self._graph(tensors, ())
            if not _differentiable(output, upstream):
                return Derivatives(_copy(output), getattr(output, "requires_grad", False), {})
            wanted = list(leaves.values())
            with time_account.spent(time_account.IMPLEMENTATION):
                first = torch.autograd.grad(output, wanted, upstream, create_graph=True, allow_unused=True)
                parts = [(one * directions[name]).sum() for name, one in zip(leaves, first) if one is not None]
                total = torch.stack(parts).sum() if parts else None
                if total is None or not total.requires_grad:  # first gradients that are constant, or none at all
                    return Derivatives(_copy(output), True, dict.fromkeys(leaves))
                try:
                    second = torch.autograd.grad(total, wanted, allow_unused=True)
                except RuntimeError as error:
                    if "does not require grad" not in str(error):  # so a backward pass calls what is missing in it
                        raise
                    return Derivatives(_copy(output), True, dict.fromkeys(leaves))
            return Derivatives(_copy(output), True, dict(zip(leaves, second)))

    def _run(self, tensors: dict[str, Tensor], keywords: Mapping[str, Any]) -> Any:
        with time_account.spent(time_account.IMPLEMENTATION):
            return self._function(**tensors, **keywords)

    def _of_values(self, names: Iterable[str], others: Mapping[str, Tensor] | None = None) -> Callable[..., Any]:
        """Return the function from the values of the named tensors to the output."""
        return lambda *values: _parts(self._run({**dict(zip(names, values)), **(others or {})}, {}))[0]

    def _graph(
        self, tensors: Mapping[str, Tensor], names: Sequence[str], training: bool = False
    ) -> tuple[dict[str, Tensor], Any]:
        """Return the leaves, which lie in memory as the given tensors do, and the output computed from them.

        A tensor given under several names is one leaf.
        """
        import torch

        chosen = names or [name for name, tensor in tensors.items() if tensor.is_floating_point()]
        alike = {id(tensors[name]): tensors[name].detach().requires_grad_() for name in chosen}
        leaves = {name: alike[id(tensors[name])] for name in chosen}
        with torch.enable_grad():
            output, *_ = _parts(self._run({**tensors, **leaves}, _keywords(training)))
        return leaves, output


def _keywords(training: bool) -> dict[str, Any]:
    return {"training": True} if training else {}


def _parts(result: Any) -> tuple[Any, Any, Any]:
    """Return output, weights and log-sum-exp of what a call returned: one of them, a pair, or all three."""
    if not isinstance(result, tuple) or not result:
        return result, None, None
    if len(result) > 3:  # what the others are is not known
        return result[0], None, None
    output, weights, lse = (*result, None, None)[:3]
    return output, weights, lse


def _apart(tensor: Tensor) -> Tensor:
    """Return a tensor whose elements lie apart: itself, or a copy of an expanded one."""
    shared = any(step == 0 and length > 1 for step, length in zip(tensor.stride(), tensor.shape, strict=True))
    return tensor.contiguous() if shared else tensor


def _copy(part: Any) -> Any:
    """Return a copy of a tensor; anything else as it is, since it is refused for its form."""
    import torch

    return part.detach().clone() if type(part) is torch.Tensor else part


def _copied(result: Any) -> Returned:
    return Returned(*map(_copy, _parts(result)))


def _bytes(tensor: Tensor) -> bytes:
    import torch

    flat = tensor.detach().cpu().reshape(-1).clone(memory_format=torch.contiguous_format)  # also where its stride is 0
    return flat.view(torch.uint8).numpy().tobytes()


def _shared_memory(result: Any, tensors: Mapping[str, Tensor]) -> dict[str, str]:
    import torch

    found = {}
    for what, part in zip(("output", "weights", "lse"), _parts(result), strict=True):
        if isinstance(part, torch.Tensor) and part.numel():
            place = part.untyped_storage().data_ptr()
            for name, tensor in tensors.items():
                if tensor.numel() and tensor.untyped_storage().data_ptr() == place:
                    found[what] = name
    return found


def _require_unchanged(upstream: Tensor, given: Tensor) -> None:
    """Raise where a backward pass wrote into the gradient that it was given: others may hold it too."""
    if not upstream.equal(given):
        raise RuntimeError("the backward pass changed the gradient of the output in place; it has to leave it as it is")


def _differentiable(output: Any, upstream: Tensor) -> bool:
    import torch

    if not isinstance(output, torch.Tensor) or not output.requires_grad:
        return False
    forms = [(one.shape, one.dtype, one.device) for one in (output, upstream)]
    return forms[0] == forms[1]


@contextlib.contextmanager
def _seeded(seed: int | None) -> Iterator[None]:
    import torch

    if seed is None:
        yield
        return
    with torch.random.fork_rng(devices=range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()):
        # `torch.manual_seed` formats a stack trace for each kind of device that is not here: longer than a small call.
        torch.default_generator.manual_seed(seed)
        if torch.cuda.is_available():
            torch.cuda.manual_seed_all(seed)
        yield


def _autocast(tensors: Mapping[str, Tensor], dtype: str) -> contextlib.AbstractContextManager[Any]:
    import torch

    if not dtype:
        return contextlib.nullcontext()
    device = next(iter(tensors.values())).device.type
    return torch.autocast(device, getattr(torch, DTYPES[dtype].torch))


@contextlib.contextmanager
def _threads(count: int | None) -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    if count is not None:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        if count is not None:
            torch.set_num_threads(before)


def _state() -> dict[str, Any]:
    """Return the process-global state that a call must leave alone, by what a person calls it."""
    import torch

    return {
        "torch's random state": torch.random.get_rng_state().numpy().tobytes(),
        "NumPy's random state": [x.tobytes() if isinstance(x, np.ndarray) else x for x in np.random.get_state()],
        "Python's random state": random.getstate(),
        **settings(),
    }
