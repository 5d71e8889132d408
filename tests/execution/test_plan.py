"""The plan: every implementation on every case that it takes, with a reason for each that it does not."""

from __future__ import annotations

from attention_harness import registry
from attention_harness.cases.ids import parse
from attention_harness.cases.matrix import matrix
from attention_harness.checks.behaviour.anchor import anchor
from attention_harness.execution import in_process, plan
from attention_harness.execution.plan import plan_items, unexercised
from attention_harness.model.verdict import Status
from tests.registry.sources import TINY, write


def test_cases_for_a_declaration_follow_the_shared_ones():
    """Each implementation meets the shared cases, and then its own alone."""
    chosen = registry.select(["eager", "numpy_reference"])
    further = parse(TINY.replace("Lk3", "Lk4"))
    items = plan_items(chosen, [parse(TINY)], lambda one: [further] if one.name == "eager" else [])
    assert [f"eager:{TINY}", f"numpy_reference:{TINY}", f"eager:{further.id}"] == [item.id for item in items]


def test_cases_of_other_mechanisms_are_not_planned(tmp_path):
    """They are none of an implementation's business; a case of its own mechanism is, even if it cannot take that."""
    [own] = registry.select([], [write(tmp_path / "plain.py")])
    cases = [parse(TINY.replace("plain", "mask=full")), *matrix("quick")]
    items = list(plan_items([own], cases, lambda one: cases))
    assert {"scaled_dot_product"} == {item.case.mechanism for item in items}
    assert 2 * sum(case.mechanism == "scaled_dot_product" for case in cases) == len(items)
    assert (Status.UNSUPPORTED, "option mask not declared (declares none)") == items[0].skip


def test_what_no_case_exercises_is_named(tmp_path):
    """A declared dtype and option that no item has; one that is unsupported does not count."""
    declared = 'dtypes=("float32", "float64"), options=("mask", "causal_top_left")'
    [own] = registry.select([], [write(tmp_path / "declares.py", declared=declared)])
    cases = [parse(TINY), parse(TINY.replace("plain", "mask=full")), parse(TINY.replace("plain", "bias=full"))]
    items = list(plan_items([own], cases))
    assert [None, None, Status.UNSUPPORTED] == [item.skip and item.skip[0] for item in items]
    assert {"declares": ["causal_top_left", "float64"]} == unexercised(items)
    assert {} == unexercised([])


def test_a_declared_transformation_that_nothing_asks_is_named(tmp_path):
    """Autocast acts on float32 alone, and a bias of another dtype needs a bias; vmap is asked."""
    declared = 'dtypes=("bfloat16",), vmap=True, autocast=("float16",), narrower_inputs=("bias",)'
    [own] = registry.select([], [write(tmp_path / "applies.py", declared=declared)])
    assert {"applies": ["autocast", "narrower_inputs"]} == unexercised(plan_items([own], [anchor(own)]))


def test_the_plan_keeps_a_device(monkeypatch):
    """A case @cuda stays there, unsupported by whom it is not declared; a case of no device goes where each runs."""
    chosen = registry.select(["eager", "onnx_cpu", "onnx_cuda"])
    monkeypatch.setattr(chosen[2].module, "unavailable", lambda: "")

    def planned(text: str) -> dict[str, tuple[str, object]]:
        items = plan_items(chosen, [parse(text)])
        return {item.implementation.name: (item.case.device, item.skip and item.skip[0]) for item in items}

    monkeypatch.setattr(chosen[1].module, "unavailable", lambda: "")
    for devices, absent in (([], Status.UNAVAILABLE), ([{"name": "H200"}], None)):
        monkeypatch.setattr(plan, "cuda_devices", lambda devices=devices: devices)
        assert planned(TINY) == {"eager": ("cpu", None), "onnx_cpu": ("cpu", None), "onnx_cuda": ("cuda", absent)}
        assert planned(TINY + "@cuda") == {
            "eager": ("cuda", absent),
            "onnx_cpu": ("cuda", Status.UNSUPPORTED),
            "onnx_cuda": ("cuda", absent),
        }


def test_a_case_is_asked_on_its_own_device():
    """What is judged under the name of a case @cuda is the implementation there, not on the CPU."""
    for item in plan_items(registry.select(["eager"]), [parse(TINY), parse(TINY + "@cuda")]):
        assert item.case == in_process.subject(item.implementation, item.case).case
