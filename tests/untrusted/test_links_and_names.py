"""Names and links do not lead what is written out of its directory."""

from __future__ import annotations

import contextlib
import json
import shutil

import pytest

from attention_harness.model.errors import HarnessError
from attention_harness.model.run_facts import RunFacts
from attention_harness.store import Writer
from attention_harness.store.writer import write_document
from tests.registry.sources import TINY
from tests.untrusted.inside import answer, clear, tree
from tests.untrusted.made import everything, verdicts

KEPT = "what the user holds dear\n"


@pytest.fixture
def dear(tmp_path):
    """Return a file outside of every run directory."""
    path = tmp_path / "dear"
    path.write_text(KEPT)
    return path


@pytest.mark.parametrize("name", ["report.md", "index.html", "report.md.part", "index.html.part"])
def test_a_report_replaces_links_and_follows_none(tmp_path, dear, name):
    """Where a link stood, the report stands."""
    run = everything(tmp_path / "run")
    (run / name).symlink_to(dear)
    assert answer("report", run).status == 0
    assert KEPT == dear.read_text()
    assert not (run / name).is_symlink()
    assert {"report.md", "index.html"} <= set(tree(run)) - {f"{name}.part"}


@pytest.mark.parametrize("name", ["verdicts.jsonl", "run.json", "run.json.part"])
def test_a_resumed_run_follows_no_link(tmp_path, dear, name):
    """What is appended or replaced stays in the directory; what was a link's is left as it is."""
    run = tmp_path / "run"
    facts = RunFacts(plan="a", planned=1)
    Writer.start(run, facts).add(verdicts()[0])
    if name in tree(run):
        dear.write_bytes((run / name).read_bytes())
        (run / name).unlink()
    before = dear.read_bytes()
    (run / name).symlink_to(dear)
    with contextlib.suppress(HarnessError):
        writer, _, _ = Writer.resume(run, facts)
        writer.add(verdicts()[1])
        writer.update(finished="now")
    assert before == dear.read_bytes()


def test_json_beside_a_link(tmp_path, dear):
    """The part that becomes the file is made anew."""
    (tmp_path / "heatmaps.json.part").symlink_to(dear)
    write_document(tmp_path / "heatmaps.json", {"a": 1})
    assert KEPT == dear.read_text()
    assert json.loads((tmp_path / "heatmaps.json").read_text()) == {"a": 1}


@pytest.mark.parametrize(
    "name", ["../out", "/tmp/out", "a/b", "..", ".", "", "a.b", "a b", "a\x1b", "_a", "a\\b", "x" * 300]
)
def test_new_writes_a_plain_name_alone(tmp_path, name):
    """A name is one of Python's, so that it is a file of the directory and of nothing else."""
    folder = tmp_path / "inner"
    folder.mkdir()
    given = answer("new", name, "--directory", folder)
    assert (given.status, clear(given)) == (2, True)
    assert ["inner"] == list(tree(tmp_path))


def test_new_follows_no_link(tmp_path, dear):
    """One that leads nowhere looks as if there were no file."""
    dear.unlink()
    (tmp_path / "kernel.py").symlink_to(dear)
    given = answer("new", "kernel", "--directory", tmp_path)
    assert (given.status, clear(given)) == (2, True)
    assert not dear.exists()


@pytest.mark.usefixtures("no_work")
def test_save_writes_over_nothing(tmp_path, dear, monkeypatch):
    """The script does not take the place of what is there, a link included."""
    from attention_harness.commands.replay import script
    from attention_harness.commands.replay import session as replay

    monkeypatch.setattr(replay, "save", script.save)
    (tmp_path / "script.py").symlink_to(tmp_path / "missing")
    given = answer("replay", TINY, "--implementation", "eager", "--save", tmp_path / "script.py")
    assert (given.status, clear(given)) == (2, True), given
    assert KEPT == dear.read_text()
    assert {"dear", "script.py"} == set(tree(tmp_path))


@pytest.mark.usefixtures("no_work")
def test_a_saved_script_says_what_it_cites(tmp_path, monkeypatch):
    """A path with quotes and backslashes neither ends the docstring nor becomes code."""
    import ast

    from attention_harness.commands.replay import script
    from attention_harness.commands.replay import session as replay
    from tests.registry.sources import write

    monkeypatch.setattr(replay, "save", script.save)
    folder = tmp_path / '""" + exit() + """ \\N'
    folder.mkdir()
    write(folder / "mine.py")
    given = answer(
        "replay", TINY, "--implementation", "mine", "--load", folder / "mine.py", "--save", tmp_path / "s.py"
    )
    assert given.err == f"wrote {tmp_path / 's.py'}\n"
    assert str(folder) in (ast.get_docstring(ast.parse((tmp_path / "s.py").read_text())) or "")


def test_out_stays_where_it_is_told(tmp_path, no_work):
    """A run writes into its directory and nowhere else, whatever implementations and cases are called."""
    folder = tmp_path / "inner"
    folder.mkdir()
    answer("check", "numpy_reference", "--case", TINY, "--out", folder / "run")
    assert {"inner"} == {name.partition("/")[0] for name in tree(tmp_path)}
    assert {"run.json", "heatmaps.json"} <= set(tree(folder / "run"))
    shutil.rmtree(folder)
