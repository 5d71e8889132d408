"""Formulas as MathML: ours are typeset, and what anybody wrote comes out as mathematics or not at all."""

from __future__ import annotations

import re
import time
from xml.etree import ElementTree

import pytest

from attention_harness.registry import mechanisms
from attention_harness.report.page import mathml

FORMULAS = {
    f"{name}.{place}": latex
    for name, one in mechanisms().items()
    for place, latex in enumerate(
        dict.fromkeys([one.formula, *filter(None, one.steps), *(i.symbol for i in one.inputs)])
    )
}
# The commands that stand for a symbol, and the symbol.
SEEN = {r"\lVert": "‖", r"\rVert": "‖", r"\dots": "…", r"\top": "⊤", r"\sum": "∑", r"\lambda": "λ", r"\in": "∈"}
HOSTILE = (
    "<script>alert(1)</script>",
    r"\text{<script>alert(1)</script>}",
    r"\text{&lt;script&gt;alert(1)&lt;/script&gt;}",
    r"\mathrm{<img src=x onerror=alert(1)>}",
    r"\href{javascript:alert(1)}{x}",
    r"\style{background:url(http://a)}{x}",
    r"\class{top}{x}",
    r"\color{red}x",
    r"\unicode{x3C}script\unicode{x3E}",
    r"\def\a{\a\a}\a",
    r"\newcommand{\a}{bb}\a",
    "]]>",
    "-->",
    "</math><script>alert(1)</script>",
    'x" onclick="alert(1)',
    "{" * 400 + "}" * 400,
    "{{{{",
    "}}}}",
    r"\left(x",
    r"\frac",
    "x_1_2",
    "x" * 100_000,
    r"\frac{" * 20_000,
    "^" * 900,
    "\u202ex",
    "\x00",
    "\ud800",
    "&#x3C;script&#x3E;",
    "",
    "\\",
)


def elements(markup: str) -> list[ElementTree.Element]:
    return list(ElementTree.fromstring(markup).iter())


@pytest.mark.parametrize("latex", FORMULAS.values(), ids=FORMULAS)
def test_every_formula_of_ours_is_typeset(latex):
    """No command is left as its name, each symbol is there, and each subscript and fraction is one."""
    made = mathml.parts(latex)
    assert len(made) == 1 + len(re.findall(r"[,;]\s*\\quad", latex))
    found = [element for part in made for element in elements(part)]
    texts = "".join(element.text or "" for element in found)
    assert "\\" not in texts
    assert {symbol for command, symbol in SEEN.items() if re.search(rf"{re.escape(command)}(?![a-z])", latex)} <= {
        *texts
    }
    tags = [element.tag for element in found]
    assert tags.count("mfrac") == len(re.findall(r"\\t?frac", latex))
    assert tags.count("msqrt") == latex.count(r"\sqrt")
    assert sum(map(tags.count, ("msub", "msubsup", "munder"))) == len(re.findall(r"_(?!\{?,)", latex))
    for name in re.findall(r"\\operatorname\{(\w+)\}", latex):
        assert any(element.tag == "mi" and element.text == name for element in found)
    assert "".join(part.get("alttext", "") for part in found if part.tag == "math").replace(" ", "") in (
        latex.replace(r"\quad", "").replace(" ", "")
    )


@pytest.mark.parametrize("latex", HOSTILE, ids=lambda text: ascii(text[:30]))
def test_a_hostile_formula_is_mathematics_or_nothing(latex):
    """What comes out has known elements and attributes alone, its texts escaped; it comes soon."""
    began = time.process_time()
    made = [*mathml.parts(latex), *filter(None, [mathml.inline(latex)])]
    assert time.process_time() - began < 2
    for markup in made:
        for element in elements(markup):
            assert element.tag in mathml._ELEMENTS
            assert set(element.attrib) <= {*mathml._ATTRIBUTES, "alttext", "aria-label"}
            assert (element.text or "").isprintable() or element.tag == "mtext"
        assert not re.search(r"<(?!/?m)", markup)


@pytest.mark.parametrize(
    "latex", [r"\href{javascript:alert(1)}{x}", r"\def\a{b}\a", "{{{{", "}", "x" * 1001, r"\nosuchword{x}", "\u202ex"]
)
def test_what_cannot_be_set_is_not(latex):
    """A command that is not on the list, braces that do not match, what is long or steers."""
    assert mathml.parts(latex) == ()
    assert mathml.inline(latex) is None


def test_a_part_that_cannot_be_set_takes_the_others_with_it():
    """So that none is missing unseen; parts stand by themselves otherwise."""
    assert mathml.parts(r"a, \quad \nosuchword{x}") == ()
    assert ["a,", "b"] == [ElementTree.fromstring(part).get("alttext") for part in mathml.parts(r"a, \quad b")]


class Everything:
    """A list that every command is on."""

    def __contains__(self, command: object) -> bool:
        return True


@pytest.mark.parametrize(
    "latex",
    [
        r"\href{javascript:alert(1)}{x}",
        r"\style{color:red}{x}",
        r"\class{top}{x}",
        r"\color{red}x",
        r"\phantom{x}",
        r"\begin{matrix}a\end{matrix}",
        r"\unicode{x202E}",
        r"\nosuchword{x}",
    ],
)
def test_elements_attributes_and_texts_are_held_to_their_lists_too(monkeypatch, latex):
    """Were a command let through by mistake, its element, attribute or text would not be."""
    monkeypatch.setattr(mathml, "COMMANDS", Everything())
    assert mathml._math(latex, "block") is None


@pytest.mark.parametrize("latex", [rf"\text{{{'a' * 1000}}}", "x" * 1000, "{" * 60 + "x" + "}" * 60])
def test_length_number_and_depth_are_bounded(latex):
    """Each by itself: a long text is one element, many letters are short, braces lie deep."""
    assert mathml._math(latex, "block") is None
