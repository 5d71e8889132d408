"""The position of a sequence's first element, as where earlier ones were encoded in another call."""

from __future__ import annotations

from attention_harness.options.option import Group, Option, Stage

OPTION = Option(
    name="first_position",
    summary="a whole number, the position of a sequence's first element in place of 0",
    capability=lambda place: "first_position",
    capabilities=("first_position",),
    group=Group.NAMED,  # the mechanism counts from it
    stage=Stage.SCORES,
    forms=(37.0,),
    more_forms=(1.0, 1000.0, 100000.0),
    accepts=lambda place: isinstance(place, float) and place.is_integer() and place >= 0,
    expected="a whole number of at least 0",
)
