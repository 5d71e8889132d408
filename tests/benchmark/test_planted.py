"""A slowdown that is planted into a copy of eager is found, and its size is inside the interval. Minutes: --campaigns.

What the plant costs is not typed: it is an arm of the same run, and stands in the same rounds.
"""

from __future__ import annotations

import pytest

from attention_harness import registry
from attention_harness.benchmark.campaign import Campaign, measure
from attention_harness.benchmark.workloads import Workload
from attention_harness.model.case import Case
from attention_harness.model.measurement import Measurement
from tests.benchmark import made

CASE = "scaled_dot_product-B1H8Hk8Lq128Lk128D64Dv64-float32-plain-ordinary-contiguous"
HEAD = """
import time

import torch

from attention_harness.implementations import eager

CAPABILITIES = eager.CAPABILITIES
SLEEP_S = 0.5e-3


def prepare(case):
    attend = eager.prepare(case)

    def call(**tensors):
        {plant}
        {rest}

    return call
"""
MATMUL = 'torch.matmul(tensors["query"], tensors["key"].mT)'
FILES = {
    "doubled": (MATMUL, "return attend(**tensors)"),
    "doubled_alone": (MATMUL, 'return tensors["query"]'),
    "sleeping": ("time.sleep(SLEEP_S)", "return attend(**tensors)"),
    "sleeping_alone": ("time.sleep(SLEEP_S)", 'return tensors["query"]'),
}


def conforms(implementation: registry.Implementation, case: Case, direction: str) -> str:
    """Gate what calls itself an attention; the plants alone are none, and are timed as what they are."""
    return "" if implementation.name.endswith("_alone") else made.conforms(implementation, case, direction)


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Measurement]:
    """Measure eager, both copies with a plant, and both plants alone."""
    folder = tmp_path_factory.mktemp("planted")
    for name, (plant, rest) in FILES.items():
        (folder / f"{name}.py").write_text(f'"""Planted."""\n{HEAD.format(plant=plant, rest=rest)}')
    load = [folder / f"{name}.py" for name in FILES]
    known = registry.implementations(load)
    campaign = Campaign(
        implementations=tuple(known[name] for name in ("eager", *FILES)),
        workloads=(Workload("planted", "made up", CASE),),
        load=tuple(load),
        extend=True,
        spot_check=False,  # the plants alone are no attention
    )
    return {row.implementation: row for row in measure(campaign, conforms, lambda *_: None)}


@pytest.mark.usefixtures("campaigns")
@pytest.mark.parametrize("plant", ["doubled", "sleeping"])
def test_a_plant_is_found_with_its_size(plant: str, request: pytest.FixtureRequest) -> None:
    """Slower, by what the plant alone takes in the same rounds: the two intervals meet."""
    measured: dict[str, Measurement] = request.getfixturevalue("rows")
    copy, alone = measured[plant], measured[f"{plant}_alone"]
    assert (copy.status, alone.status) == ("measured", "measured"), (copy.reason, alone.reason)
    if copy.answer == "unreliable":
        assert copy.reason
        pytest.skip(f"no answer on a machine as busy as this one: {copy.reason}")
    assert copy.answer == "slower", copy
    assert None not in (copy.low, copy.high, alone.low, alone.high)
    assert copy.low <= 1 + alone.high, (copy.ratio, alone.ratio)  # type: ignore[operator]
    assert copy.high >= 1 + alone.low, (copy.ratio, alone.ratio)  # type: ignore[operator]
