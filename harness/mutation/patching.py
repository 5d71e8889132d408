"""Eager's source with patches in it: what a mutant and an equivalent variant are made of."""

from __future__ import annotations

import ast
import functools
import importlib
import types

from attention_harness import registry
from attention_harness.model.errors import HarnessError

Patches = tuple[tuple[str, str], ...]
"""What stands in the source, and what replaces it."""


@functools.cache
def eager() -> registry.Implementation:
    """Return the implementation that is patched."""
    return registry.select(["eager"])[0]


@functools.cache
def source_of_eager() -> str:
    """Return the source that is patched."""
    return eager().path.read_text(encoding="utf-8")


def patched_eager(name: str, patches: Patches) -> registry.Implementation:
    """Return the eager implementation with its source patched. A replacement may use `torch`."""
    module = types.ModuleType("eager_patched")
    module.__dict__["torch"] = importlib.import_module("torch")
    exec(compile(patched_source(name, patches), f"<eager as {name}>", "exec"), module.__dict__)
    return registry.Implementation(name, module, eager().path)


def patched_source(name: str, patches: Patches) -> str:
    """Return eager's source with the patches, applied one after the other."""
    source = source_of_eager()
    for stands, put in patches:
        if stands not in source:
            raise HarnessError(f"{name}: {eager().path} no longer has {stands!r}; patch the text that took its place")
        source = source.replace(stands, put)
    return source


def reached_mechanisms(name: str, patches: Patches) -> tuple[str, ...]:
    """Return the mechanisms whose code the patches reach: their function, or one that it calls, is changed."""
    before, after = _parts(source_of_eager()), _parts(patched_source(name, patches))
    changed = {part for part in before.keys() | after.keys() if before.get(part) != after.get(part)}
    known = eager().capabilities.mechanisms
    if changed & {"", "prepare"}:
        return known
    return tuple(mechanism for mechanism in known if _reachable(mechanism, after) & changed)


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
    for node in ast.parse(source).body:
        name = node.name if isinstance(node, ast.FunctionDef | ast.ClassDef) else ""
        text, names = parts.get(name, ("", frozenset()))
        used = frozenset(word.id for word in ast.walk(node) if isinstance(word, ast.Name))
        parts[name] = (text + ast.dump(node), names | used)
    return parts
