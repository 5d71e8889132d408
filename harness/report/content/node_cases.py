"""ONNX's own node cases as a report tells them: how many passed by operator and implementation, and why not the others.

Nothing is dropped: what was refused, was not asked or is left out is counted with its reason.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from attention_harness.model.node_cases import NodeCase
from attention_harness.model.verdict import NONCONFORMING, Status
from attention_harness.report import words

COLUMNS = {
    "passed": (Status.PASS,),
    "wrong": NONCONFORMING,
    "known failure": (Status.KNOWN_FAILURE,),
    "refused": (Status.UNSUPPORTED,),
    "not asked": (Status.NOT_ASKED, Status.UNAVAILABLE),
}
"""What is counted, and of which results."""
EXAMPLES = 3  # cases that a reason names


@dataclass(frozen=True, slots=True)
class Why:
    """A reason. who: the implementation, or the operator where the cases are left out in all of them."""

    who: str
    word: str
    reason: str
    cases: Sequence[str]

    @property
    def examples(self) -> str:
        """The first cases of this reason by name, and how many more there are."""
        further = len(self.cases) - EXAMPLES
        return ", ".join(self.cases[:EXAMPLES]) + (f" and {further} more" if further > 0 else "")


def sentence(found: Sequence[NodeCase]) -> str:
    """Return how many cases there are, and how many answers were right and wrong."""
    total = Counter(_word(one) for one in found)
    answers = total["passed"] + total["wrong"] + total["known failure"]
    cases = words.counted(len({one.name for one in found}), "node case")
    wrong = f"{words.number(total['wrong'])} wrong, {words.counted(total['known failure'], 'known failure')}"
    return f"{cases}: {words.number(total['passed'])} of {words.counted(answers, 'answer')} right, {wrong}."


def rows(found: Sequence[NodeCase]) -> Iterator[tuple[str, str, list[int]]]:
    """Yield each operator and implementation, and how many of its cases are in each column."""
    counts: dict[tuple[str, str], Counter[str]] = {}
    for one in found:
        if one.implementation:
            counts.setdefault((one.operator, one.implementation), Counter())[_word(one)] += 1
    yield from ((*names, [counts[names][word] for word in COLUMNS]) for names in sorted(counts))


def reasons(found: Sequence[NodeCase]) -> list[Why]:
    """Return why cases did not pass: wrong ones first, then by implementation, the most frequent first."""
    grouped: dict[tuple[str, str, str], list[str]] = {}
    for one in found:
        if one.status is not Status.PASS:
            word = _word(one) if one.implementation else "left out"
            grouped.setdefault((one.implementation or one.operator, word, one.reason), []).append(one.name)
    order = (*list(COLUMNS)[1:], "left out")
    found_reasons = [Why(*key, names) for key, names in grouped.items()]
    return sorted(found_reasons, key=lambda why: (order.index(why.word), why.who, -len(why.cases), why.reason))


def _word(one: NodeCase) -> str:
    return next(word for word, statuses in COLUMNS.items() if one.status in statuses)
