"""Snapshot process-global state, so that changes made by the code under test are detected.

The state is settings, and the functions by which a result is judged. Who puts a function of their own in the place of
one of torch's decides their own verdict: no pass reached with it counts. Names that were added do no harm.
"""

from __future__ import annotations

import gc
import operator
import os
import signal
import sys
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

_JUDGING_MODULES = (
    "torch",
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
VARIABLE = "environment variable "
"""How the name of a setting begins that is a variable of the environment."""
_NAMED = 3  # names in a reason
_COMPILERS_VARIABLES = ("TORCH", "_TORCH", "TRITON")  # torch's compiler sets some when it is imported


@dataclass(frozen=True)
class ProcessState:
    """A snapshot. settings: by what a person calls them; names: what each name of each judging module stands for."""

    settings: Mapping[str, Any]
    names: Mapping[str, Mapping[str, Any]]

    def changed(self, later: ProcessState) -> list[str]:
        """Return the settings that have another value in a later snapshot."""
        return list(differences(self.settings, later.settings))

    def replaced(self, later: ProcessState) -> list[str]:
        """Return the functions whose name stands for another object, or for none, in a later snapshot."""
        found = []
        for place, names in self.names.items():
            present = later.names.get(place, {})
            if _same(names, present):
                continue
            for name, original in names.items():
                other = present.get(name)
                if other is not original and _judges(place, name, original) and not _wraps(other, original):
                    found.append(f"{place}.{name}")
        return found


def process_state() -> ProcessState:
    """Return a snapshot of this process."""
    return ProcessState(settings(), _names())


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
        "the standard streams": (sys.stdout, sys.stderr, *map(_file_of, (0, 1, 2))),
        "signal handlers": [signal.getsignal(one) for one in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)],
        "garbage collection": gc.isenabled(),
        "the recursion limit": min(sys.getrecursionlimit(), 1000),  # torch.compile raises it, which harms nobody
        **_variables(),
    }


def _variables() -> dict[str, str]:
    """Return the variables of the environment; decoded once, since a case asks for them five times."""
    global _decoded
    raw = getattr(os.environ, "_data", None)  # CPython's own: to read them one by one takes a hundred times as long
    if raw is None or raw != _decoded[0]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(_COMPILERS_VARIABLES)}
        _decoded = dict(raw or {}), {f"{VARIABLE}{name}": value for name, value in kept.items()}
    return _decoded[1]


_decoded: tuple[dict[Any, Any], dict[str, str]] = {}, {}


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return what has another value, appeared or is gone: name -> value before and after, None where there is none."""
    names = dict.fromkeys((*before, *after))
    return {n: (before.get(n), after.get(n)) for n in names if before.get(n) != after.get(n)}


def live_threads() -> set[str]:
    """Return the threads of Python that run in this process, by name and number."""
    return {f"{thread.name} {thread.ident}" for thread in threading.enumerate()}


def name_few(names: Iterable[str]) -> str:
    """Return the first few names, and how many more there are."""
    names = list(names)
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def _names() -> dict[str, dict[str, Any]]:
    import torch.linalg

    names = {place: dict(vars(sys.modules[place])) for place in _JUDGING_MODULES if place in sys.modules}
    return names | {"torch.Tensor": {**vars(torch._C.TensorBase), **vars(torch.Tensor)}}


def _same(names: Mapping[str, Any], present: Mapping[str, Any]) -> bool:
    """Whether the same names, in the same order, stand for the same objects; others may follow."""
    alike = len(present) >= len(names) and all(map(operator.eq, names, present))
    return alike and all(map(operator.is_, names.values(), present.values()))


def _judges(place: str, name: str, value: Any) -> bool:
    """Whether this is a function: a public one, or one of a tensor's operators."""
    public = not name.startswith("_") or (name.startswith("__") and place == "torch.Tensor")
    return public and callable(value) and not isinstance(value, ModuleType)


def _wraps(present: Any, original: Any) -> bool:
    """Whether torch's compiler was imported: it wraps `torch.manual_seed`, to leave it out of what it compiles."""
    import torch._compile

    code = getattr(present, "__code__", None)
    return code is not None and code.co_filename == torch._compile.__file__ and present.__wrapped__ is original


def _directory() -> str:
    try:
        return os.getcwd()
    except OSError:  # it was deleted
        return ""


def _file_of(descriptor: int) -> tuple[int, int] | None:
    """Return what identifies the file behind a descriptor, None if that is closed."""
    try:
        status = os.fstat(descriptor)
    except OSError:
        return None
    return status.st_dev, status.st_ino
