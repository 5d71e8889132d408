"""Grouped heads: each key head serves several neighbouring query heads. The sizes of a case say so."""

from __future__ import annotations

from collections.abc import Mapping

from attention_harness.options.option import Group, Option, Stage


def _of_sizes(sizes: Mapping[str, int]) -> bool:
    heads = sizes.get("H")
    return sizes.get("Hk", heads) != heads


OPTION = Option(
    name="grouped_heads",
    summary="fewer key heads than query heads: each is repeated for its neighbours",
    capability=lambda form: "grouped_heads",
    capabilities=("grouped_heads",),
    group=Group.NAMED,
    stage=Stage.SCORES,
    of_sizes=_of_sizes,
    breaks=frozenset({"permuted_heads"}),
)
