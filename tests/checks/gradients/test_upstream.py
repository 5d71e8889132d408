"""A backward pass leaves the gradient that it is given as it is: others may hold it, too."""

from __future__ import annotations

import pytest

from attention_harness.cases import inputs
from attention_harness.cases.ids import parse
from attention_harness.execution import in_process
from attention_harness.model.errors import ImplementationRaised
from attention_harness.mutation.campaign import select
from attention_harness.mutation.patched import eager

CASE = parse("scaled_dot_product-B2H3Hk3Lq5Lk7D16Dv8-float32-plain-ordinary-contiguous")


def gradients(implementation, accumulated: bool):
    """Return the gradients of a sum of outputs."""
    import torch

    tensors = inputs.tensors(CASE)
    upstream = torch.ones(2, 3, 5, 8)
    return in_process.subject(implementation, CASE).prepared.gradients(tensors, upstream, accumulated=accumulated)


@pytest.mark.parametrize("accumulated", [False, True], ids=["grad", "backward"])
def test_one_that_writes_into_it_is_told_so(accumulated):
    """Though its gradients are right: the change is the fault."""
    [[mutant], _] = select(["gradient of the output doubled in place"])
    with pytest.raises(ImplementationRaised, match="changed the gradient of the output in place"):
        gradients(mutant.implementation(), accumulated)
    assert {"query", "key", "value"} == set(gradients(eager(), accumulated).by_name)
