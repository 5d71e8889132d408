"""A file given to --load is code and is run; whatever it declares wrongly is one clear line."""

from __future__ import annotations

import sys
import tempfile
from dataclasses import fields
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from attention_harness.model.capabilities import Capabilities
from tests.registry.sources import TINY
from tests.untrusted.inside import HOSTILE, answer, clear, profile

VALUES = (
    "None", "1", "-1", "0.5", "True", "''", "'scaled_dot_product'", "'eager'", "b'x'", "[]", "()", "{}", "(1,)",
    "([],)", "({},)", "('float32',)", "['float32']", "('float32', 'float32')", "{'float32'}", "('mask', 3)", "(None,)",
    "float('nan')", "10**400", "'x' * 10**6", "lambda *a: a", "lambda *a: 1 / 0", "lambda *a: exit()", "open",
    "range(10**9)", "iter(())", "type", "Arithmetic()", "Arithmetic", "Capabilities", "('\\x1b[31m',)", "object()",
    "Exception", "lambda *a: '\\x1b[31mred\\u202e'", repr((HOSTILE,)),
    "type('Rude', (), {'__repr__': lambda s: 1 / 0, '__eq__': lambda s, o: 1 / 0, '__hash__': lambda s: 0})()",
    "(type('Rude', (), {'__repr__': lambda s: 1 / 0, '__hash__': lambda s: 1 / 0})(),)",
)  # fmt: skip
DECLARED = (*(field.name for field in fields(Capabilities)), "nonsense")
MODULE = ("CAPABILITIES", "KNOWN_FAILURES", "prepare", "unavailable", "unsupported", "__doc__", "__file__", "__name__")
RIGHT = {"mechanisms": "('scaled_dot_product',)", "dtypes": "('float32',)"}


@st.composite
def sources(draw: st.DrawFn) -> str:
    """Draw a file that is right but for a few things."""
    declared = RIGHT | draw(st.dictionaries(st.sampled_from(DECLARED), st.sampled_from(VALUES), max_size=2))
    fields = ", ".join(f"{name}={value}" for name, value in declared.items())
    lines = ["from attention_harness import Arithmetic, Capabilities", f"CAPABILITIES = Capabilities({fields})"]
    lines.append("def prepare(case): return lambda query, key, value: query")
    module = draw(st.dictionaries(st.sampled_from(MODULE), st.sampled_from(VALUES), max_size=2))
    lines += [f"{name} = {value}" for name, value in module.items()]
    if draw(st.integers(0, 5)) == 0:
        failures = st.dictionaries(st.sampled_from(VALUES[:6]), st.sampled_from(VALUES[:8]), max_size=2)
        lines.append("KNOWN_FAILURES = {" + ", ".join(f"{k}: {v}" for k, v in draw(failures).items()) + "}")
    if draw(st.integers(0, 7)) == 0:
        other = st.sampled_from(
            ("raise SystemExit(0)", "raise BaseException", "1 / 0", "(", "\x00", "import nothing_such")
        )
        lines.insert(draw(st.integers(0, len(lines))), draw(other))
    return "\n".join(lines)


@pytest.mark.usefixtures("no_work")
@given(source=sources(), command=st.sampled_from(("list", "check", "replay", "bench")))
@example(source="raise KeyboardInterrupt", command="list")
@profile(40)
def test_a_wrong_file_is_one_line(source, command):
    """Whatever the verb: an answer or a mistake told in a line, and no part of it steers the terminal."""
    further: dict[str, tuple[str, ...]] = {"list": ("implementations",), "check": ("--case", TINY)}
    further |= {"replay": (TINY, "--implementation", "mine"), "bench": ("mine", "--workload", "bert_base")}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mine.py"
        path.write_text(source, encoding="utf-8", errors="backslashreplace")
        given_answer = answer(command, *further[command], "--load", path)
    sys.modules.pop("implementations_loaded_mine", None)  # Hypothesis looks at what is loaded
    interrupted = given_answer.status == 130 and "KeyboardInterrupt" in source
    assert clear(given_answer) or interrupted, (source, given_answer)
    assert not {"\x1b", "\x07", "\u202e"} & set(given_answer.out + given_answer.err)


@pytest.mark.parametrize(
    "name",
    ["a b\x1b[31m", "[red]", "x" * 101, "'", '"""', "$(rm)", "`id`", "-rf", ".hidden", "a\nb", "a/../b\u202e", " "],
)
def test_a_name_that_is_none(tmp_path, name):
    """It would stand in tables, commands and paths, so it is refused where the file is loaded."""
    path = tmp_path / f"{name.replace('/', '')}.py"
    path.write_text(
        "from attention_harness import Capabilities\n"
        "CAPABILITIES = Capabilities(mechanisms=('cosine',))\nprepare = open"
    )
    given_answer = answer("list", "implementations", "--load", path)
    assert clear(given_answer)
    assert "cannot name an implementation" in given_answer.err


@pytest.mark.parametrize("name", ["my-kernel", "my kernel", "kernel_2", "kernel.v2", "Kern", "ядро", "v2+fast"])
def test_names_that_people_use(tmp_path, name):
    """They may."""
    path = tmp_path / f"{name}.py"
    path.write_text(
        "from attention_harness import Capabilities\n"
        "CAPABILITIES = Capabilities(mechanisms=('cosine',))\nprepare = open"
    )
    given_answer = answer("list", "implementations", "--load", path)
    assert given_answer.status == 0, given_answer
    assert f"\n{name}\t" in given_answer.out
