"""Python and packages against the ranges in pyproject.toml and, in a checkout, the pins in constraints.txt.

Versions come from the packages' metadata: nothing is imported.
"""

from __future__ import annotations

import functools
import importlib.metadata
import re
import shlex
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from attention_harness.commands.doctor.finding import OK, Finding

NAME = "attention-harness"
ROOT = Path(__file__).resolve().parents[3]
EXTRAS = ("onnx", "report", "cuda")
"""What a user may want; the other extras are for who works on the harness."""

_REQUIREMENT = re.compile(r"([A-Za-z0-9._-]+)\s*(?:\[[^]]*\])?\s*([^;\s]*)\s*(?:;.*extra == ['\"]([\w-]+)['\"].*)?")


@dataclass(frozen=True, slots=True)
class Requirement:
    """A package, its range such as ">=2.6", and the extra that asks for it; "" for what is always installed."""

    name: str
    range: str
    extra: str


def findings() -> Iterator[Finding]:
    """Yield Python, each package that is needed, and each that an extra brings."""
    yield _python()
    pins = _pins()
    for requirement in requirements():
        if requirement.extra in ("", *EXTRAS):
            yield _package(requirement, pins.get(requirement.name, ""))


@functools.cache
def requirements() -> tuple[Requirement, ...]:
    """Return what the checkout, or else the installed distribution, asks for; each package once."""
    project = _project()
    if project:
        listed = [(text, "") for text in project["dependencies"]]
        listed += [(text, extra) for extra, own in project["optional-dependencies"].items() for text in own]
    else:
        listed = [(text, "") for text in _installed()]
    found: dict[str, Requirement] = {}
    for text, extra in listed:
        matched = _REQUIREMENT.match(text)
        if matched and matched[1] != NAME:
            found.setdefault(matched[1], Requirement(matched[1], matched[2], matched[3] or extra))
    return tuple(found.values())


def command(extra: str) -> str:
    """Return the command that installs what an extra brings, or what is always needed."""
    brackets = f"[{extra}]" if extra else ""
    if not _project():
        return f'python -m pip install "{NAME}{brackets}"'
    pinned = "-c constraints.txt " if (ROOT / "constraints.txt").is_file() else ""
    return f'cd {shlex.quote(str(ROOT))} && python -m pip install {pinned}-e ".{brackets}"'


def version(name: str) -> str:
    """Return the version that is installed, or ""."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


@functools.cache
def _project() -> dict[str, Any]:
    """Return the [project] table of the checkout that this package lies in; nothing outside of one."""
    try:
        project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        return project if project["name"] == NAME else {}
    except (OSError, ValueError, KeyError):
        return {}


def _installed() -> list[str]:
    try:
        return importlib.metadata.requires(NAME) or []
    except importlib.metadata.PackageNotFoundError:
        return []


def _python() -> Finding:
    ranged = _project().get("requires-python") or _metadata_python()
    here = ".".join(map(str, sys.version_info[:3]))
    if _within(here, ranged):
        return Finding("packages", "Python", OK, here, "" if ranged else "its range is not known")
    return Finding("packages", "Python", "missing", here, f"Python {ranged}: make a virtual environment of such a one")


def _metadata_python() -> str:
    try:
        return dict(importlib.metadata.metadata(NAME).items()).get("Requires-Python", "")  # type: ignore[attr-defined]
    except importlib.metadata.PackageNotFoundError:
        return ""


def _package(requirement: Requirement, pin: str) -> Finding:
    name, extra = requirement.name, requirement.extra
    found = version(name)
    if name == "onnxruntime" and not found:  # the two install the same files
        name, found = ("onnxruntime-gpu", other) if (other := version("onnxruntime-gpu")) else (name, "")
    if not found:
        return Finding("packages", name, "absent" if extra else "missing", "not installed", command(extra))
    if not _within(found, requirement.range):
        state = "too old" if extra else "missing"
        return Finding("packages", name, state, f"{found}, not {requirement.range}", command(extra))
    other = f"the published results were made with {pin}" if pin and found.partition("+")[0] != pin else ""
    return Finding("packages", name, OK, found, other)


def _pins() -> dict[str, str]:
    """Return the versions that constraints.txt pins, where there is one."""
    try:
        lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    except OSError:
        return {}
    return dict(line.strip().split("==", 1) for line in lines if "==" in line and not line.startswith("#"))


def _within(found: str, ranged: str) -> bool:
    """Whether a version satisfies a range of ours: bounds such as ">=3.11,<3.14" on numbers, and nothing else."""
    for operator, bound in re.findall(r"(>=|<)\s*([\d.]+)", ranged):
        if (_numbers(found) >= _numbers(bound)) != (operator == ">="):
            return False
    return True


def _numbers(text: str) -> tuple[int, ...]:
    release = re.match(r"\d+(?:\.\d+)*", text)
    numbers = [int(part) for part in release[0].split(".")] if release else []
    return (*numbers, 0, 0, 0)[:4]
