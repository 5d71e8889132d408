"""oneDNN#5717 is still there where it is refused, and nothing is refused elsewhere."""

from __future__ import annotations

import pytest
import torch

from attention_harness.cases.ids import parse
from attention_harness.implementations import _upstream

LAYERS = "additive-B2H3Lq5Lk7Dq8Dk9Dv8A11-{}-plain-ordinary-{}"


@pytest.mark.parametrize(
    ("dtype", "layout", "extensions", "limit", "refused"),
    [
        ("bfloat16", "offset", ["amx_bf16"], "ALL", True),
        ("bfloat16", "mixed", ["amx_bf16"], "AVX512_CORE_AMX", True),
        ("bfloat16", "offset", ["amx_bf16"], "AVX512_CORE_BF16", False),
        ("bfloat16", "offset", ["avx512f"], "ALL", False),
        ("bfloat16", "contiguous", ["amx_bf16"], "ALL", False),
        ("float32", "offset", ["amx_bf16"], "ALL", False),
    ],
)
def test_what_is_refused(dtype, layout, extensions, limit, refused, monkeypatch):
    """Strided rows of bfloat16 alone, and only where AMX multiplies them."""
    described = type("Processor", (), {"extensions": extensions})
    monkeypatch.setattr(_upstream, "processor", lambda: described)
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", limit)
    _upstream.multiplies_by_amx.cache_clear()
    reason = _upstream.onednn_tails(parse(LAYERS.format(dtype, layout)))
    _upstream.multiplies_by_amx.cache_clear()
    assert refused == ("oneDNN#5717" in reason)
    assert refused == bool(reason)


def test_the_reason_still_holds():
    """When this product is right on AMX, oneDNN is mended: refuse nothing then."""
    if not _upstream.multiplies_by_amx():
        pytest.skip("oneDNN does not multiply by AMX here")
    rows = torch.full((33, 34), torch.nan, dtype=torch.bfloat16)[:, 2:33].fill_(1)
    assert (rows @ torch.ones(31, 8, dtype=torch.bfloat16)).isnan().any()
