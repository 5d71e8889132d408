"""Another version of an implementation as an arm of its own: of a git revision, or of a folder of installed packages.

The version's files are laid into a temporary folder that is gone when the measuring ends, however it ends, and nothing
is written into the repository. A small file beside them loads the old implementation under the name `NAME@VERSION`, so
that it is checked, prepared and timed exactly like the one of today.
"""

from __future__ import annotations

import ast
import re
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from attention_harness import registry
from attention_harness.model.errors import HarnessError
from attention_harness.registry import Implementation

_ARM = '''\
"""{name} of {version}: {summary}"""

from pathlib import Path

from attention_harness.benchmark.renamed import load

_module = load(Path({folder!r}), {package!r}, {alias!r}, {module!r})
_NAMES = ("CAPABILITIES", "KNOWN_FAILURES", "prepare", "unavailable", "unsupported")
globals().update({{name: getattr(_module, name) for name in _NAMES if hasattr(_module, name)}})
'''
_LIMIT = (
    "another version shares this process: its own Python files alone are the old ones, and torch, the harness and all "
    "else that they import are this environment's"
)


@dataclass(frozen=True)
class Version:
    """Where another version lies.

    label     what names it: the short commit, or the folder's name
    told      what it is, in full
    folder    of the files; the root of a checkout, or a folder of packages
    root      the checkout of today that it is a revision of; None for a folder of packages
    """

    label: str
    told: str
    folder: Path
    root: Path | None


@contextmanager
def opened(target: str, implementations: Sequence[Implementation]) -> Iterator[Version]:
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
    """Return what git says, or "" where it refuses."""
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


def arm(implementation: Implementation, version: Version, folder: Path) -> Path:
    """Write the file of an arm into a folder and return it; what it stands for is read when it is loaded."""
    package, module, inside = _where(implementation, version)
    file = inside.joinpath(*module.split("."))
    if not file.with_suffix(".py").is_file() and not (file / "__init__.py").is_file():
        raise HarnessError(f"{version.told} has no {implementation.name} ({module.replace('.', '/')}.py)")
    if any((inside / package).glob("**/*.so")) or any((inside / package).glob("**/*.pyd")):
        raise HarnessError(f"bench against: {inside / package} holds compiled modules, and {_LIMIT}")
    path = folder / f"{implementation.name}@{version.label}.py"
    values = {"folder": str(inside), "package": package, "module": module, "summary": implementation.summary}
    alias = re.sub(r"\W", "_", f"{package}_at_{version.label}")
    path.write_text(_ARM.format(name=implementation.name, version=version.label, alias=alias, **values))
    return path


def _where(implementation: Implementation, version: Version) -> tuple[str, str, Path]:
    """Return package, module and the folder that holds the package of an implementation in the version."""
    if implementation.loaded:
        stem, here = implementation.path.stem, implementation.path.resolve().parent
        inside = version.folder / here.relative_to(version.root) if version.root else version.folder
        return stem, stem, inside
    module = implementation.module.__name__
    here = _beside(implementation)
    inside = version.folder / here.relative_to(version.root) if version.root else version.folder
    return module.partition(".")[0], module, inside


def _beside(implementation: Implementation) -> Path:
    """Return the folder that holds the package of an implementation today."""
    path = implementation.path.resolve()
    base = path.parent if path.name == "__init__.py" else path.with_suffix("")
    return base.parents[len(implementation.module.__name__.split(".")) - 1]


def loaded(paths: Sequence[Path], version: Version, load: Sequence[Path]) -> dict[str, Implementation]:
    """Return every implementation by name, the arms of the version among them."""
    try:
        return registry.implementations([*load, *paths])
    except HarnessError as error:
        raise HarnessError(f"{version.told}: an implementation does not load: {error}; {_LIMIT}") from error


def differs(implementation: Implementation, version: Version) -> bool:
    """Return whether the file of an implementation, or one of its package that it imports, is another one there."""
    package, module, inside = _where(implementation, version)
    here = _beside(implementation)
    waiting, seen = [module], set()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        now, then = (_text(folder.joinpath(*name.split("."))) for folder in (here, inside))
        if now != then:
            return True
        waiting += _imports(now, package)
    return False


def _text(base: Path) -> str:
    files = [file for file in (base.with_suffix(".py"), base / "__init__.py") if file.is_file()]
    return files[0].read_text(encoding="utf-8") if files else ""


def _imports(source: str, package: str) -> list[str]:
    """Return the modules of a package that a source imports, at any depth."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [name.name for name in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found += [node.module, *(f"{node.module}.{name.name}" for name in node.names)]
    return [name for name in found if name.startswith(package + ".")]
