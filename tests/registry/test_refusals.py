"""A declaration leaves out what it does not name, and says why."""

from __future__ import annotations

import dataclasses

from attention_harness.model.capabilities import Capabilities
from attention_harness.model.case import Case
from attention_harness.registry import refuses

CASE = Case("cosine", {"D": 8, "Lq": 5, "B": 2, "H": 4, "Hk": 2, "Lk": 7, "Dv": 6}, options={"mask": "full"})


def test_a_device_that_was_not_declared_is_refused():
    """On the CPU alone nothing is asked of another device, and the other way round."""
    able = Capabilities(("cosine",), options=("mask", "grouped_heads"))
    assert refuses(able, CASE.on("cuda")) == "device cuda not declared (declares cpu)"
    able = dataclasses.replace(able, devices=("cuda",))
    assert refuses(able, CASE) == "device cpu not declared (declares cuda)"
    assert refuses(able, CASE.on("cuda")) == ""
    able = dataclasses.replace(able, devices=("cpu", "cuda"))
    assert [refuses(able, case) for case in (CASE, CASE.on("cuda"))] == ["", ""]


def test_what_was_not_declared_is_refused_with_its_name():
    """A declaration says why it leaves a case out: mechanism, dtype, or the options it lacks; else nothing."""
    able = Capabilities(("cosine",), options=("mask", "grouped_heads"))
    assert refuses(able, CASE) == ""
    assert refuses(able, Case("additive", {})) == "mechanism additive not declared"
    refusal = refuses(able, dataclasses.replace(CASE, dtype="float16"))
    assert refusal == "dtype float16 not declared (declares float32)"
    refusal = refuses(Capabilities(("cosine",), options=("bias",)), CASE)
    assert refusal == "option grouped_heads, mask not declared (declares bias)"
    assert refuses(Capabilities(("cosine",)), CASE) == "option grouped_heads, mask not declared (declares none)"
