"""Finds implementations and validates their declarations: the folder listing is the registry.

An implementation is a file in `implementations/`, a path given to `--load`, or an entry point of an installed package
in the group `attention_harness.implementations`. Loading one runs its code. Nothing here imports a framework.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from attention_harness.host import loading
from attention_harness.host.loading import Facts, Source
from attention_harness.model.capabilities import Capabilities
from attention_harness.model.case import Case
from attention_harness.model.dtypes import PROBABILITIES
from attention_harness.model.errors import HarnessError
from attention_harness.model.requirements import unmet
from attention_harness.options import OPTIONS, TENSORS, required
from attention_harness.options import capabilities as known_options
from attention_harness.registry.mechanisms import mechanisms, unknown

_NAME = re.compile(
    r"\w[\w.+@ -]{0,99}"
)  # it stands in tables, commands and names of modules; NAME@REVISION: `bench against`


class Declared:
    """What an implementation declares: data, but for two functions of its module, which are asked where it lives."""

    name: str
    path: Path
    loaded: bool
    module_name: str

    @property
    def capabilities(self) -> Capabilities:
        raise NotImplementedError

    @property
    def summary(self) -> str:
        """First line of the module's docstring."""
        raise NotImplementedError

    @property
    def failures(self) -> Mapping[str, str]:
        """Its `KNOWN_FAILURES`."""
        raise NotImplementedError

    def answer(self, name: str, *arguments: Case) -> str:
        """Return the reason that an optional function of the module gives, or ""."""
        raise NotImplementedError

    def unavailable(self) -> str:
        """Return why this machine cannot run it, or ""."""
        return self.answer("unavailable")

    def refuses(self, case: Case) -> str:
        """Return why it does not take the case, or "": the declaration first, then the module's `unsupported`."""
        return refuses(self.capabilities, case) or self.answer("unsupported", case)

    def known_failure(self, check: str, case: Case) -> str:
        """Return the upstream reason declared for a check of a case, or ""."""
        matches = (
            reason for pattern, reason in self.failures.items() if fnmatch.fnmatchcase(f"{check}:{case.id}", pattern)
        )
        return next(matches, "")

    @property
    def device(self) -> str:
        """Where it is checked: the CPU if it takes that, otherwise its first device."""
        devices = self.capabilities.devices
        return "cpu" if "cpu" in devices else devices[0]


@dataclass(frozen=True)
class Implementation(Declared):
    """One way to compute mechanisms, imported here: a module with `CAPABILITIES` and `prepare(case)`."""

    name: str
    module: ModuleType
    path: Path
    loaded: bool = False

    @property
    def capabilities(self) -> Capabilities:
        return self.module.CAPABILITIES

    @property
    def summary(self) -> str:
        text = self.module.__doc__
        return text.strip().split("\n")[0] if isinstance(text, str) else ""

    @property
    def failures(self) -> Mapping[str, str]:
        return getattr(self.module, "KNOWN_FAILURES", {})

    @property
    def module_name(self) -> str:  # type: ignore[override]
        return self.module.__name__

    def answer(self, name: str, *arguments: Case) -> str:
        return loading.answer(self.module, self.path, name, *arguments)

    def prepare(self, case: Case) -> Callable[..., Any]:
        """Return the callable that answers the case; untimed."""
        return self.module.prepare(case)


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


_Found = TypeVar("_Found", bound=Declared)


def implementations(load: Sequence[Path] = ()) -> dict[str, Implementation]:
    """Return every implementation by name, imported here: shipped, installed, then the files to load."""
    return named(map(imported, sources(load)))


def imported(source: Source) -> Implementation:
    """Return an implementation that is imported into this process."""
    module = loading.load(source)
    found = loading.facts(source, module)
    validate(source.name, found)
    return Implementation(source.name, module, found.path, source.loaded)


def sources(load: Sequence[Path] = ()) -> list[Source]:
    """Return where implementations come from; a file to load is given once however it is spelt."""
    files = {path.resolve(): path for path in load}.values()
    return [
        *loading.shipped_sources(),
        *loading.installed_sources(),
        *(Source(path.stem, str(path), loaded=True) for path in files),
    ]


def source(name: str, load: Sequence[Path] = ()) -> Source:
    """Return where an implementation comes from; of the files to load its own alone counts."""
    found = [one for one in sources([path for path in load if path.stem == name]) if one.name == name]
    if len(found) != 1:
        raise HarnessError(f"no implementation {name!r}" if not found else f"two implementations named {name!r}")
    return found[0]


def named(implementations: Iterable[_Found]) -> dict[str, _Found]:
    """Return implementations by name. A name twice is an error."""
    found: dict[str, _Found] = {}
    for implementation in implementations:
        earlier = found.get(implementation.name)
        if earlier is not None:
            raise HarnessError(
                f"two implementations named {implementation.name!r}: {earlier.path} and {implementation.path}; "
                "the file name is the name, so rename one file"
            )
        found[implementation.name] = implementation
    return found


def select(names: Iterable[str], load: Sequence[Path] = ()) -> list[Implementation]:
    """Return the named implementations; all when none is named, or the loaded ones when there are any."""
    return chosen(names, implementations(load))


def chosen(names: Iterable[str], known: Mapping[str, _Found]) -> list[_Found]:
    """Return the named ones; all when none is named, or the loaded ones when there are any."""
    wanted = list(names) or [name for name, found in known.items() if found.loaded] or list(known)
    for name in dict.fromkeys(wanted):
        if name not in known:
            raise unknown("implementation", name, known, f"to add it: create implementations/{name}.py or --load FILE")
    return [known[name] for name in dict.fromkeys(wanted)]


def validate(name: str, found: Facts) -> None:
    """Check that what is declared is known, so that a mistake is one line now and not a traceback later."""
    if not _NAME.fullmatch(name):
        raise HarnessError(
            f"{found.file}: {name[:100]!r} cannot name an implementation; use at most 100 letters, digits and _.+@- "
            "and spaces, a letter, digit or _ first"
        )
    capabilities = found.capabilities
    policy = capabilities.policy
    ways = () if isinstance(policy, str) else tuple(way for way, _ in policy)
    for kind, names, known in (
        ("mechanism", capabilities.mechanisms, tuple(mechanisms())),
        ("option", capabilities.options, known_options()),
        ("input", (*capabilities.narrower_inputs, *capabilities.wider_inputs), _tensors()),
        ("quantised tensor", tuple(capabilities.arithmetic.codes), _quantisable()),
        ("option that hides keys", ways, tuple(name for name, option in OPTIONS.items() if option.hides)),
    ):
        for one in names:
            if one not in known:
                raise HarnessError(f"{found.file}: CAPABILITIES names {unknown(kind, one, known)}")


def _quantisable() -> tuple[str, ...]:
    """Return the names of what may be turned into codes: tensors of positions and features, and weights."""
    names = (x.name for known in mechanisms().values() for x in known.inputs if len(x.axes) > 2 and not x.parameter)
    return (*dict.fromkeys(names), PROBABILITIES)


def _tensors() -> tuple[str, ...]:
    """Return the names of all tensors of mechanisms and options, but for those whose dtype is the case's: the first."""
    of_mechanisms = (declared.name for known in mechanisms().values() for declared in known.inputs[1:])
    return tuple(dict.fromkeys((*of_mechanisms, *TENSORS)))
