"""What all code in a process shares: settings, and the functions by which it is judged. What an item changed of it.

A function that was put in another's place decides its own verdict: no pass that was reached with it is believed. Names
that were added are nobody's harm.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

_JUDGING = (
    "torch",
    "torch.Tensor",
    "torch.nn.functional",
    "torch.linalg",
    "torch.autograd",
    "torch.random",
    "numpy",
    "numpy.linalg",
    "numpy.random",
    "math",
    "builtins",
)
_TOLD = 3  # names in a reason
_OWN_VARIABLES = ("TORCH", "_TORCH", "TRITON")  # torch's compiler sets some when it is imported


@dataclass(frozen=True)
class World:
    """settings: by what they are called; functions: full name -> the object that stands there."""

    settings: Mapping[str, Any]
    functions: Mapping[str, Any]

    def changed(self, now: World) -> list[str]:
        """Return the settings that are others now."""
        return [name for name, value in self.settings.items() if now.settings.get(name) != value]

    def replaced(self, now: World) -> list[str]:
        """Return the functions in whose place another object stands now, or none."""
        return [
            name
            for name, own in self.functions.items()
            if (put := now.functions.get(name)) is not own and not _wraps(put, own)
        ]


def world() -> World:
    """Return what this process shares now."""
    return World(settings(), dict(_functions()))


def settings() -> dict[str, Any]:
    """Return the settings that a call must leave alone, by what a person calls them."""
    import torch

    return {
        "the default dtype": torch.get_default_dtype(),
        "the number of threads": torch.get_num_threads(),
        "deterministic mode": torch.are_deterministic_algorithms_enabled(),
        "float32 matmul precision": torch.get_float32_matmul_precision(),
        "gradient mode": torch.is_grad_enabled(),
        "the working directory": _directory(),
        "the environment": {k: v for k, v in os.environ.items() if not k.startswith(_OWN_VARIABLES)},
        "the standard streams": (sys.stdout, sys.stderr, *map(_identity, (0, 1, 2))),
        "signal handlers": [signal.getsignal(one) for one in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)],
        "garbage collection": gc.isenabled(),
        "the recursion limit": min(sys.getrecursionlimit(), 1000),  # torch.compile raises it, which harms nobody
    }


def company() -> set[str]:
    """Return the threads of Python that run in this process, by name and number."""
    return {f"{one.name} {one.ident}" for one in threading.enumerate()}


def listed(names: Iterable[str]) -> str:
    """Return the first few names, and how many more there are."""
    told = list(names)
    more = f" and {len(told) - _TOLD} more" if len(told) > _TOLD else ""
    return ", ".join(told[:_TOLD]) + more


def _functions() -> Iterator[tuple[str, Any]]:
    import torch.linalg

    for place in _JUDGING:
        if place == "torch.Tensor":
            owners: list[Any] = [torch._C.TensorBase, torch.Tensor]  # the one that is looked at first comes last
        else:
            owners = [sys.modules[place]] if place in sys.modules else []
        for owner in owners:
            for name, value in list(vars(owner).items()):
                public = not name.startswith("_") or (name.startswith("__") and place == "torch.Tensor")
                if public and callable(value) and not isinstance(value, ModuleType):
                    yield f"{place}.{name}", value


def _wraps(put: Any, own: Any) -> bool:
    """Whether torch's compiler was imported: it wraps `torch.manual_seed`, to leave it out of what it compiles."""
    import torch._compile

    code = getattr(put, "__code__", None)
    return code is not None and code.co_filename == torch._compile.__file__ and put.__wrapped__ is own


def _directory() -> str:
    try:
        return os.getcwd()
    except OSError:  # it was deleted
        return ""


def _identity(descriptor: int) -> tuple[int, int] | None:
    try:
        found = os.fstat(descriptor)
    except OSError:  # closed
        return None
    return found.st_dev, found.st_ino
