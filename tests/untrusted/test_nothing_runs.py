"""`--load` and entry points run code, and say so; nothing else does."""

from __future__ import annotations

import importlib.metadata
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from attention_harness import registry
from attention_harness.commands.main import parser
from tests.conftest import ROOT
from tests.registry.sources import TINY
from tests.untrusted.inside import answer
from tests.untrusted.made import everything

MODULES = (
    "numpy",
    "jinja2",
    "latex2mathml",
    "vl_convert",
    "torch",
    "msgspec",
    "rich",
    "harness_plugin",
    "sitecustomize",
    "conftest",
)
RUNS = "import pathlib; pathlib.Path(__file__).with_name('ran').write_text(__name__)\n"
# what a process has just pickled itself, or its parent has sent it, is no data of others'
PICKLES = re.compile(
    r"\b(pickle|cPickle|dill|cloudpickle|marshal|shelve)\.(?!dumps|loads\(pickle\.dumps\(|load\(sys\.stdin\.buffer\))|torch\.load\((?!.*weights_only=True)|np\.load\((?!.*allow_pickle=False)"
)


@pytest.fixture
def planted(tmp_path):
    """Return a run directory that names implementations by paths and holds modules of the names that are imported."""
    run = everything(tmp_path / "run", str(tmp_path / "run" / "numpy.py"))
    for name in MODULES:
        (run / f"{name}.py").write_text(RUNS)
    return run


@pytest.mark.parametrize("command", ["report .", "list implementations", "list workloads"])
def test_reading_a_run_directory_runs_nothing_in_it(planted, command):
    """Not even with the run directory as the working one, where `python -m` looks for modules first."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    arguments = [sys.executable, "-m", "attention_harness", *command.split()]
    done = subprocess.run(arguments, cwd=planted, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not (planted / "ran").exists()


def test_load_runs_the_file_and_says_so(tmp_path):
    """In the help of each verb that has it, and in the README."""
    path = tmp_path / "mine.py"
    path.write_text(
        f"{RUNS}from attention_harness import Capabilities\nCAPABILITIES = Capabilities(('cosine',))\nprepare = print\n"
    )
    assert answer("list", "implementations", "--load", path).status == 0
    assert (tmp_path / "ran").exists()
    [verbs] = [action for action in parser()._actions if action.dest != "help" and action.choices]
    for verb in verbs.choices.values():
        loads = [action.help for action in verb._actions if "--load" in action.option_strings]
        assert all("its code is run" in text for text in loads)
    assert "Loading a file or an entry point runs its code" in " ".join((ROOT / "README.md").read_text().split())


def test_only_our_group_of_entry_points_is_loaded(tmp_path, monkeypatch):
    """The registry asks for one group by name, and what that raises is a line."""
    asked = []

    def entry_points(**selected):
        asked.append(selected)
        return [importlib.metadata.EntryPoint("evil", "evil_module", registry.ENTRY_POINTS)]

    (tmp_path / "evil_module.py").write_text("raise SystemExit('bye')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(importlib.metadata, "entry_points", entry_points)
    given = answer("list", "implementations")
    assert [{"group": registry.ENTRY_POINTS}] == asked
    assert (2, "attention-harness: entry point evil = evil_module does not load: SystemExit: bye\n") == given[::2]


def test_a_replay_of_a_run_names_what_it_loads(tmp_path):
    """An implementation is found by name alone: a path is none."""
    path = tmp_path / "mine.py"
    path.write_text(RUNS)
    for name in (str(path), "mine", "../mine", f"{path}:prepare"):
        assert answer("replay", TINY, "--implementation", name).status == 2
    assert not (tmp_path / "ran").exists()


def test_no_source_unpickles():
    """Arrays are read with pickle refused, and nothing else that could run code reads data."""
    sources = [path for folder in ("harness", "reference", "implementations") for path in (ROOT / folder).rglob("*.py")]
    assert len(sources) > 50
    for path in sources:
        lines = [line for line in path.read_text("utf-8").splitlines() if PICKLES.search(line)]
        assert not lines, (path, lines)
    assert PICKLES.search("np.load(path)")
    assert PICKLES.search("torch.load(path)")
    assert PICKLES.search("pickle.loads(data)")
    assert Path(captures_source()).read_text().count("allow_pickle=False") == 1


def captures_source() -> str:
    from attention_harness.cases import recordings

    return recordings.__file__
