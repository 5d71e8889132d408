"""An implementation is found by its file: in the folder, by `--load`, or by an installed package's entry point."""

from __future__ import annotations

import builtins
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy
import pytest

import attention_harness.implementations
import attention_harness.reference
from attention_harness import implementations as shipped
from attention_harness import registry
from attention_harness.cases.ids import parse
from attention_harness.model.errors import HarnessError
from tests.registry.sources import TINY, write

FOLDER = Path(shipped.__path__[0])
ROOT = FOLDER.parent


def install(directory: Path, name: str, value: str) -> None:
    """Lay out what pip leaves of a package with one entry point."""
    facts = directory / f"{name}_package-1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}-package\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text(f"[attention_harness.implementations]\n{name} = {value}\n")


def test_the_folder_is_the_registry():
    """Every file of implementations/ but those that begin with _ is one, by its name, and nothing else is."""
    files = {path.stem for path in FOLDER.glob("*.py") if not path.stem.startswith("_")}
    found = registry.implementations()
    assert {"eager", "compiled", "onnx_cpu"} <= files
    assert files == {name for name, one in found.items() if one.path.parent == FOLDER}
    assert all(name == one.name and not one.loaded for name, one in found.items())


def test_a_loaded_file_is_found(tmp_path):
    """It has its file's name, its docstring's first line, and computes."""
    found = registry.implementations([write(tmp_path / "mine.py")])["mine"]
    assert (found.name, found.loaded, found.summary) == ("mine", True, "Scaled dot product of mine.")
    assert callable(found.prepare(parse(TINY)))
    assert "mine" not in registry.implementations()


def test_a_loaded_file_is_what_it_says_now(tmp_path, monkeypatch):
    """Not the bytecode that Python kept of a source of the same size and second; and none is left beside it."""
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    file = write(tmp_path / "mine.py")
    before = file.stat()
    for word in ("mine", "ours"):
        file.write_text(file.read_text().replace("mine", word))
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
        monkeypatch.delitem(sys.modules, "implementations_loaded_mine", raising=False)
        assert registry.implementations([file])["mine"].summary == f"Scaled dot product of {word}."
    assert [file] == list(tmp_path.iterdir())


def test_loaded_files_are_what_is_meant(tmp_path):
    """With --load and no name, the loaded ones alone are selected; with a name, that one; with neither, all."""
    files = [write(tmp_path / "mine.py"), write(tmp_path / "yours.py")]
    assert [found.name for found in registry.select([], files)] == ["mine", "yours"]
    assert [found.name for found in registry.select(["eager"], files)] == ["eager"]
    assert list(registry.implementations()) == [found.name for found in registry.select([])]


def test_an_installed_package_is_found(tmp_path, monkeypatch):
    """Its entry point's name is the implementation's, and it stands among the shipped ones."""
    write(tmp_path / "far_away.py")
    install(tmp_path, "installed", "far_away")
    monkeypatch.syspath_prepend(tmp_path)
    found = registry.implementations()
    assert {*found} >= {"installed", "eager"}
    assert tmp_path / "far_away.py" == found["installed"].path
    assert not found["installed"].loaded


def test_a_broken_package_is_named(tmp_path, monkeypatch):
    """An entry point that does not load is one line with its name, its value and why."""
    install(tmp_path, "broken", "no_such_module_anywhere")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(
        HarnessError, match="entry point broken = no_such_module_anywhere does not load: ModuleNotFound"
    ):
        registry.implementations()


def test_a_name_twice_is_refused(tmp_path, monkeypatch):
    """Two files of one name are an error that names both: loaded and shipped, loaded twice, installed and shipped."""
    mine = write(tmp_path / "eager.py")
    with pytest.raises(HarnessError, match="two implementations named 'eager'") as caught:
        registry.implementations([mine])
    assert str(mine) in str(caught.value)
    assert str(FOLDER / "eager.py") in str(caught.value)
    (tmp_path / "other").mkdir()
    twins = [write(tmp_path / "twin.py"), write(tmp_path / "other" / "twin.py")]
    with pytest.raises(HarnessError, match="two implementations named 'twin'"):
        registry.implementations(twins)
    install(tmp_path, "compiled", "twin")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(HarnessError, match="two implementations named 'compiled'"):
        registry.implementations()


def test_the_same_file_twice_is_one(tmp_path, monkeypatch):
    """However it is spelt, a file given twice is loaded once and is no clash with itself."""
    path = write(tmp_path / "mine.py", top="import builtins\nbuiltins.loads += 1")
    (tmp_path / "folder").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(builtins, "loads", 0, raising=False)
    spelt = [path, Path("mine.py"), Path("folder") / ".." / "mine.py", path]
    assert [found.name for found in registry.select([], spelt)] == ["mine"]
    assert builtins.loads == 1


def test_two_files_of_one_stem_do_not_mix(tmp_path):
    """Loading another file of the same name later gives the other file's code."""
    (tmp_path / "other").mkdir()
    first = registry.implementations([write(tmp_path / "same.py", top="MARK = 1")])["same"]
    second = registry.implementations([write(tmp_path / "other" / "same.py", top="MARK = 2")])["same"]
    assert (first.module.MARK, second.module.MARK) == (1, 2)


def test_known_failures_match_check_and_case(tmp_path):
    """A pattern of KNOWN_FAILURES is held against `check:case id`; the first that matches gives the reason."""
    known = 'KNOWN_FAILURES = {"weights:*": "bug 1", "*-float32-plain-*": "bug 2"}'
    found = registry.implementations([write(tmp_path / "mine.py", bottom=known)])["mine"]
    case, other = parse(TINY), parse(TINY.replace("float32", "float64"))
    assert (
        found.known_failure("weights", other),
        found.known_failure("accuracy", case),
        found.known_failure("accuracy", other),
    ) == ("bug 1", "bug 2", "")


MAPPED = (attention_harness.implementations, attention_harness.reference)  # folders beside harness/ in the checkout
HEAVY = {
    "torch",
    "onnx",
    "onnxruntime",
    "onnxscript",
    "triton",
    "jax",
    "latex2mathml",
    "vl_convert",
    "openvino",
    "pykeops",
    "scipy",
}


def python(script: str, *options: str, path: Sequence[Path] = ()) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (ROOT, *path)))}
    command = [sys.executable, *options, "-c", script]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_listing_imports_no_framework():
    """To know what there is takes no torch, not even to ask for a device; no kind of list imports it."""
    script = (
        "import json, sys\nfrom attention_harness import registry\nfrom attention_harness.commands.main import main\n"
        "assert 'eager' in registry.implementations()\n"
        "for kind in ('mechanisms', 'cases', 'checks', 'workloads'):\n"
        "    assert main(['list', kind, '--json']) == 0\n"
        "before = sorted(sys.modules)\n"
        "assert main(['list', 'implementations', '--json']) == 0\n"
        "assert 'torch' not in sys.modules\n"
        "print(json.dumps(before), file=sys.stderr)"
    )
    done = python(script)
    assert done.returncode == 0, done.stderr
    modules = set(json.loads(done.stderr))
    assert "numpy" in modules
    assert set() == modules & HEAVY


def test_listing_works_on_a_bare_machine(tmp_path):
    """Without torch and ONNX every kind is listed, and what needs ONNX says what is missing."""
    package = tmp_path / "attention_harness"
    package.mkdir()
    for part in (*Path(attention_harness.__path__[0]).iterdir(), *(Path(m.__path__[0]) for m in MAPPED)):
        (package / part.name).symlink_to(part)
    for package in Path(numpy.__path__[0]).parent.iterdir():
        if not package.name.startswith(("torch", "functorch", "onnx", "triton", "nvidia", "__pycache__")):
            (tmp_path / package.name).symlink_to(package)
    script = (
        "import importlib.util, sys\nfrom attention_harness.commands.main import main\n"
        "assert importlib.util.find_spec('torch') is None\n"
        "assert main(['list', 'cases']) == 0\nsys.exit(main(['list']))"
    )
    done = python(script, "-S", path=[tmp_path])
    assert done.returncode == 0, done.stderr
    rows = dict(line.split("\t", 1) for line in done.stdout.splitlines() if "\t" in line)
    assert "eager" in rows
    assert "onnx" in rows["onnx_cpu"].split("\t")[-1]
    assert rows["onnx_cpu"].count("\t") == 1, "summary, and what is missing"
