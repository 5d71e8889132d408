"""Imports another version of a Python package beside the one that is installed, under another name.

The modules of the other version have a `__import__` of their own, by which whatever they import of their package, at
the top or in a function, is the other version's too. All that they import besides - torch, the harness - is this
process's. Compiled modules, and modules that a file imports by `importlib`, are beyond it.

Both versions share a process since that is what makes them comparable. Tried with each in a process, taking turns by a
pipe: the times of two identical functions then differed by 6.5 % (root mean square, 18 comparisons at 0.4 ms) and 3.5 %
(at 2 ms) instead of 0.5 % and 1.5 %, since each process has its memory elsewhere.
"""

from __future__ import annotations

import builtins
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any


def import_version(folder: Path, package: str, alias: str, module: str) -> ModuleType:
    """Return a module of a package whose files lie in a folder.

    package   dotted name, as the files call it
    alias     a plain name for the other version of it
    module    dotted name below the package, or "" for the package itself
    """
    if not any(isinstance(finder, _Finder) and finder.alias == alias for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder(folder, package, alias))
    return importlib.import_module(f"{alias}.{module}" if module else alias)


class _Finder(importlib.abc.MetaPathFinder):
    """Finds the modules of one version by its alias."""

    def __init__(self, folder: Path, package: str, alias: str) -> None:
        self.folder, self.package, self.alias = folder, package, alias

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name != self.alias and not name.startswith(self.alias + "."):
            return None
        base = self.folder.joinpath(*name.split(".")[1:])
        for file, inside in ((base / "__init__.py", [str(base)]), (base.with_suffix(".py"), None)):
            if file.is_file():
                loader = _Loader(name, str(file), self)
                return importlib.util.spec_from_file_location(
                    name, file, loader=loader, submodule_search_locations=inside
                )
        return None

    def import_(
        self,
        name: str,
        globals: Mapping[str, Any] | None = None,
        locals: Mapping[str, Any] | None = None,
        fromlist: Sequence[str] = (),
        level: int = 0,
    ) -> ModuleType:
        """Do what `__import__` does, in the other version's stead where its own package is meant."""
        parent, _, last = self.package.rpartition(".")
        if level == 0 and (name == self.package or name.startswith(self.package + ".")):
            found = builtins.__import__(self.alias + name.removeprefix(self.package), globals, locals, fromlist)
            return found if fromlist or not parent else self._parent(parent, last)
        found = builtins.__import__(name, globals, locals, fromlist, level)
        return self._parent(parent, last) if level == 0 and name == parent and last in (fromlist or ()) else found

    def _parent(self, parent: str, last: str) -> ModuleType:
        """Return the package above, with the other version in its place."""
        whole = importlib.import_module(parent)
        seen = ModuleType(parent)
        seen.__getattr__ = lambda name: getattr(whole, name)  # type: ignore[method-assign]
        setattr(seen, last, importlib.import_module(self.alias))
        return seen


class _Loader(importlib.machinery.SourceFileLoader):
    def __init__(self, name: str, path: str, finder: _Finder) -> None:
        super().__init__(name, path)
        self.finder = finder

    def exec_module(self, module: ModuleType) -> None:
        vars(module)["__builtins__"] = vars(builtins) | {"__import__": self.finder.import_}
        super().exec_module(module)
