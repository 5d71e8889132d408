r"""Queries and keys normalised after their rotation by rotary positions: `query_key_norm` acts before it.

The formula is that of `query_key_norm`, with weights of its own. A rotation keeps lengths, so that the two orders
differ by the weights alone: w R(q) is not R(w q) where w differs between the features of a pair. Qwen 3 and Gemma 3
normalise first, Hunyuan's models rotate first.
"""

from __future__ import annotations

from attention_harness.options.option import Group, Option, Stage
from attention_harness.options.query_key_norm import FORM, TENSOR

OPTION = Option(
    name="rotated_query_key_norm",
    summary="learned weights (2, E): rotated queries and keys are divided by their root mean square, and multiplied",
    capability=lambda form: "rotated_query_key_norm",
    capabilities=("rotated_query_key_norm",),
    group=Group.NAMED,  # the mechanism rotates and normalises
    stage=Stage.SCORES,
    forms=(FORM,),
    accepts=lambda form: form == FORM,
    expected=FORM,
    tensor=TENSOR,
    breaks=frozenset({"sharp_scores"}),
    argument=FORM,
)
