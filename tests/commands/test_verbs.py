"""Each verb is a module with a summary, arguments and `run`; only the module of the verb that is run is imported."""

from __future__ import annotations

import subprocess
import sys

import pytest

from attention_harness.commands.main import VERBS, parse, parser

HEAVY = ("torch", "numpy", "pebble", "latex2mathml", "jinja2", "vl_convert")
LIGHT = tuple(verb for verb in VERBS if not verb.startswith(("bench", "choose")))


def modules_after(*arguments: str) -> set[str]:
    """Return which heavy packages a command line imports, in a fresh interpreter."""
    code = (
        "import sys\nfrom attention_harness.commands.main import main\n"
        f"try:\n    main({list(arguments)!r})\nexcept SystemExit:\n    pass\n"
        f"print(*[name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stderr.split())


def test_every_verb_has_a_summary():
    """The help of the whole lists it, in a sentence."""
    [verbs] = [action for action in parser()._actions if action.choices]
    assert list(VERBS) == list(verbs.choices)
    assert all(one.help and one.help.endswith(".") for one in verbs._choices_actions)


@pytest.mark.parametrize("verb", LIGHT)
def test_help_imports_nothing_heavy(verb):
    """What a verb takes is known without NumPy, torch or a worker pool."""
    assert set() == modules_after(*verb.split(), "--help")


@pytest.mark.parametrize(
    "kind", ["implementations", "mechanisms", "options", "checks", "mutants", "variants", "cases", "workloads"]
)
def test_listing_imports_no_framework(kind):
    """NumPy alone, and no worker pool."""
    assert modules_after("list", kind) <= {"numpy"}


@pytest.mark.parametrize("words", [("bench", "self-check"), ("bench", "against", "HEAD"), ("mutants", "sensitivity")])
def test_a_sub_verb_is_two_words(words):
    """After its verb, and nowhere else."""
    assert " ".join(words[:2]) == parse(words).verb
    assert "bench" == parse(["bench", "--", "against"]).verb
