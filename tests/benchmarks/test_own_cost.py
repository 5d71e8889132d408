"""What the harness itself costs: its share of the time, what one more implementation adds, how time grows."""

from __future__ import annotations

import math
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from attention_harness import registry, store
from attention_harness.cases.matrix import matrix
from attention_harness.checks import expected
from attention_harness.execution.plan import plan_items
from attention_harness.execution.run import run_checks
from attention_harness.execution.runner import sentence
from attention_harness.model import time_account
from attention_harness.model.case import Case
from attention_harness.model.verdict import NOT_CHECKED
from attention_harness.registry import Implementation
from attention_harness.store.encoding import plain

FEW, MANY = 6, 24


@pytest.fixture(scope="module", autouse=True)
def _imported() -> None:
    """Imports are nobody's cost here."""
    _asked(["eager", "torch_sdpa", "numpy_reference"], _cases(1))


def _cases(count: int) -> list[Case]:
    """Return cases, the same few under as many seeds as it takes: more of them are more work of the same kind."""
    drawn = [c for c in matrix("quick") if c.content == "ordinary" and "dropout" not in c.options][:FEW]
    return [replace(drawn[n % FEW], draw=1000 + n // FEW) for n in range(count)]


def _asked(names: list[str], cases: list[Case]) -> tuple[dict[str, float], int]:
    """Return the seconds of each account, and how many checks were asked, all in this process and with empty caches."""
    expected._small.cache_clear()
    own: list[Implementation] = registry.select(names)
    time_account.taken()
    checks = 0
    with time_account.spent(time_account.HARNESS):
        for item in plan_items(own, cases):
            checks += sum(verdict.status not in NOT_CHECKED for verdict in run_checks(item))
    return time_account.taken(), checks


@pytest.mark.parametrize("names", [["eager"], ["eager", "torch_sdpa", "numpy_reference"]], ids=len)
def test_where_the_time_of_a_check_goes(benchmark, names):
    """The breakdown, kept beside the time; cheap implementations on tiny cases are the worst that can be asked."""
    benchmark.group = "own cost"
    seconds, checks = benchmark.pedantic(_asked, args=(names, _cases(FEW)), rounds=1)
    whole = sum(seconds.values())
    shares = {account: round(spent / whole, 3) for account, spent in seconds.items()}
    benchmark.extra_info.update(shares, checks=checks, checks_per_second=round(checks / whole, 1))
    assert {time_account.IMPLEMENTATION, time_account.REFERENCE, time_account.HARNESS} == set(shares)
    assert checks > FEW


def test_a_check_spends_little_on_itself(benchmark, tmp_path):
    """Over the whole registry, as it comes: less than 15 %, the process that commands the workers included."""
    if not benchmark.enabled:
        pytest.skip("benchmarks are off: add --benchmark-enable, and no --numprocesses")
    benchmark.group = "own cost"
    command = [sys.executable, "-m", "attention_harness", "check", "--quick", "--mechanism", "cosine", "--jobs", "2"]
    benchmark.pedantic(subprocess.run, args=([*command, "--out", str(tmp_path / "run")],), rounds=1)
    told = store.load(tmp_path / "run").facts.time
    benchmark.extra_info.update(plain(told))
    assert told.shares["harness"] < 0.15, sentence(told)


def test_a_further_implementation_costs_no_reference():
    """Error bounds are computed once for all that declare the same arithmetic."""
    _asked(["eager"], _cases(FEW))
    alone = expected._small.cache_info()
    expected._small.cache_clear()
    for item in plan_items([*registry.select(["eager"])] * 2, _cases(FEW)):
        list(run_checks(item))
    both = expected._small.cache_info()
    assert alone.misses == both.misses
    assert both.hits > alone.hits


def test_time_grows_with_the_cases_alone(benchmark):
    """The exponent of CPU time in the number of cases: 1 where nothing grows with what was asked before."""
    if not benchmark.enabled:
        pytest.skip("benchmarks are off: add --benchmark-enable, and no --numprocesses")
    benchmark.group = "own cost"
    spent = []
    for count in (FEW, MANY):
        began = time.process_time()
        _asked(["eager"], _cases(count))
        spent.append(time.process_time() - began)
    exponent = math.log(spent[1] / spent[0]) / math.log(MANY / FEW)
    benchmark.extra_info["exponent"] = round(exponent, 3)
    benchmark.pedantic(lambda: None)
    assert exponent < 1.2
