"""Dropout of the weights, in training alone: the surviving ones are divided by the keep probability."""

from __future__ import annotations

from attention_harness.options.option import Group, Option, Stage

OPTION = Option(
    name="dropout",
    summary="the probability with which a weight is dropped in training; the formulas have none",
    capability=lambda rate: "dropout",
    capabilities=("dropout",),
    group=Group.SUMS,
    stage=Stage.DROPOUT,
    more_forms=(0.25, 0.5, 0.1),
    accepts=lambda rate: isinstance(rate, float) and 0 < rate < 1,
    expected="a number between 0 and 1",
    breaks=frozenset({"sharp_scores", "split_and_merged"}),
    training=True,
)
