"""Upstream failures that several implementations meet, refused where the machine has what they need."""

from __future__ import annotations

import functools
import os
from typing import TYPE_CHECKING

from attention_harness import processor

if TYPE_CHECKING:
    from attention_harness import Case

# Its AMX kernel reads bfloat16 rows in whole tiles of 32 and multiplies what lies beyond a row by zero: NaN stays NaN.
# `torch.full((33, 34), nan)[:, 2:33].fill_(1) @ torch.ones(31, 8)` in bfloat16 is NaN; with 30 columns it is 30.
_ONEDNN = "uxlfoundation/oneDNN#5717: on AMX a bfloat16 product reads past the end of strided rows, and NaN there leaks"
_LAYERS = ("additive", "concat_tanh", "cross_attention", "location", "multi_head", "projected", "tanh_gated")
_NAN_BEYOND_ROWS = ("offset", "mixed")


@functools.cache
def multiplies_by_amx() -> bool:
    """Return whether oneDNN multiplies bfloat16 by AMX in this process."""
    limit = os.environ.get("ONEDNN_MAX_CPU_ISA", "ALL")
    return "amx_bf16" in processor().extensions and ("AMX" in limit or limit in ("ALL", "DEFAULT"))


def onednn_tails(case: Case) -> str:
    """Return why a case with linear layers cannot be right where oneDNN multiplies bfloat16 by AMX; "" elsewhere.

    Which of these cases fail depends on widths and on what lies in memory.
    """
    strided = case.dtype == "bfloat16" and case.layout in _NAN_BEYOND_ROWS and case.mechanism in _LAYERS
    return _ONEDNN if strided and case.device == "cpu" and multiplies_by_amx() else ""
