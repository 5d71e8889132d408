"""Which dtype comes out."""

from __future__ import annotations

from attention_harness.bounds.judge import Judgement
from attention_harness.cases import inputs
from attention_harness.checks.behaviour.anchor import each_dtype, is_anchor
from attention_harness.checks.behaviour.finding import finding
from attention_harness.checks.declaration import check
from attention_harness.checks.subject import Subject
from attention_harness.model.dtypes import DTYPES
from attention_harness.registry import mechanisms


@check("behaviour.dtype", is_anchor)
def dtype(subject: Subject) -> Judgement:
    """Which dtype comes out for each declared one, and what becomes of a key and a value wider than the query."""
    wrong = []
    for case in each_dtype(subject.implementation, subject.case):
        output = subject.prepared_for(case).call(inputs.tensors(case)).output
        if _name(output) != case.dtype:
            wrong.append(f"{_name(output)} for {case.dtype}")
    measured = ", ".join(wrong) or "the query's"
    return finding(measured + _mixed(subject), "the query's", bool(wrong))


def _name(tensor: object) -> str:
    return str(tensor.dtype).removeprefix("torch.")  # type: ignore[attr-defined]


def _mixed(subject: Subject) -> str:
    """Return what a query of one dtype does with keys and values of a wider one: outside the contract, so not judged.

    Never a narrower one: a kernel that reads raw memory would read beyond its end.
    """
    import torch

    tensors = inputs.tensors(subject.case)
    others = [declared.name for declared in mechanisms()[subject.case.mechanism].inputs[1:]]
    more = [dtype for dtype in DTYPES.values() if dtype.bits > subject.case.format.bits]
    if not more or not others:
        return ""
    wider = min(more, key=lambda dtype: dtype.bits)
    tensors |= {name: tensors[name].to(getattr(torch, wider.torch)) for name in others}
    try:
        came_out = _name(subject.prepared.call(tensors).output)
    except (Exception, SystemExit) as error:
        came_out = f"raises {type(error).__name__}"
    return f"; beside {wider.name} keys and values: {came_out}"
