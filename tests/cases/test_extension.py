"""What is new appends rows to the matrix, and changes no id and no number of a case that was there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch

from attention_harness import options
from attention_harness.cases import distributions, inputs, space
from attention_harness.cases.coverage import Coverage
from attention_harness.cases.ids import parse
from attention_harness.cases.matrix import TIERS, matrix
from attention_harness.model import dtypes
from attention_harness.model.case import Case
from attention_harness.options import Group, Option, Stage
from attention_harness.registry import mechanisms
from tools.extend_matrix import further

TILT = Option(
    name="tilt",
    summary="a number added to the scores",
    capability=lambda form: "tilt",
    capabilities=("tilt",),
    group=Group.PAIRS,
    stage=Stage.BIAS,
    forms=(0.5, 2.0),
    accepts=lambda form: isinstance(form, float),
    expected="a number",
    apply=lambda scores, tilt: scores + tilt,
)


def add_mechanism(patch: pytest.MonkeyPatch) -> None:
    """Add one with a size letter of its own."""
    known = mechanisms()["dot_product"]

    def renamed(axes: tuple[str, ...]) -> tuple[str, ...]:
        return tuple("R" if axis == "Dv" else axis for axis in axes)

    inputs_of = tuple(replace(declared, axes=renamed(declared.axes)) for declared in known.inputs)
    new = replace(known, name="leaning", inputs=inputs_of, output=renamed(known.output), letters={"R": ("Dv", 2)})
    patch.setitem(mechanisms(), "leaning", new)


def add_option(patch: pytest.MonkeyPatch) -> None:
    patch.setitem(options._FOUND, "tilt", TILT)
    for name in ("cosine", "masked_softmax", "location"):
        known = mechanisms()[name]
        patch.setitem(mechanisms(), name, replace(known, options=(*known.options, "tilt")))


def add_level(patch: pytest.MonkeyPatch) -> None:
    patch.setitem(distributions.DISTRIBUTIONS, "doubled", {"query": lambda x, fmt: 2 * x})
    patch.setattr(space, "LENGTHS", (*space.LENGTHS, (3, 11)))


def add_dtype(patch: pytest.MonkeyPatch) -> None:
    record = replace(dtypes.DTYPES["bfloat16"], name="float8_e4m3fn", bits=8, precision=4, torch="float8_e4m3fn")
    patch.setitem(dtypes.DTYPES, record.name, record)


ADDITIONS = {"mechanism": add_mechanism, "option": add_option, "level": add_level, "dtype": add_dtype}
BEFORE = {tier: matrix(tier) for tier in TIERS}
WATCHED = [case for case in BEFORE["default"] if not case.content.startswith(("example.", "recorded."))][::25]
NUMBERS = {case: inputs.tensors(case) for case in WATCHED}


@pytest.fixture
def grown(request) -> Iterator[str]:
    """Add what the test asks for; afterwards everything is as it was."""
    with pytest.MonkeyPatch.context() as patch:
        ADDITIONS[request.param](patch)
        yield request.param


@pytest.mark.parametrize("grown", ADDITIONS, indirect=True)
def test_no_id_and_no_number_changes(grown):
    """Every id that was there names the same case, and its tensors are bit for bit what they were."""
    assert 0 == sum(case != parse(case.id) for case in BEFORE["thorough"])
    for case, numbers in NUMBERS.items():
        again = inputs.tensors(parse(case.id))
        assert list(numbers) == list(again)
        assert all(torch.equal(numbers[name], again[name]) for name in numbers), case.id


@pytest.mark.parametrize(
    ("grown", "tier"), [*((addition, "quick") for addition in ADDITIONS), ("option", "default")], indirect=["grown"]
)
def test_the_list_is_extended_by_what_is_new(grown, tier):
    """Rows are missing, are found, are all about what was added, and then none is missing."""
    made = list(further(tier, BEFORE[tier]))
    assert 0 < len(made) < 80
    assert not set(made) & set(BEFORE["thorough"])
    assert {} == Coverage(tier).missing([*BEFORE[tier], *made])
    assert [] == list(further(tier, [*BEFORE[tier], *made]))
    assert [case for case in made if not is_new(case, grown)] == []


def is_new(case: Case, grown: str) -> bool:
    """Whether a case has what was added."""
    return {
        "mechanism": case.mechanism == "leaning",
        "option": "tilt" in case.options,
        "level": case.content == "doubled" or 11 in case.sizes.values() or case.sizes.get("L") == 3,
        "dtype": case.dtype == "float8_e4m3fn",
    }[grown]


@pytest.mark.parametrize("tier", TIERS)
def test_without_an_addition_nothing_is_appended(tier):
    """The list that is checked in covers what the factors ask; for more, `python tools/extend_matrix.py` adds rows."""
    assert [] == list(further(tier, BEFORE[tier]))
