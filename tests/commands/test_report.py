"""`report` of what is no run, of an older run or of a damaged one: status 2 and one line that names the file."""

from __future__ import annotations

import json

import pytest

from attention_harness.model.run_facts import Environment, RunFacts
from attention_harness.model.verdict import Status, Verdict
from attention_harness.store import Writer

RUN_JSON = {
    "bad JSON": (b'{"schema": 2,', "run.json cannot be read: "),
    "binary junk": (bytes(range(256)), "run.json cannot be read: "),
    "nothing": (b"", "run.json cannot be read: "),
    "brackets": (b"[" * 100_000, "is of format null; this version reads format 3"),
    "an older schema": (
        b'{"schema": 0, "command": "python -m attention_harness check"}',
        "is of format 0; this version reads format 3: run its command again: python -m attention_harness check",
    ),
    "no schema": (b'{"planned": 3}', "is of format null; this version reads format 3"),
    "a list": (b"[]", "is of format null; this version reads format 3"),
}


@pytest.mark.parametrize("name", RUN_JSON)
def test_a_run_json_that_cannot_be_used(mistake, tmp_path, name):
    """Whatever stands in the file, the answer is one line, and nothing is written."""
    content, expected = RUN_JSON[name]
    (tmp_path / "run.json").write_bytes(content)
    line = mistake("report", tmp_path)
    assert expected in line
    assert str(tmp_path) in line
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]


def test_a_directory_without_a_run(mistake, tmp_path):
    """Absent, empty, or a file: each is told."""
    (tmp_path / "file").write_text("")
    assert f"{tmp_path} is no run directory: it has no run.json" == mistake("report", tmp_path)
    assert f"{tmp_path / 'no'} is no run directory" in mistake("report", tmp_path / "no")
    assert f"{tmp_path / 'file'} is no run directory" in mistake("report", tmp_path / "file")


@pytest.mark.parametrize("junk", [b"{", b"7", b"[]", b"{}", b'{"status": "fine"}', b"", b'"\\ud800"', b"\xff"])
@pytest.mark.parametrize("name", ["verdicts.jsonl", "measurements.jsonl"])
def test_a_corrupt_line_is_named_by_its_number(mistake, tmp_path, name, junk):
    """The third line of four is the wrong one, and the message says so."""
    writer = Writer.start(tmp_path, RunFacts(planned=2))
    verdict = Verdict("eager", "cosine", "cosine-B1", "accuracy", Status.PASS, error_ratio=0.5)
    writer.add(verdict, verdict)
    good = (tmp_path / "verdicts.jsonl").read_bytes() if name == "verdicts.jsonl" else b""
    number = 3 if good else 1
    (tmp_path / name).write_bytes(good + junk + b"\n" + good)
    line = mistake("report", tmp_path)
    assert str(tmp_path / name) in line
    assert f"line {number}: not a {'verdict' if good else 'measurement'}" in line


def said(status):
    return "" if status is Status.PASS else "because"


def test_two_machines_stand_beside_each_other(harness, tmp_path):
    """Runs of different machines make one report, in which their names differ."""
    for name, cores, status in (("a", 2, Status.PASS), ("b", 64, Status.FAIL)):
        with Writer.start(tmp_path / name, RunFacts(planned=1, environment=Environment(cores=cores))) as writer:
            writer.add(Verdict("eager", "cosine", "cosine-B1", "accuracy", status, 0.5, reason=said(status)))
    assert harness("report", tmp_path / "a", tmp_path / "b", "--out", tmp_path / "out").status == 0
    text = (tmp_path / "out" / "report.md").read_text()
    assert "| `eager` |" in text
    assert "eager@machine2" in text
    assert "machine2: 64 cores" in text


def test_a_base_run_says_what_changed(harness, tmp_path):
    """What was right and is wrong stands at the top of the page and of the Markdown."""
    for name, status in (("before", Status.PASS), ("after", Status.FAIL)):
        with Writer.start(tmp_path / name, RunFacts(planned=1, finished="2026-01-01")) as writer:
            writer.add(Verdict("eager", "cosine", "cosine-B1", "accuracy", status, 0.5, reason=said(status)))
    assert harness("report", tmp_path / "after", "--base", tmp_path / "before").status == 0
    markdown, page = ((tmp_path / "after" / name).read_text() for name in ("report.md", "index.html"))
    for text in (markdown, page):
        assert "1 regression" in text
        assert (
            text.index("newly wrong") < text.index("scaled_dot_product" if "scaled_dot" in text else "cosine-B1") + 1000
        )


def test_no_directory_is_usage(harness):
    """argparse asks for one."""
    assert harness("report")[:2] == (2, "")


def test_a_good_run_is_reported(harness, tmp_path):
    """The same directory undamaged gives both files, and their paths as JSON."""
    with Writer.start(tmp_path, RunFacts(planned=1, command="check")) as writer:
        writer.add(Verdict("eager", "cosine", "cosine-B1", "accuracy", Status.PASS, error_ratio=0.5))
    answer = harness("report", tmp_path, "--json")
    assert (answer.status, answer.err) == (0, "")
    written = json.loads(answer.out)
    assert {"markdown", "html"} == set(written)
    assert all(str(tmp_path) in path for path in written.values())
