"""A sequence of 16,384 is judged in 2 GB: the reference is computed over blocks of its queries."""

from __future__ import annotations

import json
import time
from pathlib import Path

import psutil
import pytest

from tests.reliability.test_kills import begin

LONG = "scaled_dot_product-B1H1Hk1Lq16384Lk16384D64Dv64-float32-{}-ordinary-contiguous"
GIGABYTE = 2**30


def peak(pid: int) -> int:
    """Return the most memory that a process has held so far, in bytes; 0 when it is gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024 if "VmHWM:" in status else 0


@pytest.mark.parametrize("option", ["plain", "causal=top_left", "valid_lens=batch"])
def test_16384_queries_and_keys(option, request, reliability):
    """Torch's fused kernel conforms; gradients are unsupported; no process holds even half of 2 GB."""
    if not request.config.getoption("--reliability"):
        pytest.skip("--reliability DIR asks it: minutes for each")
    arguments = ["check", "torch_sdpa", "--case", LONG.format(option), "--jobs", "1", "--json"]
    process, most = begin(arguments), 0
    while process.poll() is None:
        most = max([most, *(peak(one.pid) for one in psutil.Process().children(recursive=True))])
        time.sleep(0.2)
    out, err = process.communicate()
    assert 0 == process.returncode, err
    statuses = {verdict["check"]: verdict["status"] for verdict in json.loads(out)["verdicts"]}
    assert {"accuracy": "pass", "purity": "pass", "gradient": "unsupported"} == statuses
    assert 0 < most < GIGABYTE
    reliability(
        harm=f"16,384 queries and keys, {option}",
        planted="scores of 2 GB in float64, if they were there at once",
        reported=[f"judged; the largest process held {most / 1e6:.0f} MB"],
        complete=True,
        processes_left=0,
    )
