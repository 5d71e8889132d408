"""Formulas as MathML, which a browser sets as text: LaTeX in, markup out that holds nothing but mathematics.

A formula comes from a file that anybody may have written. So only commands of a list are read, and of the result only
elements and attributes of a list are written, with their texts escaped. What does not pass is shown as its source.
"""

from __future__ import annotations

import functools
import html
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING
from xml.etree import ElementTree

if TYPE_CHECKING:
    from markupsafe import Markup

LONGEST, DEEPEST, MOST_ELEMENTS = 1_000, 40, 1_000
"""Limits of a formula: characters of its source, elements inside one another, elements in all."""

_WORDS = """
frac tfrac dfrac sqrt operatorname text mathrm mathbf mathcal mathbb mathit left right textstyle displaystyle
hat bar tilde vec lVert rVert lvert rvert Vert vert langle rangle lfloor rfloor quad qquad
top bot cdot cdots dots ldots times circ odot otimes oplus pm mp to mapsto mid infty prime ell
sum prod int partial nabla exp log ln sin cos tan tanh max min arg lim
le leq ge geq ne neq approx equiv sim propto in notin subset cup cap forall exists
alpha beta gamma delta epsilon varepsilon zeta eta theta iota kappa lambda mu nu xi pi rho sigma tau phi varphi chi psi
omega Gamma Delta Theta Lambda Xi Pi Sigma Phi Psi Omega
"""
COMMANDS = frozenset(_WORDS.split())
"""The commands that are read. None of them defines another, links, colours or names a style."""

_MARKS = frozenset(",;:! {}|")  # what may follow a backslash beside a word
_COMMAND = re.compile(r"\\([A-Za-z]+|.|$)", re.S)
_KNOWN = "math mrow mi mn mo mtext mspace mfrac msqrt mroot msub msup msubsup munder mover munderover mstyle"
_ELEMENTS = frozenset(_KNOWN.split())
_ATTRIBUTES = {"display", "stretchy", "width", "displaystyle", "scriptlevel", "mathvariant", "accent", "fence", "form"}
_VALUE = re.compile(r"-?[A-Za-z0-9.]{1,20}")
_NAMESPACE = "xmlns"
_SPACES = str.maketrans("\N{NO-BREAK SPACE}\N{THIN SPACE}\N{EM SPACE}", "   ")


class _Unsafe(ValueError):
    """A formula that is not set."""


@functools.lru_cache(maxsize=512)
def parts(latex: str) -> tuple[Markup, ...]:
    """Return the equations of a formula, which can stand below one another; nothing if one of them cannot be set."""
    sources = re.split(r"(?<=[,;])\s*\\quad\s*", latex) if len(latex) <= LONGEST else []
    made = tuple(_math(source, "block") for source in sources)
    return tuple(one for one in made if one is not None) if None not in made else ()


@functools.lru_cache(maxsize=512)
def inline(latex: str) -> Markup | None:
    """Return a short formula to stand in a line; None if it cannot be set."""
    return _math(latex, "inline")


def _math(latex: str, display: str) -> Markup | None:
    from latex2mathml.converter import convert_to_element
    from markupsafe import Markup

    try:
        _check_source(latex)
        root = convert_to_element(latex, display=display)
        _check_size(root)
        root.attrib.pop(_NAMESPACE, None)  # HTML knows the element by its name
        for element in root.iter():
            _clean(element)
        for element in list(root.iter()):
            _tidy(element)
        root.set("alttext", latex)
        root.set("aria-label", latex)
        return Markup(ElementTree.tostring(root, encoding="unicode", short_empty_elements=False))
    except Exception:  # the converter has an error for each mistake, and no base of them
        return None


def _check_source(latex: str) -> None:
    """Refuse what is long, and every command that is not on the list."""
    if not latex or len(latex) > LONGEST:
        raise _Unsafe(f"{len(latex)} characters")
    if len(re.findall(r"(?<!\\)\{", latex)) != len(re.findall(r"(?<!\\)\}", latex)):
        raise _Unsafe("braces")
    for command in _COMMAND.findall(latex):
        if command not in COMMANDS and command not in _MARKS:
            raise _Unsafe(f"command {command}")


def _check_size(root: ElementTree.Element) -> None:
    if sum(1 for _ in root.iter()) > MOST_ELEMENTS or any(depth > DEEPEST for depth in _depths(root)):
        raise _Unsafe("too large")


def _depths(root: ElementTree.Element) -> Iterator[int]:
    """Yield how deep each element lies, without recursion."""
    waiting = [(root, 1)]
    while waiting:
        element, depth = waiting.pop()
        yield depth
        waiting.extend((child, depth + 1) for child in element)


def _clean(element: ElementTree.Element) -> None:
    """Refuse an element or attribute that is not on the list; give it the text that its references stand for."""
    if element.tag not in _ELEMENTS or (element.tail or "").strip():
        raise _Unsafe(f"element {element.tag}")
    for name, value in element.attrib.items():
        if name not in _ATTRIBUTES or not _VALUE.fullmatch(value):
            raise _Unsafe(f"attribute {name}")
    text = html.unescape(element.text or "").translate(_SPACES)  # the converter writes references as text
    if not text.isprintable() or "\\" in text:
        raise _Unsafe("a text that is no mathematics")
    if element.tag == "mtext":  # a browser drops spaces at its ends
        text = re.sub(r"^ | $", "\N{NO-BREAK SPACE}", text)
    if element.tag == "mo" and text.isalpha() and text.isascii() and len(text) > 1:
        element.tag = "mi"  # softmax is a function's name, not an operator with room on both sides
        element.attrib.clear()
    element.text = text


def _tidy(parent: ElementTree.Element) -> None:
    """Set what the converter leaves to the browser: room beside a function's name, a sign, bars of one height."""
    children, room = list(parent), {"width": "0.167em"}
    for place in range(len(children) - 1, -1, -1):
        child, before = children[place], children[place - 1] if place else None
        if child.tag == "mo" and child.text in ("\N{DOUBLE VERTICAL LINE}", "|"):
            child.set("stretchy", "false")
        if child.tag == "mo" and child.text == "\N{MINUS SIGN}" and before is not None and before.text in ("=", "("):
            child.set("form", "prefix")
        if child.tag == "msup" and child[1].text == "\N{PRIME}":  # it is raised by its font already
            child.tag = "mrow"
        if parent.tag not in ("mrow", "mstyle", "math") or not _is_name(child):
            continue
        following = children[place + 1] if place + 1 < len(children) else None
        if following is not None and _first_text(following) not in ("(", ")", "[") and following.tag != "mspace":
            parent.insert(place + 1, ElementTree.Element("mspace", room))
        if before is not None and before.tag not in ("mo", "mspace", "mrow"):
            parent.insert(place, ElementTree.Element("mspace", room))


def _is_name(element: ElementTree.Element) -> bool:
    """Return whether an element is the name of a function, such as sin."""
    text = element.text or ""
    return element.tag == "mi" and len(text) > 1 and text.isascii()


def _first_text(element: ElementTree.Element) -> str:
    return next((text for one in element.iter() if (text := one.text)), "")
