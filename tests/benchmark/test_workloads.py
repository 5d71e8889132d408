"""The matrix: names and cases are unique, every case is valid, and no mechanism is left out."""

from __future__ import annotations

import pytest

from attention_harness import registry
from attention_harness.benchmark import workloads
from attention_harness.cases.ids import parse
from attention_harness.model.errors import HarnessError


def test_the_quick_matrix_has_every_mechanism() -> None:
    """Each matrix has the smaller ones."""
    quick, default, full = (workloads.of_matrix(size) for size in ("quick", "default", "full"))

    assert set(quick) < set(default) < set(full) == set(workloads.WORKLOADS)
    assert set(registry.mechanisms()) == {parse(workload.case).mechanism for workload in quick}
    assert len(full) == len({one.name for one in full}) == len({one.case for one in full})
    assert [one.case for one in full] == [parse(one.case).id for one in full]
    assert all(one.cites for one in full)


def test_a_workload_is_found_by_name() -> None:
    """In the order of the names; a name that is none says which is near."""
    assert ["vit_b16", "bert_base"] == [one.name for one in workloads.select(["vit_b16", "bert_base"])]
    with pytest.raises(HarnessError, match="Did you mean 'bert_base'"):
        workloads.select(["bert_bsae"])
