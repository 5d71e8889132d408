"""Upstream failures that several implementations meet, declared where the machine has what they need."""

from __future__ import annotations

import os

from attention_harness import processor

# Its AMX kernel reads bfloat16 rows in whole tiles of 32 and multiplies what lies beyond a row by zero: NaN stays NaN.
# `torch.full((33, 34), nan)[:, 2:33].fill_(1) @ torch.ones(31, 8)` in bfloat16 is NaN; with 30 columns it is 30.
_ONEDNN = "uxlfoundation/oneDNN#5717: on AMX a bfloat16 product reads past the end of strided rows, and NaN there leaks"
_OUTLIER = "bfloat16-bias=query+causal=top_left+mask=full-outlier-offset"
_MET_BY = {
    "additive": f"additive-B3H2Lq16Lk17Dq8Dk9Dv8A11-{_OUTLIER}",
    "concat_tanh": f"concat_tanh-B3H2Lq16Lk17Dq8Dk9Dv8A11-{_OUTLIER}",
    "location": "location-B1Lq33P31Dq8Dk9Dv8O9-bfloat16-mask=query+valid_lens=batch-large-offset",
    "multi_head": f"multi_head-B3H2Lq16Lk17E16Eq10Ek11Ev8O9-{_OUTLIER}",
    "tanh_gated": f"tanh_gated-B3H2Lq16Lk17Dq8Dk9Dv8-{_OUTLIER}",
}


def onednn_tails(*mechanisms: str, checks: tuple[str, ...]) -> dict[str, str]:
    """Return the known failures of these mechanisms where oneDNN multiplies bfloat16 by AMX; none elsewhere."""
    limit = os.environ.get("ONEDNN_MAX_CPU_ISA", "ALL")
    if "amx_bf16" not in processor().extensions or not ("AMX" in limit or limit in ("ALL", "DEFAULT")):
        return {}
    return {f"{check}:{_MET_BY[name]}": _ONEDNN for name in mechanisms for check in checks}
