"""A loaded file imports its author's packages, also those that are named like folders of this repository."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.registry.sources import TINY, write


@pytest.mark.parametrize("package", ["reference", "implementations", "harness"])
def test_the_author_s_package_is_the_one_that_is_imported(tmp_path, package):
    """Beside the file or installed: the import finds it, and the check of the file passes in a process of its own."""
    folder = tmp_path / "site" / package
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("MINE = 'of the author'\n")
    top = f"import {package}\nassert {package}.MINE == 'of the author', {package}.__file__"
    path = write(tmp_path / "mine.py", top=top)
    command = [sys.executable, "-m", "attention_harness", "check", "--load", str(path), "--case", TINY, "--jobs", "1"]
    ran = subprocess.run(
        command,
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path / "site"), "PATH": "", "OMP_NUM_THREADS": "1", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "of the author" not in ran.stdout + ran.stderr, "no assertion"
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "mine" in ran.stdout
