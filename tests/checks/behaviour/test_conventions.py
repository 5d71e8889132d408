"""What a window or a linear bias counts is named, and fails where it is not what was asked."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from attention_harness import Capabilities, registry
from attention_harness.checks import BY_NAME
from attention_harness.checks.behaviour.anchor import anchor
from attention_harness.implementations import eager
from tests.checks.behaviour import made as m


def counting(option: str, capabilities: tuple[str, ...], read: Callable[[Any], Any]) -> registry.Implementation:
    """Return a scaled dot product that means another form by each that it is asked."""
    module = ModuleType("made")
    module.CAPABILITIES = Capabilities(mechanisms=("scaled_dot_product",), options=capabilities)

    def prepare(case):
        given = {option: read(case.options[option])} if option in case.options else {}
        return lambda **tensors: eager.scaled_dot_product(**tensors, **given)[0]

    module.prepare = prepare
    return registry.Implementation("made", module, Path(__file__))


@pytest.mark.parametrize(
    ("read", "finding"),
    [
        (lambda before, after: (before, after), "window 2,1 and 1,3"),
        (lambda before, after: (before + 1, after), "window 3,1 where 2,1 is asked and 2,3 where 1,3 is asked"),
        (lambda before, after: (before, after - 1), "window 2,0 where 2,1 is asked and 1,2 where 1,3 is asked"),
        (lambda before, after: (before, 0), "window 2,0 where 2,1 is asked and 1,0 where 1,3 is asked"),
        (lambda before, after: (after, before), "window 1,2 where 2,1 is asked and 3,1 where 1,3 is asked"),
        (
            lambda before, after: (9, 9),
            "window no known reading where 2,1 is asked and no known reading where 1,3 is asked",
        ),
    ],
)
def test_windows(read, finding):
    """What comes back is named by the window that it is right for."""
    judged = m.ask("conventions", counting("window", ("window",), lambda form: read(*form)))
    assert (finding, "window 2,1 and 1,3") == (judged.finding, judged.declared)
    assert bool(judged.reason) == ("where" in finding and "no known" not in finding)


@pytest.mark.parametrize(
    ("capabilities", "read", "finding"),
    [
        (("alibi_full", "alibi_causal"), lambda form: form, "alibi full and causal"),
        (("alibi_full",), lambda form: "causal", "alibi causal where full is asked"),
        (("alibi_causal",), lambda form: "full", "alibi full where causal is asked"),
    ],
)
def test_linear_biases(capabilities, read, finding):
    """Full and causal biases differ in the keys behind a query alone."""
    judged = m.ask("conventions", counting("alibi", capabilities, read))
    assert (finding, bool(judged.reason)) == (judged.finding, "where" in finding)


def test_the_other_corner():
    """Of five queries and seven keys a window from the bottom-right corner begins two keys later."""
    judged = m.ask("conventions", counting("window", ("window",), lambda form: (form[0] - 2, form[1] + 2)))
    assert judged.finding.startswith("window that of the bottom-right corner where 2,1 is asked")
    assert judged.reason


def test_an_output_of_another_shape_is_refused_as_that():
    """It is the implementation's mistake and no fault of the harness."""
    one = counting("window", ("window",), lambda form: form)
    prepare = one.module.prepare
    one.module.prepare = lambda case: lambda **tensors: prepare(case)(**tensors).transpose(1, 2)
    assert "has shape" in m.ask("conventions", one).reason


def test_who_takes_neither_is_not_asked():
    """No option is declared that libraries compute differently."""
    plain = m.made(m.right)
    assert not BY_NAME["behaviour.conventions"].applies(plain, anchor(plain))
