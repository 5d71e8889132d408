"""`tools/vendor_vega.py`: what the page carries of Vega is what the script writes, with its licences."""

from __future__ import annotations

import importlib
import shutil
from pathlib import Path
from types import ModuleType

import pytest
import vl_convert


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Return the tool's module."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "tools"))
    return importlib.import_module("vendor_vega")


def test_the_vendored_files_are_those_that_the_script_writes(tool, capsys):
    """By their hashes; `--check` says so without a network."""
    assert [] == tool.differences(tool.FOLDER)
    assert tool.main(["--check"]) == 0
    assert "what this script writes" in capsys.readouterr().out


def test_a_changed_or_missing_file_is_named(tool, tmp_path):
    """One byte is enough."""
    shutil.copytree(tool.FOLDER, tmp_path / "vendor")
    (tmp_path / "vendor" / "LICENSE.txt").unlink()
    with (tmp_path / "vendor" / "vega.min.js").open("a") as file:
        file.write(" ")
    assert ["vega.min.js is not the file that this script writes", "LICENSE.txt is missing"] == tool.differences(
        tmp_path / "vendor"
    )


def test_nothing_in_them_ends_a_script(tool):
    """The page holds them inside script elements; the licences stand at their head."""
    texts = {path.name: path.read_text("utf-8") for path in tool.FOLDER.iterdir()}
    assert set(tool.WRITTEN) == set(texts)
    for name in ("vega.min.js", "vega-interpreter.js"):
        assert "</script" not in texts[name].lower()
        assert "<!--" not in texts[name]
    assert texts["LICENSE.txt"] in texts["vega.min.js"]
    for holder in ("University of Washington", "Mike Bostock", "Mapbox", "GeographicLib", "ColorBrewer"):
        assert holder in texts["LICENSE.txt"]


def test_its_version_is_the_one_that_charts_are_compiled_for(tool):
    """A specification for another version may not be drawn."""
    assert vl_convert.get_vega_version() == tool.PACKAGES["vega"][0]


def test_a_package_of_another_content_is_refused(tool, tmp_path, monkeypatch):
    """The hash is typed in the script."""
    monkeypatch.setattr(tool.subprocess, "run", lambda *_, cwd, **__: (cwd / "vega-6.2.0.tgz").write_bytes(b"other"))
    monkeypatch.setattr(tool, "PACKAGES", {"vega": tool.PACKAGES["vega"]})
    with pytest.raises(ValueError, match=r"vega-6.2.0.tgz has SHA-256 \w+; expected"):
        tool.fetched(tmp_path)
