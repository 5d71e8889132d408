"""Another version of an implementation as an arm of its own: of a git revision, or of a folder of installed packages.

The files of a revision are laid into a temporary folder that is gone when the measuring ends, however it ends, and
nothing is written into the repository. A small file beside them loads the old implementation under the name
`NAME@VERSION`, so that it is checked, prepared and timed exactly like the one of today.
"""

from __future__ import annotations

import ast
import re
import subprocess
import tarfile
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from attention_harness import implementations as shipped
from attention_harness.execution import declarations
from attention_harness.model.errors import HarnessError
from attention_harness.registry import Declared

_FILE = '''\
"""{title}"""

from pathlib import Path

from attention_harness.benchmark.version_import import import_version

_module = import_version(Path({folder!r}), {package!r}, {alias!r}, {module!r})
_NAMES = ("CAPABILITIES", "KNOWN_FAILURES", "prepare", "unavailable", "unsupported")
globals().update({{name: getattr(_module, name) for name in _NAMES if hasattr(_module, name)}})
'''
_LIMIT = (
    "another version shares this process: its own Python files alone are the old ones, and torch and the harness are "
    "today's; an implementation that needs an older harness cannot be measured under this one, such as any from before "
    "the import name attention_harness"
)


@dataclass(frozen=True)
class Version:
    """Where another version lies.

    label     names it: the short commit, or the folder's name
    title     says what it is, in full
    folder    of the files; the root of a checkout, or a folder of packages
    root      the checkout of today that it is a revision of; None for a folder of packages
    """

    label: str
    title: str
    folder: Path
    root: Path | None


# --- finding a version


@contextmanager
def opened(target: str, implementations: Sequence[Declared]) -> Iterator[Version]:
    """Give the version that `bench against` names: a folder as it is, or the files of a git revision."""
    if Path(target).is_dir():
        folder = Path(target).resolve()
        yield Version(re.sub(r"\W+", "_", folder.name), str(folder), folder, None)
        return
    roots = {_root(implementation.path) for implementation in implementations}
    if len(roots) != 1:
        raise HarnessError("bench against needs implementations of one checkout; name those of one repository")
    [root] = roots
    commit = _git(root, "rev-parse", "--verify", "--quiet", f"{target}^{{commit}}")
    if not commit:
        raise HarnessError(f"{target} is neither a revision of {root} nor a folder; `git -C {root} log` lists")
    label = _git(root, "rev-parse", "--short", commit)
    with tempfile.TemporaryDirectory(prefix="harness-against-") as unpacked:
        _unpack(root, commit, Path(unpacked))
        yield Version(label, f"{target} ({commit})", Path(unpacked), root)


def _root(path: Path) -> Path:
    root = _git(path.resolve().parent, "rev-parse", "--show-toplevel")
    if not root:
        raise HarnessError(f"bench against: {path} is in no git checkout; give the folder of another version instead")
    return Path(root)


def _git(folder: Path, *arguments: str) -> str:
    """Return what git prints, or "" where it refuses."""
    try:
        done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=False)
    except OSError as error:
        raise HarnessError(f"bench against needs git: {error}") from error
    return done.stdout.strip() if done.returncode == 0 else ""


def _unpack(root: Path, commit: str, folder: Path) -> None:
    done = subprocess.run(["git", "-C", str(root), "archive", commit], capture_output=True, check=False)
    if done.returncode:
        raise HarnessError(f"bench against: git archive {commit}: {done.stderr.decode(errors='replace').strip()}")
    with tarfile.open(fileobj=BytesIO(done.stdout)) as files:
        files.extractall(folder, filter="data")


@dataclass(frozen=True)
class _Place:
    """Where an implementation's module lies in two versions. here, there: the folders that hold its top package.

    The package of the shipped ones is called by its folder: its name is mapped when it is installed.
    """

    module: str
    here: Path
    there: Path
    is_shipped: bool

    def files(self, module: str) -> tuple[Path | None, Path | None]:
        """Return a module's file in either version, None where there is none."""
        bases = (folder.joinpath(*module.split(".")) for folder in (self.here, self.there))
        now, then = (next(filter(Path.is_file, (b.with_suffix(".py"), b / "__init__.py")), None) for b in bases)
        return now, then


def _place(implementation: Declared, version: Version) -> _Place:
    path = implementation.path.resolve()
    is_shipped = not implementation.loaded and path.parent == Path(shipped.__path__[0]).resolve()
    if implementation.loaded:
        module, here = path.stem, path.parent
    elif is_shipped:
        module, here = f"{path.parent.name}.{path.stem}", path.parents[1]
    else:
        module = implementation.module_name
        base = path.parent if path.name == "__init__.py" else path.with_suffix("")
        here = base.parents[module.count(".")]
    if version.root:
        return _Place(module, here, version.folder / here.relative_to(version.root), is_shipped)
    installed = version.folder / "attention_harness"
    there = installed if is_shipped and installed.is_dir() else version.folder
    return _Place(module, here, there, is_shipped)


def differs(implementation: Declared, version: Version) -> bool:
    """Return whether the file of an implementation, or one of its package that it imports, is another one there."""
    place = _place(implementation, version)
    package = place.module.partition(".")[0]
    waiting, seen = [place.module], set[str]()
    while waiting:
        if (module := waiting.pop()) in seen:
            continue
        seen.add(module)
        now, then = (file.read_text(encoding="utf-8") if file else "" for file in place.files(module))
        if now != then:
            return True
        waiting += _imports(now, package)
    return False


def _imports(source: str, package: str) -> Iterable[str]:
    """Yield the modules of a package that a source imports, at any depth."""
    for node in ast.walk(ast.parse(source)):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [name.name for name in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{name.name}" for name in node.names)]
        for name in names:
            name = name.removeprefix("attention_harness.")
            if name.startswith(package + "."):
                yield name


# --- an arm of it


def write_arm(implementation: Declared, version: Version, folder: Path) -> Path:
    """Write the file of an arm into a folder and return it; the other version is imported when it is loaded."""
    place = _place(implementation, version)
    file = place.files(place.module)[1]
    if file is None:
        raise HarnessError(f"{version.title} has no {implementation.name} ({place.module.replace('.', '/')}.py)")
    top, _, module = place.module.partition(".")
    if any((place.there / top).glob("**/*.so")) or any((place.there / top).glob("**/*.pyd")):
        raise HarnessError(f"bench against: {place.there / top} holds compiled modules, and {_LIMIT}")
    package = shipped.__name__ if place.is_shipped else top
    path = folder / f"{implementation.name}@{version.label}.py"
    arguments = {"folder": str(place.there / top), "package": package, "module": module}
    alias = re.sub(r"\W", "_", f"{package}_at_{version.label}")
    title = f"{implementation.name} of {version.label}: {implementation.summary}"
    path.write_text(_FILE.format(title=title, alias=alias, **arguments), encoding="utf-8")
    return path


def loaded(paths: Sequence[Path], version: Version, load: Sequence[Path]) -> dict[str, Declared]:
    """Return every implementation by name, the arms of the version among them."""
    try:
        return declarations.implementations([*load, *paths])
    except HarnessError as error:
        raise HarnessError(f"{version.title}: an implementation does not load: {error}; {_LIMIT}") from error
