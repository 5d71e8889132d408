"""Finds implementations and validates their declarations: the folder listing is the registry.

An implementation is a file in `implementations/`, a path given to `--load`, or an entry point of an installed package
in the group `attention_harness.implementations`. Loading one runs its code. Nothing here imports a framework.
"""

from __future__ import annotations

import contextlib
import fnmatch
import importlib
import importlib.machinery
import importlib.metadata
import importlib.util
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from attention_harness import implementations as _shipped
from attention_harness.model.capabilities import Capabilities
from attention_harness.model.case import Case
from attention_harness.model.errors import HarnessError
from attention_harness.model.requirements import unmet
from attention_harness.options import OPTIONS, required
from attention_harness.options import capabilities as known_options
from attention_harness.registry.mechanisms import mechanisms, unknown

ENTRY_POINTS = "attention_harness.implementations"
_NAME = re.compile(
    r"\w[\w.+@ -]{0,99}"
)  # it stands in tables, commands and names of modules; NAME@REVISION: `bench against`


@contextlib.contextmanager
def _one_line(what: str) -> Iterator[None]:
    """Turn whatever somebody's code raises into one line; a script that ends in sys.exit() must not end this one."""
    try:
        yield
    except (KeyboardInterrupt, HarnessError):
        raise
    except BaseException as error:
        try:
            text = str(error)
        except BaseException:
            text = "(its message cannot be shown)"
        raise HarnessError(f"{what} {type(error).__name__}: {text[:1000]}") from error


@dataclass(frozen=True)
class Implementation:
    """One way to compute mechanisms: a module with `CAPABILITIES` and `prepare(case)`."""

    name: str
    module: ModuleType
    path: Path
    loaded: bool = False

    @property
    def capabilities(self) -> Capabilities:
        return self.module.CAPABILITIES

    @property
    def summary(self) -> str:
        """First line of the module's docstring."""
        text = self.module.__doc__
        return text.strip().split("\n")[0] if isinstance(text, str) else ""

    def unavailable(self) -> str:
        """Return why this machine cannot run it, or ""."""
        return self._answer("unavailable")

    def refuses(self, case: Case) -> str:
        """Return why it does not take the case, or "": the declaration first, then the module's `unsupported`."""
        return refuses(self.capabilities, case) or self._answer("unsupported", case)

    def _answer(self, name: str, *arguments: Case) -> str:
        """Return the reason that an optional function of the module gives, or ""."""
        function = getattr(self.module, name, None)
        if function is None:
            return ""
        with _one_line(f"{self.path}: {name}() raised"):
            reason = function(*arguments)
        if not isinstance(reason, str | None):
            raise HarnessError(
                f"{self.path}: {name}() must return a reason or an empty text, got {type(reason).__name__}"
            )
        return reason or ""

    def known_failure(self, check: str, case: Case) -> str:
        """Return the upstream reason declared for a check of a case, or ""."""
        declared: dict[str, str] = getattr(self.module, "KNOWN_FAILURES", {})
        matches = (reason for pattern, reason in declared.items() if fnmatch.fnmatchcase(f"{check}:{case.id}", pattern))
        return next(matches, "")

    def prepare(self, case: Case) -> Callable[..., Any]:
        """Return the callable that answers the case; untimed."""
        return self.module.prepare(case)

    @property
    def device(self) -> str:
        """Where it is checked: the CPU if it takes that, otherwise its first device."""
        devices = self.capabilities.devices
        return "cpu" if "cpu" in devices else devices[0]


def refuses(capabilities: Capabilities, case: Case) -> str:
    """Return why a declaration leaves a case out, or "" when it takes it."""
    if case.device not in capabilities.devices:
        return f"device {case.device} not declared (declares {', '.join(capabilities.devices)})"
    if case.mechanism not in capabilities.mechanisms:
        return f"mechanism {case.mechanism} not declared"
    if case.dtype not in capabilities.dtypes:
        return f"dtype {case.dtype} not declared (declares {', '.join(capabilities.dtypes)})"
    if rule := unmet(capabilities.requires, case.sizes):
        return f"requires {rule}"
    missing = [option for option in required(case) if option not in capabilities.options]
    if missing:
        return f"option {', '.join(missing)} not declared (declares {', '.join(capabilities.options) or 'none'})"
    return ""


def implementations(load: Sequence[Path] = ()) -> dict[str, Implementation]:
    """Return every implementation by name: shipped, installed, then the files to load. A name twice is an error."""
    found: dict[str, Implementation] = {}
    for implementation in (*_in_folder(), *_installed(), *(_from_file(path) for path in _once(load))):
        earlier = found.get(implementation.name)
        if earlier is not None:
            raise HarnessError(
                f"two implementations named {implementation.name!r}: {earlier.path} and {implementation.path}; "
                "the file name is the name, so rename one file"
            )
        found[implementation.name] = implementation
    return found


def _once(load: Sequence[Path]) -> list[Path]:
    """Return the files to load, each once however it is spelt."""
    return list({path.resolve(): path for path in load}.values())


def select(names: Iterable[str], load: Sequence[Path] = ()) -> list[Implementation]:
    """Return the named implementations; all when none is named, or the loaded ones when there are any."""
    known = implementations(load)
    wanted = list(names) or [name for name, found in known.items() if found.loaded] or list(known)
    for name in dict.fromkeys(wanted):
        if name not in known:
            raise unknown("implementation", name, known, f"to add it: create implementations/{name}.py or --load FILE")
    return [known[name] for name in dict.fromkeys(wanted)]


def _in_folder() -> list[Implementation]:
    files = sorted(Path(_shipped.__path__[0]).glob("[!_]*.py"))
    return [_validated(Implementation(path.stem, _imported(path), path)) for path in files]


def _imported(path: Path) -> ModuleType:
    with _one_line(f"{path}: importing it raised"):
        return importlib.import_module(f"attention_harness.implementations.{path.stem}")


def _installed() -> list[Implementation]:
    found = []
    for entry in importlib.metadata.entry_points(group=ENTRY_POINTS):
        with _one_line(f"entry point {entry.name} = {entry.value} does not load:"):
            module = entry.load()
        path = Path(getattr(module, "__file__", None) or entry.value)
        found.append(_validated(Implementation(entry.name, module, path)))
    return found


class _Uncached(importlib.machinery.SourceFileLoader):
    """Read the source itself: no bytecode is left beside the user's file, and none is taken for it.

    Python takes cached bytecode for a source of the same size and second: an edit and its run can be that close.
    """

    def path_stats(self, path: str | bytes) -> dict[str, float]:
        raise OSError(f"{path!r}: bytecode is neither written nor read")


def _from_file(path: Path) -> Implementation:
    if not path.is_file():
        wrong = "a directory; give one file" if path.is_dir() else "no such file"
        raise HarnessError(f"--load {path}: {wrong}")
    name = f"implementations_loaded_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path.resolve(), loader=_Uncached(name, str(path.resolve())))
    if spec is None or spec.loader is None or path.suffix != ".py":
        raise HarnessError(f"--load {path}: not a Python file")
    if name in sys.modules and getattr(sys.modules[name], "__file__", None) == str(path.resolve()):
        return _validated(Implementation(path.stem, sys.modules[name], path, loaded=True))
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # so that its classes pickle, and torch.compile finds its source
    try:
        # standard output may have to be one JSON document
        with _one_line(f"--load {path}: importing it raised"), contextlib.redirect_stdout(sys.stderr):
            spec.loader.exec_module(module)
    except HarnessError as error:
        sys.modules.pop(name, None)
        text = str(error)
        raise HarnessError(text if text.startswith("--load") else f"--load {path}: {text}") from error
    return _validated(Implementation(path.stem, module, path, loaded=True))


def _validated(found: Implementation) -> Implementation:
    """Check the contract of the module, so that a mistake is one line now and not a traceback later."""
    where = f"{found.path}"
    if not _NAME.fullmatch(found.name):
        raise HarnessError(
            f"{where}: {found.name[:100]!r} cannot name an implementation; use at most 100 letters, digits and _.+@- "
            "and spaces, a letter, digit or _ first"
        )
    capabilities = getattr(found.module, "CAPABILITIES", None)
    if not isinstance(capabilities, Capabilities):
        raise HarnessError(f"{where}: no CAPABILITIES = Capabilities(...) at module level")
    if not callable(getattr(found.module, "prepare", None)):
        raise HarnessError(f"{where}: no function prepare(case) that returns the callable to judge")
    failures = getattr(found.module, "KNOWN_FAILURES", {})
    texts = [*failures, *failures.values()] if isinstance(failures, dict) else [None]
    if not all(isinstance(text, str) and text for text in texts):
        raise HarnessError(f"{where}: KNOWN_FAILURES must be a dict from a pattern of check:case to a reason")
    policy = capabilities.policy
    ways = () if isinstance(policy, str) else tuple(way for way, _ in policy)
    for kind, names, known in (
        ("mechanism", capabilities.mechanisms, tuple(mechanisms())),
        ("option", capabilities.options, known_options()),
        ("input", (*capabilities.narrower_inputs, *capabilities.wider_inputs), _tensors()),
        ("option that hides keys", ways, tuple(name for name, option in OPTIONS.items() if option.hides)),
    ):
        for name in names:
            if name not in known:
                raise HarnessError(f"{where}: CAPABILITIES names {unknown(kind, name, known)}")
    return found


def _tensors() -> tuple[str, ...]:
    """Return the names of all tensors of mechanisms and options, but for those whose dtype is the case's: the first."""
    of_mechanisms = (declared.name for known in mechanisms().values() for declared in known.inputs[1:])
    return tuple(dict.fromkeys((*of_mechanisms, *(name for name, option in OPTIONS.items() if option.tensor))))
