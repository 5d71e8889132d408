"""Rotary positions of a sequence that attends to itself: its queries and keys are rotated by them, its values are not.

The rotation is the mechanism `rotary_embedding`, whole and from position 0, in the pairing that the form names.
"""

from __future__ import annotations

from attention_harness.options.option import Group, Option, Stage

_FORMS = ("half", "interleaved")

OPTION = Option(
    name="rotary",
    summary="half or interleaved: queries and keys of a self-attention are rotated by their positions in this pairing",
    capability=lambda form: f"rotary_{form}",
    capabilities=tuple(f"rotary_{form}" for form in _FORMS),
    group=Group.NAMED,  # the mechanism rotates: only that knows which of its vectors are queries and keys
    stage=Stage.SCORES,
    forms=_FORMS,
    accepts=lambda form: form in _FORMS,
    expected="half or interleaved",
    breaks=frozenset({"permuted_keys", "permuted_queries", "sharp_scores"}),
    argument="half",
)
