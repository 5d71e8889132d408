"""`torch_varlen` around a stand-in of its operator: what it packs, unpacks and hides is right, and mistakes show."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from attention_harness import registry
from attention_harness.cases.ids import parse
from attention_harness.execution.plan import plan_items
from attention_harness.execution.run import run_checks
from attention_harness.model.verdict import NONCONFORMING, NOT_CHECKED, Verdict
from attention_harness.options import required

VARLEN = registry.imported(registry.source("torch_varlen", ()))
ON_CPU = {
    'devices=("cuda",)': 'devices=("cpu",)',
    'dtypes=("bfloat16", "float16")': 'dtypes=("float32",)',
    "from torch.nn.attention.varlen import": "from tests.conformance.varlen_stand_in import",
    "    if not cuda_devices():": '    return ""\n    if not cuda_devices():',
}
MISTAKES = {
    "one batch element's ends for all": (" + starts[:-1, None]", " + 0 * starts[:-1, None]"),
    "the rest belongs to the last sequence": (
        "torch.cat([inner, inner.new_tensor([length])])",
        "torch.cat([inner[:-1], inner.new_tensor([length])])",
    ),
    "rows past the last end stay": (">= of_queries[-1]", "> queries + of_queries[-1]"),
    "queries' ends for keys": ("ends(of_keys, batch, keys", "ends(of_queries, batch, keys"),
    "heads before positions": ("x.transpose(1, 2).flatten(0, 1)", "x.flatten(0, 1).unflatten(0, (-1, x.shape[1]))"),
    "causality without its window": ("window=(left, right)", "window=(-1, right)"),
}


CASES = (
    "scaled_dot_product-B2H4Hk2Lq9Lk17D8Dv8-float32-plain-ordinary-contiguous",
    "scaled_dot_product-B2H3Hk3Lq5Lk7D8Dv8-float32-causal=bottom_right-ordinary-transposed",
    "scaled_dot_product-B3H2Hk2Lq17Lk17D16Dv16-float32-causal=bottom_right+window=2,0-ordinary-contiguous",
    "scaled_dot_product-B2H3Hk3Lq9Lk17D8Dv8-float32-segments=self-ordinary-contiguous",
    "scaled_dot_product-B3H2Hk2Lq16Lk17D8Dv8-float32-segments=cross-ordinary-offset",
    "scaled_dot_product-B2H4Hk2Lq17Lk9D8Dv8-float32-causal=bottom_right+segments=cross-ordinary-contiguous",
    "scaled_dot_product-B2H2Hk2Lq33Lk31D8Dv8-float32-causal=bottom_right+scale=0.375+segments=self-large-contiguous",
    "dot_product-B2H3Hk3Lq5Lk7D8Dv8-float32-segments=cross-ordinary-contiguous",
)


def judged(folder: Path, *changes: tuple[str, str]) -> Iterator[Verdict]:
    """Yield the verdicts on the file, with the stand-in and after these changes."""
    source = VARLEN.path.read_text()
    for stands, put in (*ON_CPU.items(), *changes):
        assert stands in source
        source = source.replace(stands, put)
    path = folder / "varlen.py"
    path.write_text(source)
    [own] = registry.select([path.stem], [path])
    return (verdict for item in plan_items([own], map(parse, CASES)) for verdict in run_checks(item))


def test_what_surrounds_the_operator_is_right(tmp_path):
    """Of every option that it declares, gradients among them."""
    found = list(judged(tmp_path))
    assert [] == [verdict for verdict in found if verdict.status in NONCONFORMING]
    assert set(CASES) == {verdict.case for verdict in found if verdict.status not in NOT_CHECKED}
    assert set(VARLEN.capabilities.options) == {option for case in CASES for option in required(parse(case))}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_there_is_seen(name, tmp_path):
    """The first verdict that contradicts ends the search."""
    assert any(verdict.status in NONCONFORMING for verdict in judged(tmp_path, MISTAKES[name]))


def test_it_says_why_it_is_not_there():
    """On a machine without a GPU."""
    assert VARLEN.unavailable().startswith(("no CUDA device", "this torch is a CPU build")) or not VARLEN.unavailable()
