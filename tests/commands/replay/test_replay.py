"""`replay` tells one case in full: the verdicts, where the errors lie, what may have caused them."""

from __future__ import annotations

import json

import numpy as np
import pytest

from attention_harness.commands.replay.error_map import COLUMNS, MARKS, ROWS, _blocks, drawing
from tests.registry.sources import TINY, write


def test_a_right_one_conforms(harness, tmp_path):
    """Status 0, no map and no cause."""
    answer = harness("replay", TINY, "--implementation", "right", "--load", write(tmp_path / "right.py"))
    assert (answer.status, "matches:" in answer.out) == (0, False)
    assert "no element exceeds its error bound" in answer.out


def test_a_wrong_one_is_shown(harness, tmp_path):
    """Status 1; the map marks exactly the rows that are wrong, in characters that every terminal has."""
    path = write(tmp_path / "half.py", body="value = value.clone(); value[1, :, :, 0] += 1")
    answer = harness("replay", TINY, "--implementation", "half", "--load", path, "--no-diagnosis")
    lines = answer.out.splitlines()
    assert answer.status == 1
    assert next(line for line in lines if line.startswith("FAIL accuracy at [1, "))
    start = lines.index("output: the worst of each batch element and head: batch down, head across")
    assert lines[start + 2] == "     1 |##|"
    assert "#" not in lines[start + 1]
    drawn = [line.partition("|")[2] for line in lines if line.endswith("|")][2:]
    assert {"#"} == {row[0] for row in drawn}
    assert "#" not in "".join(row[1] for row in drawn)
    assert answer.out.isascii()


def test_json_says_the_same(harness, tmp_path):
    """One document: verdicts, worst element, maps, causes; a number that is not finite is null."""
    path = write(tmp_path / "nan.py", scores="query @ key.mT * float('nan')")
    answer = harness("replay", TINY, "--implementation", "nan", "--load", path, "--json", "--no-diagnosis")
    told = json.loads(answer.out, parse_constant=lambda text: pytest.fail(f"{text} is not JSON"))
    assert answer.status == 1
    assert (told["worst"]["what"], told["worst"]["error_ratio"]) == ("output", None)
    assert {"fail"} == {verdict["status"] for verdict in told["verdicts"] if verdict["check"] == "accuracy"}


def test_a_crash_is_told_with_its_signal(harness, tmp_path):
    """The process that dies is not this one."""
    path = write(tmp_path / "dies.py", top="import os", body="os.kill(os.getpid(), 11)")
    answer = harness("replay", TINY, "--implementation", "dies", "--load", path)
    assert answer.status == 1
    assert "CRASH accuracy: its process died: SIGSEGV" in answer.out
    assert "it also ends in a crash, which no mutant explains" in answer.out


def test_a_check_alone(harness, mistake, tmp_path):
    """--check asks one question; an unknown one is a mistake."""
    path = write(tmp_path / "wrong.py", scores="-query @ key.mT")
    asked = ("replay", TINY, "--implementation", "wrong", "--load", path, "--no-diagnosis", "--check")
    other = harness(*asked, "purity")
    assert other.status == 0
    assert "worst element" not in other.out  # of the output, which nothing was asked about
    assert "worst element" in harness(*asked, "accuracy").out
    assert harness(*asked, "accuracy").status == 1
    assert "no check 'accurcy'. Did you mean 'accuracy'?" in mistake(*asked, "accurcy")


@pytest.mark.parametrize("shape", [(1, 1), (ROWS, COLUMNS), (ROWS + 1, COLUMNS + 1), (500, 3000)])
def test_a_map_fits_and_hides_nothing(shape):
    """However many rows and columns, a line is at most 100 wide, and a single wrong element is still seen."""
    error_ratio = np.zeros(shape)
    error_ratio[-1, -1] = 1e9
    lines = list(drawing(_blocks("map", ("row", "column"), error_ratio), MARKS[False]))
    assert len(lines) <= ROWS + 1
    assert max(map(len, lines)) <= 100
    assert lines[-1].endswith(MARKS[False][-1] + "|")
    assert sum(line.count(MARKS[False][-1]) for line in lines[1:]) == 1


def test_where_no_script_can_be_written(mistake, monkeypatch, tmp_path):
    """A file that exists, another suffix, no such directory: told before anything is run, and nothing is written."""
    monkeypatch.setattr("attention_harness.commands.replay.session.run", lambda *_, **__: pytest.fail("it ran first"))
    (tmp_path / "there.py").write_text("kept")
    given = {
        "there.py": "exists already",
        "script.txt": "does not end in .py",
        "nowhere/script.py": "nowhere is no directory",
    }
    for name, wrong in given.items():
        line = mistake("replay", TINY, "--implementation", "eager", "--save", tmp_path / name)
        assert line.startswith(f"--save {tmp_path / name}: ")
        assert line.endswith(f"{wrong}; give the name of a new file that ends in .py")
    assert [("there.py", "kept")] == [(path.name, path.read_text()) for path in tmp_path.iterdir()]
