"""The matrix: names and cases are unique, every case is valid, and no mechanism is left out."""

from __future__ import annotations

import pytest

from attention_harness import registry
from attention_harness.benchmark import workloads
from attention_harness.cases.distributions import DISTRIBUTIONS
from attention_harness.cases.ids import parse
from attention_harness.cases.matrix import matrix
from attention_harness.cases.problems import problems
from attention_harness.model.errors import HarnessError
from tools.extend_matrix import problems_to_add, shortened


def test_the_quick_matrix_has_every_mechanism() -> None:
    """Each matrix has the smaller ones."""
    quick, default, full = (workloads.of_matrix(size) for size in ("quick", "default", "full"))

    assert set(quick) < set(default) < set(full) == set(workloads.WORKLOADS)
    assert set(registry.mechanisms()) == {parse(workload.case).mechanism for workload in quick}
    assert len(full) == len({one.name for one in full}) == len({one.case for one in full})
    assert [one.case for one in full] == [parse(one.case).id for one in full]
    assert all(one.cites for one in full)


def test_every_workload_is_a_problem_of_check() -> None:
    """With its widths, heads and options; `tools/extend_matrix.py` appends those of a new one. Recordings are cases."""
    assert [] == problems_to_add()
    for workload in workloads.WORKLOADS:
        case = parse(workload.case)
        assert case in matrix() if case.content not in DISTRIBUTIONS else shortened(case) in problems()
        for axis, length in shortened(case).sizes.items():
            assert length == case.sizes[axis] or (axis in ("B", "Lq", "Lk", "L", "P") and 1 < length < case.sizes[axis])


def test_what_is_shortened_keeps_which_length_is_longer() -> None:
    """What is short already stays."""
    case = parse("scaled_dot_product-B4H2Hk2Lq64Lk1500D8Dv8-bfloat16-plain-ordinary-contiguous-draw3")
    short = parse("scaled_dot_product-B2H2Hk2Lq17Lk18D8Dv8-float32-plain-ordinary-contiguous")
    assert short == shortened(case)


def test_a_workload_is_found_by_name() -> None:
    """In the order of the names; a name that is none says which is near."""
    assert ["vit_b16", "bert_base"] == [one.name for one in workloads.select(["vit_b16", "bert_base"])]
    with pytest.raises(HarnessError, match="Did you mean 'bert_base'"):
        workloads.select(["bert_bsae"])
