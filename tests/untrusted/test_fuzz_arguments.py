"""Whatever stands on the command line: an answer, or one clear line and exit status 2; never a traceback."""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attention_harness.commands.main import parser
from tests.registry.sources import TINY, write
from tests.untrusted.inside import answer, clear, profile, tree, working_in

TEXTS = st.text(st.characters(exclude_characters="\0/\\"), max_size=20)
"""Without NUL, which no system hands to a program, and without what leads out of the sandbox."""

NUMBERS = (
    "0",
    "1",
    "-1",
    "2",
    "3.5",
    "1e999",
    "nan",
    "inf",
    "-inf",
    "9" * 30,
    "9" * 5000,
    "٣",
    " 1",
    "1_0",
    "0x10",
    "",
)
PLACES = ("run", "missing", "file", "broken.json", "mine.py", "wrong.py", ".", "link", "loop", "x" * 300, "new/deep/er")
NAMES = ("eager", "numpy_reference", "egaer", "cosine", "accuracy", "bert_base", "mine", "-", "--", "-5", "*", "NAME=1")
CASES = (TINY, TINY + "0", TINY[:-2], TINY.replace("Lq2", "Lq999999999"), "cosine", "a-b-c-d-e-f-0", TINY + "@cuda")
KNOWN = st.sampled_from([*NUMBERS, *PLACES, *NAMES, *CASES])
_PARSER = parser()
[_VERBS] = [action for action in _PARSER._actions if isinstance(action, argparse._SubParsersAction)]


def _value(action: argparse.Action) -> st.SearchStrategy[str]:
    fitting = [st.sampled_from(sorted(action.choices))] if action.choices else []
    if action.type is Path:
        fitting.append(st.sampled_from(PLACES))
    elif action.type is not None:
        fitting.append(st.sampled_from(NUMBERS))
    return st.one_of(*fitting, KNOWN, TEXTS)


@st.composite
def commands(draw: st.DrawFn) -> list[str]:
    """Draw a verb with options and arguments of its own, most of them fitting in kind, and now and then others."""
    verb = draw(st.sampled_from([*_VERBS.choices, "chekc"]))
    command = verb.split()
    if verb not in _VERBS.choices:
        return [*command, *draw(st.lists(TEXTS, max_size=2))]
    actions = [a for a in _VERBS.choices[verb]._actions if a.dest != "help"]
    options = [action for action in actions if action.option_strings]
    for action in actions:
        if not action.option_strings and draw(st.integers(0, 4)):
            command += draw(st.lists(_value(action), min_size=1, max_size=2 if action.nargs in ("*", "+") else 1))
    for action in draw(st.lists(st.sampled_from(options), max_size=4)) if options else ():
        command.append(draw(st.sampled_from(action.option_strings)))
        if action.nargs != 0 and draw(st.integers(0, 9)):
            command.append(draw(_value(action)))
    return command


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with what a command may be pointed at, right and wrong."""
    folder = tmp_path_factory.mktemp("arguments") / "inner"
    folder.mkdir()
    (folder / "run").mkdir()
    (folder / "run" / "run.json").write_text('{"schema": 3, "planned": 0}')
    (folder / "file").write_text("text")
    (folder / "broken.json").mkdir()
    (folder / "broken.json" / "run.json").write_text("{")
    write(folder / "mine.py")
    (folder / "wrong.py").write_text("CAPABILITIES = 1")
    (folder / "link").symlink_to("missing-too")
    (folder / "loop").symlink_to("loop")
    return folder


@pytest.mark.usefixtures("no_work")
@given(command=commands())
@profile(120)
def test_no_command_line_is_a_traceback(sandbox, command):
    """Every verb, each of its options, values of every kind; what is written stays in the working directory."""
    with tempfile.TemporaryDirectory() as outer:
        inner = Path(outer) / "inner"
        shutil.copytree(sandbox, inner, symlinks=True)
        with working_in(inner):
            given_answer = answer(*command)
        assert clear(given_answer), (command, given_answer)
        assert {name.partition("/")[0] for name in tree(Path(outer))} == {"inner"}


def test_the_parser_is_known():
    """Every verb is among those drawn, with its options."""
    assert {"list", "check", "replay", "bench", "mutants", "report", "new"} <= set(_VERBS.choices)
    options: list[Any] = [
        option for verb in _VERBS.choices.values() for a in verb._actions for option in a.option_strings
    ]
    assert {"--load", "--out", "--save", "--timeout", "--fuzz", "--seed", "--jobs", "--threads"} <= set(options)
