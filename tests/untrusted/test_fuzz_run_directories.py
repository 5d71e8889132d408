"""A run directory is data: damaged in any way it is refused in one line, or told as what it still says."""

from __future__ import annotations

import copy
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attention_harness.model.run_facts import RunFacts
from attention_harness.model.verdict import Status, Verdict
from attention_harness.store import Writer
from attention_harness.store.writer import write_document
from tests.registry.sources import TINY
from tests.untrusted.inside import HOSTILE, answer, clear, profile, tree
from tests.untrusted.made import everything

NUMBERS = (0, -1, 1, 2, 0.5, 1e308, -1e308, 10**30, 10**400, 2**63, float("nan"), float("inf"), 1e-320)
DEEP: Any = "bottom"
for _ in range(30):
    DEEP = [DEEP]
VALUES = (None, True, False, "", "pass", "x" * 2000, HOSTILE, [], {}, [[]], [None], {"a": 1}, {HOSTILE: HOSTILE}, DEEP)
RAW = (
    b"",
    b"\0",
    b"\xff\xfe",
    b"[" * 5000,
    b"{}",
    b"[]",
    b"null",
    b"7",
    b'"',
    b"\xef\xbb\xbf",
    b"\n",
    b"NaN",
    b"1e999",
)


def _places(data: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return every place of a document, the whole of it first."""
    inner = data.items() if isinstance(data, dict) else enumerate(data[:3]) if isinstance(data, list) else ()
    return [path, *(place for key, item in inner for place in _places(item, (*path, key)))]


def _changed(draw: st.DrawFn, data: Any) -> Any:
    """Return the document with one of its places dropped, renamed, doubled or replaced."""
    data = copy.deepcopy(data)
    *path, last = draw(st.sampled_from(_places(data)[1:] or [(None,)]))
    value = draw(st.one_of(st.sampled_from([*NUMBERS, *VALUES]), st.text(max_size=5), st.integers(), st.floats()))
    if last is None:
        return value
    parent = data
    for key in path:
        parent = parent[key]
    what = draw(st.sampled_from(("drop", "rename", "replace", "replace", "replace", "add")))
    if what == "drop":
        del parent[last]
    elif isinstance(parent, list):
        parent[last : last + (what == "replace")] = [value]
    else:
        name = last if what == "replace" else draw(st.text(max_size=5))
        parent[name] = parent.pop(last) if what == "rename" else value
    return data


@st.composite
def damages(draw: st.DrawFn, content: bytes) -> bytes:
    """Draw what may have become of a file: changed as JSON, or as bytes."""
    whole = content.splitlines(keepends=True)
    place = draw(st.integers(0, max(len(whole) - 1, 0)))
    if draw(st.integers(0, 3)):
        if content.startswith((b"{\n", b"[\n")):
            return json.dumps(_changed(draw, json.loads(content))).encode()
        whole[place] = json.dumps(_changed(draw, json.loads(whole[place]))).encode() + b"\n"
        return b"".join(whole)
    at = draw(st.integers(0, len(content)))
    other = draw(st.one_of(st.sampled_from(RAW), st.binary(max_size=8)))
    kinds = [content[:at], other, content[:at] + other + content[at:], content[:at] + other + content[at + 1 :]]
    kinds += [content.decode().encode("utf-16"), content + other, b"\xef\xbb\xbf" + content]
    return draw(st.sampled_from(kinds))


@pytest.fixture(scope="module")
def run_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a small run with every kind of file."""
    return everything(tmp_path_factory.mktemp("runs") / "run")


@st.composite
def directories(draw: st.DrawFn, source: Path) -> Path:
    name = draw(st.sampled_from(sorted(path.name for path in source.glob("[!.]*"))))
    content = draw(damages((source / name).read_bytes()))
    directory = Path(tempfile.mkdtemp()) / "run"
    shutil.copytree(source, directory)
    (directory / name).write_bytes(content)
    return directory


@given(data=st.data())
@profile(45)
def test_a_damaged_run_is_refused_or_reported(run_directory, data):
    """Both files of the report or neither, nothing anywhere else, and the run as it was."""
    directory = data.draw(directories(run_directory))
    try:
        before = tree(directory)
        given_answer = answer("report", directory, "--out", directory.parent / "told")
        assert clear(given_answer), given_answer
        assert before == tree(directory)
        told = ["told/index.html", "told/report.md"] if given_answer.status == 0 else []
        assert told == [name for name, content in tree(directory.parent).items() if "told/" in name and content]
        assert given_answer.status != 1
    finally:
        shutil.rmtree(directory.parent)


@pytest.mark.usefixtures("no_work")
@given(data=st.data())
@profile(20)
def test_a_damaged_run_is_gone_on_with_or_refused(resumable, data):
    """`--resume` reads what anybody may have written, too."""
    directory = data.draw(directories(resumable))
    try:
        command = ("check", "numpy_reference", "--case", TINY, "--out", directory, "--resume")
        assert clear(given_answer := answer(*command)), given_answer
        assert {"run"} == {path.name for path in directory.parent.iterdir()}
    finally:
        shutil.rmtree(directory.parent)


@pytest.fixture(scope="module")
def resumable(no_work, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run that `check` began and did not finish."""
    directory = tmp_path_factory.mktemp("resume") / "run"
    answer("check", "numpy_reference", "--case", TINY, "--out", directory)
    (directory / "heatmaps.json").unlink()
    case = {"mechanism": "scaled_dot_product", "case": TINY, "check": "accuracy"}
    verdict = Verdict("numpy_reference", **case, status=Status.FAIL, error_ratio=2.0, reason="because")
    with Writer.add_to(directory) as writer:
        writer.add(verdict)
    assert answer("check", "numpy_reference", "--case", TINY, "--out", directory, "--resume").status == 1
    return directory


def test_what_is_undamaged_is_reported(run_directory, tmp_path):
    """The run that the damages start from is a good one."""
    given_answer = answer("report", run_directory, "--out", tmp_path)
    assert (given_answer.status, given_answer.err) == (0, "")


@pytest.mark.parametrize("name", ["run.json", "verdicts.jsonl", "heatmaps.json"])
def test_a_pipe_is_not_waited_for(run_directory, tmp_path, name):
    """Nor is a device read, which has no end."""
    import os

    shutil.copytree(run_directory, tmp_path / "run")
    for what in (lambda path: os.mkfifo(path), lambda path: os.symlink("/dev/zero", path)):
        (tmp_path / "run" / name).unlink()
        what(tmp_path / "run" / name)
        given_answer = answer("report", tmp_path / "run")
        assert clear(given_answer)
        assert f"{name} is no file" in given_answer.err


@pytest.mark.parametrize("deep", [2, 900])
def test_what_nests_deeper_than_any_run_is_refused(tmp_path, deep):
    """Every field has a type, and no type nests without end."""
    facts = '{"schema": 3, "environment": {"load": ' + "[" * deep + "]" * deep + "}}"
    (tmp_path / "run.json").write_text(facts)
    given_answer = answer("report", tmp_path)
    assert clear(given_answer)
    assert "Expected `float`, got `array` - at `$.environment.load[0]`" in given_answer.err


def test_sizes_are_bounded_before_they_are_read(run_directory, tmp_path):
    """A file of terabytes, which costs nothing to make, and a line without end are refused."""
    for name, size, complaint in (
        ("run.json", 2**40, "at most 67108864 are read"),
        ("verdicts.jsonl", 2**30, "longer"),
    ):
        shutil.copytree(run_directory, tmp_path / name)
        with (tmp_path / name / name).open("ab") as file:
            file.truncate(size)
        given_answer = answer("report", tmp_path / name)
        assert clear(given_answer)
        assert complaint in given_answer.err
    write_document(tmp_path / "run.json" / "run.json", RunFacts())
    assert answer("report", tmp_path / "run.json").status == 0
