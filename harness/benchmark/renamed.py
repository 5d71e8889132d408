"""Loads another version of a Python package beside the one that is installed, under another name.

What the package imports of itself is imported from the other version too: the loader renames these imports while it
compiles a file, wherever in the file they stand. All that it imports besides - torch, this harness - is this
process's.
"""

from __future__ import annotations

import ast
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path
from types import CodeType, ModuleType


def load(folder: Path, package: str, alias: str, module: str) -> ModuleType:
    """Return `module` of `package` as it stands in a folder; package and module are dotted names, alias a plain one."""
    if not any(isinstance(finder, _Finder) and finder.alias == alias for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder(folder, package, alias))
    return importlib.import_module(alias + module.removeprefix(package))


class _Finder(importlib.abc.MetaPathFinder):
    def __init__(self, folder: Path, package: str, alias: str) -> None:
        self.folder, self.package, self.alias = folder, package, alias

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name != self.alias and not name.startswith(self.alias + "."):
            return None
        base = self.folder.joinpath(self.package, *name.split(".")[1:])
        for file, inside in ((base / "__init__.py", [str(base)]), (base.with_suffix(".py"), None)):
            if file.is_file():
                loader = _Loader(name, str(file), self.package, self.alias)
                return importlib.util.spec_from_file_location(
                    name, file, loader=loader, submodule_search_locations=inside
                )
        return None


class _Loader(importlib.machinery.SourceFileLoader):
    def __init__(self, name: str, path: str, package: str, alias: str) -> None:
        super().__init__(name, path)
        self.package, self.alias = package, alias

    def get_code(self, fullname: str) -> CodeType:  # never the bytecode beside the file: its names are the old ones
        path = self.get_filename(fullname)
        tree = _Imports(self.package, self.alias).visit(ast.parse(self.get_data(path), path))
        code: CodeType = compile(ast.fix_missing_locations(tree), path, "exec", dont_inherit=True)
        return code


class _Imports(ast.NodeTransformer):
    """Renames the absolute imports of a package."""

    def __init__(self, package: str, alias: str) -> None:
        self.package, self.alias = package, alias

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST:
        if node.level == 0 and node.module and self._own(node.module):
            node.module = self._renamed(node.module)
        return node

    def visit_Import(self, node: ast.Import) -> ast.AST | list[ast.AST]:
        """`import package.part` binds `package`, which then has to be the other version."""
        own = [name for name in node.names if self._own(name.name)]
        bound = [name for name in own if name.asname is None]
        for name in own:
            name.name = self._renamed(name.name)
        if not bound:
            return node
        return [node, ast.copy_location(ast.Import([ast.alias(self.alias, self.package)]), node)]

    def _own(self, name: str) -> bool:
        return name == self.package or name.startswith(self.package + ".")

    def _renamed(self, name: str) -> str:
        return self.alias + name.removeprefix(self.package)
