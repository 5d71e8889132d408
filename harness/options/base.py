"""The base of the positions' rates, in place of 10,000."""

from __future__ import annotations

import math

from attention_harness.options.option import Group, Option, Stage

OPTION = Option(
    name="base",
    summary="a number above 1 in place of 10,000, whose powers are the wavelengths of the positions",
    capability=lambda base: "base",
    capabilities=("base",),
    group=Group.NAMED,  # the mechanism makes its rates of it
    stage=Stage.SCORES,
    forms=(500.0,),
    more_forms=(1e6, 2.5),
    accepts=lambda base: isinstance(base, float) and math.isfinite(base) and base > 1,
    expected="a number above 1",
)
