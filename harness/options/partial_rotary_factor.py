"""How many of a vector's pairs of features a rotary embedding rotates; which features these are, its pairing says."""

from __future__ import annotations

from attention_harness.options.option import Group, Option, Stage

OPTION = Option(
    name="partial_rotary_factor",
    summary="a number f up to 1: the first floor(f D/2) pairs are rotated, the other features stay as they are",
    capability=lambda factor: "partial_rotary_factor",
    capabilities=("partial_rotary_factor",),
    group=Group.NAMED,  # the mechanism pairs its features by it
    stage=Stage.SCORES,
    forms=(0.5, 0.25),
    more_forms=(0.75, 0.7),  # 0.7 is exact in no format: 0.7 of 20 is 14 in float64, and less in float32
    accepts=lambda factor: isinstance(factor, float) and 0 < factor <= 1,
    expected="a number above 0 and at most 1",
)
