"""What the measurement of a behaviour comes to: a word for each place, compared with what is declared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from attention_harness.bounds.judge import Judgement

NO_CLAIM = "no claim"


def finding(measured: str, declared: str, contradicted: bool) -> Judgement:
    """Return the judgement of a behaviour: it fails where the measurement contradicts the declaration."""
    if contradicted:
        return replace(Judgement.refuse(f"does: {measured}; declares: {declared}"), finding=measured, declared=declared)
    return Judgement(0.0, finding=measured, declared=declared)


def by_word(found: Mapping[str, str]) -> str:
    """Return what was found where: one word where it is the same everywhere."""
    grouped: dict[str, list[str]] = {}
    for where, word in found.items():
        grouped.setdefault(word, []).append(where)
    if len(grouped) == 1:
        return next(iter(grouped))
    return "; ".join(f"{word} ({', '.join(places)})" for word, places in grouped.items()) or "nothing to measure"
