"""Loads the module of an implementation in this process: a shipped one, an installed one, or a file.

Loading runs its code. What is declared in it is checked by whoever knows the mechanisms.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.machinery
import importlib.metadata
import importlib.util
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType

import msgspec

from attention_harness import implementations as shipped
from attention_harness.model.capabilities import Capabilities
from attention_harness.model.case import Case
from attention_harness.model.errors import HarnessError

ENTRY_POINTS = "attention_harness.implementations"

ANSWERS = ("unavailable", "unsupported")
"""Optional functions of the module that give a reason, or an empty text."""


class Source(msgspec.Struct, frozen=True):
    """Where an implementation comes from.

    entry   the value of an installed package's entry point; "" for a file
    loaded  whether the file was given to `--load`; otherwise it is a shipped one
    """

    name: str
    file: str
    loaded: bool = False
    entry: str = ""

    @property
    def path(self) -> Path:
        return Path(self.file)

    @property
    def where(self) -> str:
        """What complaints about it begin with."""
        return f"entry point {self.name} = {self.entry}" if self.entry else self.file


class Facts(msgspec.Struct, frozen=True):
    """What a module declares, as data.

    failures  KNOWN_FAILURES
    answers   those of `ANSWERS` that it has
    module    its name
    """

    capabilities: Capabilities
    summary: str
    failures: Mapping[str, str]
    answers: tuple[str, ...]
    module: str
    file: str

    @property
    def path(self) -> Path:
        return Path(self.file)


def shipped_sources() -> list[Source]:
    """Return the shipped implementations."""
    files = sorted(Path(shipped.__path__[0]).glob("[!_]*.py"))
    return [Source(path.stem, str(path)) for path in files]


def installed_sources() -> list[Source]:
    """Return the implementations of installed packages."""
    found = importlib.metadata.entry_points(group=ENTRY_POINTS)
    return [Source(entry.name, entry.value, entry=entry.value) for entry in found]


def load(source: Source) -> ModuleType:
    """Return the module; HarnessError, in one line, if that raises."""
    if source.loaded:
        return _from_file(source.path)
    if not source.entry:
        with one_line(f"{source.path}: importing it raised"):
            return importlib.import_module(f"{shipped.__name__}.{source.path.stem}")
    with one_line(f"{source.where} does not load:"):
        module: ModuleType = importlib.metadata.EntryPoint(source.name, source.entry, ENTRY_POINTS).load()
    return module


@contextlib.contextmanager
def one_line(what: str) -> Iterator[None]:
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


class _Uncached(importlib.machinery.SourceFileLoader):
    """Read the source itself: no bytecode is left beside the user's file, and none is taken for it.

    Python takes cached bytecode for a source of the same size and second: an edit and its run can be that close.
    """

    def path_stats(self, path: str | bytes) -> dict[str, float]:
        raise OSError(f"{path!r}: bytecode is neither written nor read")


def _from_file(path: Path) -> ModuleType:
    if not path.is_file():
        wrong = "a directory; give one file" if path.is_dir() else "no such file"
        raise HarnessError(f"--load {path}: {wrong}")
    name = f"implementations_loaded_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path.resolve(), loader=_Uncached(name, str(path.resolve())))
    if spec is None or spec.loader is None or path.suffix != ".py":
        raise HarnessError(f"--load {path}: not a Python file")
    if name in sys.modules and getattr(sys.modules[name], "__file__", None) == str(path.resolve()):
        return sys.modules[name]
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # so that its classes pickle, and torch.compile finds its source
    try:
        # standard output may have to be one JSON document
        with one_line(f"--load {path}: importing it raised"), contextlib.redirect_stdout(sys.stderr):
            spec.loader.exec_module(module)
    except HarnessError as error:
        sys.modules.pop(name, None)
        text = str(error)
        raise HarnessError(text if text.startswith("--load") else f"--load {path}: {text}") from error
    return module


def facts(source: Source, module: ModuleType) -> Facts:
    """Return what a module declares; HarnessError where it breaks the contract, one line now and no traceback later."""
    path = (getattr(module, "__file__", None) if source.entry else None) or source.file
    capabilities = getattr(module, "CAPABILITIES", None)
    if not isinstance(capabilities, Capabilities):
        raise HarnessError(f"{path}: no CAPABILITIES = Capabilities(...) at module level")
    if not callable(getattr(module, "prepare", None)):
        raise HarnessError(f"{path}: no function prepare(case) that returns the callable to judge")
    failures = getattr(module, "KNOWN_FAILURES", {})
    texts = [*failures, *failures.values()] if isinstance(failures, dict) else [None]
    if not all(isinstance(text, str) and text for text in texts):
        raise HarnessError(f"{path}: KNOWN_FAILURES must be a dict from a pattern of check:case to a reason")
    text = module.__doc__
    summary = text.strip().split("\n")[0] if isinstance(text, str) else ""
    answers = tuple(name for name in ANSWERS if getattr(module, name, None) is not None)
    return Facts(capabilities, summary, failures, answers, str(module.__name__), path)


def answer(module: ModuleType, path: Path, name: str, *arguments: Case) -> str:
    """Return the reason that an optional function of the module gives, or ""."""
    function: Callable[..., object] | None = getattr(module, name, None)
    if function is None:
        return ""
    with one_line(f"{path}: {name}() raised"):
        reason = function(*arguments)
    if not isinstance(reason, str | None):
        raise HarnessError(f"{path}: {name}() must return a reason or an empty text, got {type(reason).__name__}")
    return reason or ""
