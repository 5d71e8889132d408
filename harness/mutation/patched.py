"""Eager with patches in its source: what a mutant and an equivalent variant are made of."""

from __future__ import annotations

import ast
import functools
import importlib
import re
import types
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import ClassVar

from attention_harness import registry
from attention_harness.model.capabilities import TRANSFORMATIONS, Arithmetic, Capabilities, Policy
from attention_harness.model.errors import HarnessError
from attention_harness.registry import Implementation

Patches = tuple[tuple[str, str], ...]
"""What stands in the source, and what replaces it."""
_LOOSEST = Arithmetic()


@functools.cache
def eager() -> Implementation:
    """Return the implementation that is patched."""
    return registry.select(["eager"])[0]


@functools.cache
def source_of_eager() -> str:
    """Return the source that is patched: eager's, with the functions of the files that it imports at its end.

    Lines of eager keep their numbers, those of the other files follow: `first_lines`.
    """
    source = eager().path.read_text(encoding="utf-8")
    for path in _parts_of_eager():
        text = path.read_text(encoding="utf-8")
        source, imports = re.subn(rf"^from \S+\.{path.stem} import .*$", "", source, flags=re.M)
        if imports != 1:
            raise HarnessError(f"{eager().path} imports {path.name} in {imports} lines, expected one")
        source += text[_head(text) :]
    return source


def first_lines() -> dict[Path, int]:
    """Return the files that are patched, and how many lines of `source_of_eager` come before each one's first."""
    found, lines = {eager().path: 0}, eager().path.read_text(encoding="utf-8").count("\n")
    for path in _parts_of_eager():
        text = path.read_text(encoding="utf-8")
        found[path] = lines - text[: _head(text)].count("\n")
        lines += text[_head(text) :].count("\n")
    return found


def _parts_of_eager() -> list[Path]:
    return sorted(eager().path.parent.glob("_eager_*.py"))


def _head(text: str) -> int:
    """Return where the functions of a source begin, behind its imports, which are among eager's."""
    return text.index("\n\n\ndef ")


@dataclass(frozen=True, slots=True)
class Patched:
    """Patches of eager's source, applied one after the other.

    kind   what they change
    under  of `TRANSFORMATIONS`, those that it declares as eager does: no other one kills or accuses it
    lacks  capabilities of eager's options that it does not declare
    """

    what: ClassVar[str]
    name: str
    kind: str
    patches: Patches
    under: tuple[str, ...] = field(default=(), kw_only=True)
    lacks: tuple[str, ...] = field(default=(), kw_only=True)

    def implementation(self) -> Implementation:
        """Return eager with the patches in it. A replacement may use `torch`."""
        module = types.ModuleType("eager_patched")
        module.__dict__["torch"] = importlib.import_module("torch")
        exec(compile(self.source(), self.file, "exec"), module.__dict__)
        none = {one.name: one.default for one in fields(Capabilities) if one.name in TRANSFORMATIONS}
        left_out = {name: default for name, default in none.items() if name not in self.under}
        declared = module.__dict__["CAPABILITIES"]
        options = tuple(option for option in declared.options if option not in self.lacks)
        module.__dict__["CAPABILITIES"] = replace(declared, options=options, **left_out)
        return Implementation(f"{self.what}:{self.name}", module, eager().path)

    @property
    def file(self) -> str:
        """The name of its source in a traceback."""
        return f"<eager as {self.what}:{self.name}>"

    def source(self) -> str:
        """Return eager's source with the patches."""
        source = source_of_eager()
        for stands, put in self.patches:
            if stands not in source:
                gone = f"{eager().path} no longer has {stands!r}"
                raise HarnessError(f"{self.what} {self.name!r}: {gone}; patch the text that took its place")
            source = source.replace(stands, put)
        return source

    def mechanisms(self) -> tuple[str, ...]:
        """Return the mechanisms whose code the patches reach: their function, or one that it calls, is changed."""
        before, after = _parts(source_of_eager()), _parts(self.source())
        changed = {part for part in before.keys() | after.keys() if before.get(part) != after.get(part)}
        known = eager().capabilities.mechanisms
        if changed & {"", "prepare"}:
            return known
        return tuple(mechanism for mechanism in known if _reachable(mechanism, after) & changed)


@dataclass(frozen=True, slots=True)
class Mutant(Patched):
    """A wrong implementation made on purpose. cites: where the like has shipped."""

    what = "mutant"
    cites: str = ""


@dataclass(frozen=True, slots=True)
class EquivalentVariant(Patched):
    """An implementation that computes in another way and is right, for every option and with its gradients.

    arithmetic, fully_masked_rows   what it declares
    second_derivatives              whether it declares those that eager has
    """

    what = "variant"
    arithmetic: Arithmetic = _LOOSEST
    fully_masked_rows: Policy = "zero"
    second_derivatives: bool = True

    def implementation(self) -> Implementation:
        """Return eager computed in this way."""
        made = Patched.implementation(self)
        made.module.__dict__["CAPABILITIES"] = replace(
            made.capabilities,
            arithmetic=self.arithmetic,
            fully_masked_rows=self.fully_masked_rows,
            second_derivatives=made.capabilities.second_derivatives and self.second_derivatives,
        )
        return made


def _reachable(part: str, parts: dict[str, tuple[str, frozenset[str]]]) -> set[str]:
    """Return the functions that a function may call, itself among them."""
    found, waiting = set(), [part]
    while waiting:
        name = waiting.pop()
        found.add(name)
        waiting += parts[name][1] & parts.keys() - found
    return found


@functools.lru_cache(maxsize=4)
def _parts(source: str) -> dict[str, tuple[str, frozenset[str]]]:
    """Return what each function and class holds, without its comments, and the names in it; all else under ""."""
    parts: dict[str, tuple[str, frozenset[str]]] = {"": ("", frozenset())}
    lines = source.splitlines()
    for node in ast.parse(source).body:
        name, first = "", node.lineno
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            name, first = node.name, min(one.lineno for one in (node, *node.decorator_list))
        text, names = parts.get(name, ("", frozenset()))
        here, used = _part("\n".join(lines[first - 1 : node.end_lineno]))
        parts[name] = (text + here, names | used)
    return parts


@functools.lru_cache(maxsize=1000)  # hundreds of mutants differ from eager in a function each
def _part(source: str) -> tuple[str, frozenset[str]]:
    """Return what a statement holds, without its comments, and the names in it."""
    tree = ast.parse(source)
    return ast.dump(tree), frozenset(word.id for word in ast.walk(tree) if isinstance(word, ast.Name))
