"""What a user installs: one top-level package, made of three folders, with every file that the code reads."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = {
    "harness": "attention_harness",
    "reference": "attention_harness/reference",
    "implementations": "attention_harness/implementations",
}
BUILD = """
import os, sys
from setuptools import build_meta
source, folder = sys.argv[1:]
os.chdir(source)
sys.argv[1:] = []
print(getattr(build_meta, os.environ["KIND"])(folder))
"""


def build(kind: str, source: Path, folder: Path) -> Path:
    """Return the archive that the build backend makes of a source tree, without a network."""
    command = [sys.executable, "-c", BUILD, str(source), str(folder)]
    done = subprocess.run(command, env=os.environ | {"KIND": kind}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder / done.stdout.splitlines()[-1]


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """Build an sdist from a copy of the checkout, a wheel from the sdist, and unpack the wheel."""
    folder = tmp_path_factory.mktemp("build")
    checkout = folder / "checkout"
    ignored = shutil.ignore_patterns("__pycache__", ".*", "*.egg-info", "build", "dist", "latest")
    shutil.copytree(ROOT, checkout, ignore=ignored)
    with tarfile.open(build("build_sdist", checkout, folder)) as archive:
        archive.extractall(folder / "sdist", filter="data")
    [source] = (folder / "sdist").iterdir()
    with zipfile.ZipFile(build("build_wheel", source, folder)) as archive:
        archive.extractall(folder / "installed")
    return folder / "installed"


def test_one_top_level_package(installed):
    """Nothing stands beside the package and its metadata: a user's own `reference` or `tests` is not shadowed."""
    [metadata] = installed.glob("attention_harness-*.dist-info")
    assert {"attention_harness", metadata.name} == {path.name for path in installed.iterdir()}
    assert "attention_harness" == (metadata / "top_level.txt").read_text().strip()


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_file_of_a_folder_arrives(installed, folder):
    """Modules, schemas, recordings, templates and lists: what stands in the checkout stands in the wheel."""
    files = {path.relative_to(ROOT / folder) for path in (ROOT / folder).rglob("*") if path.is_file()}
    wanted = {path for path in files if "__pycache__" not in path.parts}
    assert len(wanted) > 5
    assert set() == {str(path) for path in wanted if not (installed / FOLDERS[folder] / path).is_file()}


def test_an_installed_copy_finds_what_it_lists(installed, tmp_path):
    """Away from the checkout, the package finds its implementations, references and cases."""
    program = (
        "import attention_harness, sys; from attention_harness.commands.main import main\n"
        "print(attention_harness.__file__)\n"
        "sys.exit(max(main(['list', kind]) for kind in ('implementations', 'mechanisms', 'cases')))"
    )
    command = [sys.executable, "-c", program]
    environment = os.environ | {"PYTHONPATH": str(installed)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert 0 == done.returncode, done.stdout + done.stderr
    assert str(installed) in done.stdout
    assert {"eager", "scaled_dot_product", "masked_softmax"} <= set(done.stdout.split())
