"""A mutant: a small change of the shipped eager implementation's source, as data."""

from __future__ import annotations

import ast
import functools
import importlib
import types
from collections.abc import Iterable
from dataclasses import dataclass

from attention_harness import registry
from attention_harness.model.errors import HarnessError

Patches = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Mutant:
    """kind: its class. patches: (what stands in the source, what is put there). cites: where the like has shipped."""

    name: str
    kind: str
    patches: Patches
    cites: str = ""


def planted(mutant: Mutant) -> registry.Implementation:
    """Return the eager implementation with the mutant in it; its name is `mutant:NAME`."""
    return built(f"mutant:{mutant.name}", mutant.patches)


def mutants(kind: str, rows: Iterable[tuple[str, ...]]) -> tuple[Mutant, ...]:
    """Return mutants of one patch each from rows (name, what stands, what is put[, cites])."""
    return tuple(Mutant(name, kind, ((stands, put),), *cites) for name, stands, put, *cites in rows)


def built(name: str, patches: Patches) -> registry.Implementation:
    """Return the eager implementation with its source patched. What is put may use `torch`."""
    module = types.ModuleType("eager_patched")
    module.__dict__["torch"] = importlib.import_module("torch")
    exec(compile(patched(name, patches), f"<eager as {name}>", "exec"), module.__dict__)
    return registry.Implementation(name, module, eager().path)


def patched(name: str, patches: Patches) -> str:
    """Return the source of the eager implementation with the patches, one after the other."""
    source = source_of_eager()
    for stands, put in patches:
        if stands not in source:
            raise HarnessError(f"{name}: {eager().path} no longer has {stands!r}; plant it where that went")
        source = source.replace(stands, put)
    return source


def concerned(name: str, patches: Patches) -> tuple[str, ...]:
    """Return the mechanisms whose code the patches reach: their function, or one that it calls, is changed."""
    before, after = _parts(source_of_eager()), _parts(patched(name, patches))
    changed = {part for part in before.keys() | after.keys() if before.get(part) != after.get(part)}
    known = eager().capabilities.mechanisms
    if changed & {"", "prepare"}:
        return known

    def reached(part: str, seen: frozenset[str]) -> frozenset[str]:
        seen = seen | {part}
        for called in after[part][1] & after.keys():
            seen = seen if called in seen else reached(called, seen)
        return seen

    return tuple(mechanism for mechanism in known if reached(mechanism, frozenset()) & changed)


@functools.lru_cache(maxsize=4)
def _parts(source: str) -> dict[str, tuple[str, frozenset[str]]]:
    """Return what each function and class holds, without its comments, and the names in it; all else under ""."""
    parts: dict[str, tuple[str, frozenset[str]]] = {"": ("", frozenset())}
    for node in ast.parse(source).body:
        name = node.name if isinstance(node, ast.FunctionDef | ast.ClassDef) else ""
        text, names = parts.get(name, ("", frozenset()))
        used = frozenset(word.id for word in ast.walk(node) if isinstance(word, ast.Name))
        parts[name] = (text + ast.dump(node), names | used)
    return parts


@functools.cache
def eager() -> registry.Implementation:
    """Return what is patched."""
    return registry.select(["eager"])[0]


@functools.cache
def source_of_eager() -> str:
    """Return its source."""
    return eager().path.read_text(encoding="utf-8")
