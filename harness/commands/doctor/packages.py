"""Python and packages against the ranges of the installed distribution. Versions come from metadata, so nothing is
imported; and it runs on the standard library alone, since it has to work where nothing is installed.
"""

from __future__ import annotations

import functools
import importlib.metadata
import platform
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

NAME = "attention-harness"
ROOT = Path(__file__).resolve().parents[3]
EXTRAS = {
    "onnx": "the ONNX implementations",
    "report": "the verb report",
    "cuda": "onnx_cuda",
    "jax": "jax",
    "keops": "keops",
    "openvino": "openvino",
}
"""What a user may want, and what it is for; the other extras are for who works on the harness."""

_REQUIREMENT = re.compile(r"([A-Za-z0-9._-]+)\s*(?:\[[^]]*\])?\s*([^;\s]*)\s*(?:;.*extra == ['\"]([\w-]+)['\"].*)?")

OK = "ok"
MISSING = "missing"
"""What a default run needs and does not have."""


@dataclass(frozen=True, slots=True)
class Finding:
    """state: ok; missing; absent or too old, which a default run can do without; unavailable; or a note.

    found    what is there
    advice   the command that adds what is missing, or what follows from what is there
    """

    subject: str
    name: str
    state: str
    found: str
    advice: str = ""


@dataclass(frozen=True, slots=True)
class Requirement:
    """A package, its range such as ">=2.6", and the extra that asks for it; "" for what is always installed."""

    name: str
    range: str
    extra: str


def findings() -> Iterator[Finding]:
    """Yield Python, each package that is needed, and each that an extra brings."""
    here = platform.python_version()
    wanted = importlib.metadata.metadata(NAME)["Requires-Python"] or ""
    fits = within(here, wanted)
    advice = "" if fits else f"make a virtual environment of a Python {wanted}"
    yield Finding("packages", "Python", OK if fits else MISSING, here, advice)
    for requirement in requirements():
        if requirement.extra in ("", *EXTRAS):
            yield _package(requirement)


@functools.cache
def requirements() -> tuple[Requirement, ...]:
    """Return what the installed distribution asks for, each package once."""
    found: dict[str, Requirement] = {}
    for text in importlib.metadata.metadata(NAME).get_all("Requires-Dist") or ():
        matched = _REQUIREMENT.match(text)
        if matched and matched[1] != NAME:
            found.setdefault(matched[1], Requirement(matched[1], matched[2], matched[3] or ""))
    return tuple(found.values())


def install_command(extra: str) -> str:
    """Return the command that installs what an extra brings, or what is always needed."""
    brackets = f"[{extra}]" if extra else ""
    if not (ROOT / "pyproject.toml").is_file():
        return f'python -m pip install "{NAME}{brackets}"'
    pinned = "-c constraints.txt " if (ROOT / "constraints.txt").is_file() else ""
    return f'cd {shlex.quote(str(ROOT))} && python -m pip install {pinned}-e ".{brackets}"'


def version(name: str) -> str:
    """Return the version that is installed, or ""."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


def within(found: str, ranged: str) -> bool:
    """Whether a version satisfies a range of ours: bounds such as ">=3.11,<3.14" on numbers, and nothing else."""
    bounds = re.findall(r"(>=|<)\s*([\d.]+)", ranged)
    return all((_numbers(found) >= _numbers(bound)) == (operator == ">=") for operator, bound in bounds)


def _numbers(text: str) -> tuple[int, ...]:
    release = re.match(r"\d+(?:\.\d+)*", text)
    return (*map(int, release[0].split(".")), 0, 0, 0)[:4] if release else (0, 0, 0, 0)


def _package(requirement: Requirement) -> Finding:
    name, extra = requirement.name, requirement.extra
    found = version(name)
    if name == "onnxruntime" and not found and (other := version("onnxruntime-gpu")):  # both install the same files
        name, found = "onnxruntime-gpu", other
    if found and within(found, requirement.range):
        return Finding("packages", name, OK, found)
    what = f"{found}, not {requirement.range}" if found else "not installed"
    state = MISSING if not extra else "too old" if found else "absent"
    return Finding(
        "packages", name, state, what + (f"; {EXTRAS[extra]} needs it" if extra else ""), install_command(extra)
    )
