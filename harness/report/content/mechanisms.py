"""What the report says of each mechanism, in the order in which a reader learns: chapters, simple ones first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from attention_harness.model.mechanism_facts import MechanismFacts
from attention_harness.model.run_facts import Heatmap
from attention_harness.model.verdict import NONCONFORMING, NOT_CHECKED
from attention_harness.report.content.matrix import Matrix, MatrixCell

CHAPTERS = {
    "scores": ("Comparing a query with a key", "Formulas that differ in the score alone: how well a key fits a query."),
    "softmax": ("From scores to weights", "The step that most formulas share."),
    "layers": (
        "Attention as a layer",
        "Learned projections around a score, and where queries, keys and values come from.",
    ),
    "positions": ("Where a token stands", "Attention alone sees a set without an order. These bring the order in."),
    "beyond": ("Beyond the notes", "What later models made of it."),
}
"""By kind of mechanism, a chapter's title and what it is about."""

OTHERS = ("Others", "")

AXES = {
    "B": "batch",
    "H": "heads of queries",
    "Hk": "heads of keys and values",
    "Lq": "queries",
    "Lk": "keys",
    "L": "positions of one sequence",
    "P": "fixed positions",
    "D": "width of queries and keys",
    "Dq": "width of queries",
    "Dk": "width of keys",
    "Dv": "width of values",
    "E": "width of an embedding",
    "Eq": "width of queries before their projection",
    "Ek": "width of keys before theirs",
    "Ev": "width of values before theirs",
    "A": "hidden features",
    "O": "width of the output",
    "C": "width of a latent",
    "R": "width of the rotary part",
}
"""What the letters of shapes count."""


@dataclass(frozen=True, slots=True)
class Implementer:
    """An implementation, its word on a mechanism, and the state that says how it is marked."""

    name: str
    word: str
    state: str


@dataclass(frozen=True, slots=True)
class Mechanism:
    """A mechanism: what the run says of it, what its weights look like, who implements it.

    number   its place in the report
    without  implementations that were not checked on it, by the reason's status in words
    """

    number: int
    name: str
    about: MechanismFacts
    panels: Sequence[Heatmap]
    implementers: tuple[Implementer, ...]
    without: Mapping[str, tuple[str, ...]]

    @property
    def weighs(self) -> bool:
        """Whether its panels are weights: keys across."""
        return any(panel.columns == "key" for panel in self.panels)

    @property
    def of_notes(self) -> list[Heatmap]:
        return [panel for panel in self.panels if panel.input == "notes"]

    @property
    def recorded(self) -> list[Heatmap]:
        return [panel for panel in self.panels if panel.input == "recorded"]

    @property
    def drawn(self) -> list[Heatmap]:
        return [panel for panel in self.panels if panel.input == "drawn"]


@dataclass(frozen=True, slots=True)
class Chapter:
    """Mechanisms that answer one question."""

    title: str
    says: str
    mechanisms: tuple[Mechanism, ...]


def chapters(
    names: Iterable[str],
    about: Mapping[str, MechanismFacts],
    heatmaps: Mapping[str, Sequence[Heatmap]],
    table: Matrix,
    whole: bool,
) -> tuple[Chapter, ...]:
    """Return the chapters that are not empty. whole: nothing that was planned is missing."""
    rows = dict(table.rows)
    facts = {name: about.get(name, MechanismFacts()) for name in names}
    ordered = sorted(facts.items(), key=lambda item: (len(item[1].inputs), len(item[1].formula)))
    found, number = [], 0
    for kind in (*CHAPTERS, None):
        members = []
        for name, one in ordered:
            if (one.kind if one.kind in CHAPTERS else None) == kind:
                number += 1
                checked, without = _implementers(rows.get(name, ()), whole)
                members.append(Mechanism(number, name, one, heatmaps.get(name, ()), checked, without))
        if members:
            found.append(Chapter(*CHAPTERS.get(kind or "", OTHERS), tuple(members)))
    return tuple(found)


def _implementers(
    cells: Sequence[MatrixCell], whole: bool
) -> tuple[tuple[Implementer, ...], dict[str, tuple[str, ...]]]:
    """Return those that were checked, with their word, and the others by why they were not."""
    checked, without = list[Implementer](), dict[str, tuple[str, ...]]()
    for cell in cells:
        if cell.state == "none" or cell.state in NOT_CHECKED:
            why = "not run" if cell.state == "none" else cell.state.replace("_", " ")
            without[why] = (*without.get(why, ()), cell.implementation)
        else:
            checked.append(Implementer(cell.implementation, _word(cell, whole), cell.state))
    return tuple(checked), without


def _word(cell: MatrixCell, whole: bool) -> str:
    if cell.state in NONCONFORMING:
        return "fails" if cell.state == "fail" else cell.state.replace("_", " ")
    if cell.state == "pass":
        return "conforms" if whole else "none wrong so far"
    return cell.state.replace("_", " ")


def letters(mechanism: Mechanism) -> list[tuple[str, str]]:
    """Return the letters of a mechanism's shapes that are known, and what each counts."""
    about = mechanism.about
    shapes = [*(one.axes for one in about.inputs), about.output, about.weights]
    used = {letter for axes in shapes for axis in axes.split() for letter in axis.split("+")}
    return [(letter, meaning) for letter, meaning in AXES.items() if letter in used]
