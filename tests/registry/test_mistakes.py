"""A mistake in an implementation file, or in a name, is one line that says what was expected."""

from __future__ import annotations

import pytest

from attention_harness import registry
from attention_harness.cases.ids import parse
from attention_harness.model.errors import HarnessError
from tests.registry.sources import TINY, write

HEAD = "from attention_harness import Capabilities\n"
GOOD = 'CAPABILITIES = Capabilities(mechanisms=("cosine",){})\n'
PREPARE = "def prepare(case): pass\n"

MISTAKES = {
    "no capabilities": (PREPARE, "no CAPABILITIES = Capabilities(...) at module level"),
    "capabilities of another type": ("CAPABILITIES = {}\n" + PREPARE, "no CAPABILITIES = Capabilities(...)"),
    "no prepare": (HEAD + GOOD.format(""), "no function prepare(case) that returns the callable to judge"),
    "prepare is a number": (HEAD + GOOD.format("") + "prepare = 1\n", "no function prepare(case)"),
    "empty": ("", "no CAPABILITIES"),
    "unknown mechanism": (
        HEAD + GOOD.format("").replace("cosine", "cosin") + PREPARE,
        "CAPABILITIES names no mechanism 'cosin'. Did you mean 'cosine'?",
    ),
    "mechanism is no name": (
        HEAD + GOOD.format("").replace('"cosine"', "1") + PREPARE,
        "mechanisms must be a tuple of names, got (1,)",
    ),
    "mechanisms is a string": (
        HEAD + 'CAPABILITIES = Capabilities(mechanisms="cosine")\n' + PREPARE,
        "mechanisms must be a tuple of names, got 'cosine'",
    ),
    "unknown option": (
        HEAD + GOOD.format(', options=("maks",)') + PREPARE,
        "names no option 'maks'. Did you mean 'mask'",
    ),
    "unknown dtype": (
        HEAD + GOOD.format(', dtypes=("fp32",)') + PREPARE,
        "unknown dtype 'fp32'; known: float32, float64",
    ),
    "unknown device": (
        HEAD + GOOD.format(', devices=("tpu",)') + PREPARE,
        "unknown device 'tpu'; known: cpu, cuda",
    ),
    "unknown field": (HEAD + GOOD.format(", speed=9") + PREPARE, "unexpected keyword argument 'speed'"),
    "syntax": ("def prepare(case) return 1\n", "importing it raised SyntaxError: "),
    "missing package": (
        "import no_such_package\n",
        "raised ModuleNotFoundError: No module named 'no_such_package'",
    ),
    "raises": ("raise RuntimeError('boom')\n", "importing it raised RuntimeError: boom"),
    "exits": ("import sys\nsys.exit(0)\n", "importing it raised SystemExit: 0"),
    "known failures are a list": (
        HEAD + GOOD.format("") + PREPARE + "KNOWN_FAILURES = ['weights:*']\n",
        "KNOWN_FAILURES must be a dict from a pattern of check:case to a reason",
    ),
    "known failures are nothing": (HEAD + GOOD.format("") + PREPARE + "KNOWN_FAILURES = None\n", "must be a dict"),
    "known failure without a reason": (
        HEAD + GOOD.format("") + PREPARE + "KNOWN_FAILURES = {'weights:*': ''}\n",
        "KNOWN_FAILURES must be a dict",
    ),
    "reason is no text": (
        HEAD + GOOD.format("") + PREPARE + "KNOWN_FAILURES = {'weights:*': 7}\n",
        "KNOWN_FAILURES must be a dict",
    ),
    "pattern is no text": (
        HEAD + GOOD.format("") + PREPARE + "KNOWN_FAILURES = {7: 'bug 7'}\n",
        "KNOWN_FAILURES must be a dict",
    ),
    "not text": ("\0", "importing it raised"),
}


def complaint(path) -> str:
    with pytest.raises(HarnessError) as caught:
        registry.implementations([path])
    return str(caught.value)


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_in_a_file(mistake, tmp_path):
    """The line names the file and the mistake."""
    source, expected = MISTAKES[mistake]
    path = tmp_path / "mine.py"
    path.write_text(source)
    text = complaint(path)
    assert expected in text
    assert str(path) in text
    assert len(text.splitlines()) == 1


@pytest.mark.parametrize(
    ("raised", "told"),
    [
        ("RuntimeError('boom')", "RuntimeError: boom"),
        ("KeyError(1)", "KeyError: 1"),
        ("SystemExit(0)", "SystemExit: 0"),
    ],
)
def test_a_question_that_raises(tmp_path, raised, told):
    """What goes wrong in `unavailable` or `unsupported` is one line that names the file and the function."""
    for name, given in (("unavailable", ""), ("unsupported", "case")):
        path = write(tmp_path / f"{name}_raises.py", bottom=f"def {name}({given}):\n    raise {raised}")
        found = registry.implementations([path])[path.stem]
        with pytest.raises(HarnessError) as caught:
            found.unavailable() if name == "unavailable" else found.refuses(parse(TINY))
        assert f"{path}: {name}() raised {told}" == str(caught.value)


def test_a_question_that_answers_none(tmp_path):
    """None is as good as no reason, and what is not declared is never asked for."""
    bottom = "def unavailable(): pass\ndef unsupported(case):\n    assert case.dtype == 'float32'"
    found = registry.implementations([write(tmp_path / "mine.py", bottom=bottom)])["mine"]
    assert (found.unavailable(), found.refuses(parse(TINY))) == ("", "")
    assert found.refuses(parse(TINY.replace("float32", "float16"))).startswith("dtype float16 not declared")


def test_no_file(tmp_path):
    """An absent file, a folder and a file that is not Python are told apart."""
    assert f"--load {tmp_path / 'absent.py'}: no such file" == complaint(tmp_path / "absent.py")
    assert f"--load {tmp_path}: a directory; give one file" == complaint(tmp_path)
    (tmp_path / "mine.txt").write_text("")
    assert f"--load {tmp_path / 'mine.txt'}: not a Python file" == complaint(tmp_path / "mine.txt")


def test_a_mended_file_loads(tmp_path):
    """A file that failed to load leaves nothing behind that its mended version could stumble over."""
    path = tmp_path / "mine.py"
    path.write_text("raise RuntimeError('boom')\n")
    complaint(path)
    assert "mine" in registry.implementations([write(path)])


def test_near_names_are_offered(tmp_path):
    """An unknown implementation: the nearest, all that are known, and how to add it."""
    with pytest.raises(HarnessError) as caught:
        registry.select(["eagre"], [write(tmp_path / "mine.py")])
    text = str(caught.value)
    assert text.startswith("no implementation 'eagre'. Did you mean 'eager'? Known: ")
    assert all(name in text for name in (*registry.implementations(), "mine"))
    assert text.endswith("to add it: create implementations/eagre.py or --load FILE")


def test_far_names_get_no_guess():
    """Where nothing is near, nothing is guessed."""
    with pytest.raises(HarnessError) as caught:
        registry.mechanism("zzzz")
    assert "no mechanism 'zzzz'. Known: additive, " in str(caught.value)
    assert "Did you mean" not in str(caught.value)
