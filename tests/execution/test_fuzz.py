"""A failing case is shrunk to the smallest that fails the same way, within its limits, and survives a crash."""

from __future__ import annotations

import pytest

from attention_harness import registry
from attention_harness.cases.ids import parse
from attention_harness.execution import fuzz
from attention_harness.execution.plan import plan_item
from attention_harness.execution.run import run_checks
from attention_harness.model.errors import HarnessError
from attention_harness.model.verdict import Status, Verdict
from tests.registry.sources import write


def drawn_until(implementation, fails) -> tuple[fuzz.DrawnCases, str]:
    """Return drawn cases, and the first one that fails."""
    drawn = fuzz.draw_cases([implementation], 60)
    return drawn, next(case.id for case in drawn.numbers if fails(case))


def failure(implementation, case: str) -> Verdict:
    item = plan_item(implementation, parse(case))
    return next(v for v in run_checks(item) if v.check == "accuracy")


def test_a_longer_run_begins_with_the_shorter_one():
    """Case k does not depend on how many are drawn; each is drawn again from its number."""
    chosen = registry.select(["eager", "numpy_reference"])
    longer = fuzz.draw_cases(chosen, 12, seed=3)
    assert list(longer.numbers)[:5] == list(fuzz.draw_cases(chosen, 5, seed=3).numbers)
    assert not set(longer.numbers) & set(fuzz.draw_cases(chosen, 12, seed=4).numbers)


def test_what_nobody_takes_is_refused(tmp_path):
    """A mechanism that is not declared, one that does not exist, and a file that refuses everything."""
    path = write(tmp_path / "refuses.py", bottom="def unsupported(case):\n    return 'not today'")
    [own] = registry.select([], [path])
    with pytest.raises(HarnessError, match="0 of 0 drawn cases are taken"):
        fuzz.draw_cases([own], 1, mechanisms=["cosine"])
    with pytest.raises(HarnessError, match="Did you mean 'cosine'"):
        fuzz.draw_cases([own], 1, mechanisms=["cosin"])
    with pytest.raises(HarnessError, match="0 of 199 drawn cases are taken"):
        fuzz.draw_cases([own], 1)


def test_a_mutant_is_shrunk_to_its_border(tmp_path):
    """Where the last of more than 12 keys is dropped, the smallest case has 13 keys and nothing else."""
    body = "if key.shape[-2] > 12:\n            key, value = key[..., :-1, :], value[..., :-1, :]"
    path = write(tmp_path / "drops.py", body=body, declared='dtypes=("float32", "float64")')
    [implementation] = registry.select([], [path])
    drawn, start = drawn_until(implementation, lambda case: case.sizes["Lk"] > 20)
    failed = failure(implementation, start)
    assert failed.status is Status.FAIL
    found = fuzz.shrink_one(drawn, implementation, failed, load=[path])
    assert found.case == "scaled_dot_product-B1H1Hk1Lq1Lk13D1Dv1-float32-plain-ordinary-contiguous"
    assert (found.check, found.status) == (failed.check, failed.status)
    assert found.case in found.replay
    for limit in ({"tries": 1}, {"seconds": 0.0}):
        assert start == fuzz.shrink_one(drawn, implementation, failed, load=[path], **limit).case


def test_a_crash_does_not_end_the_descent(tmp_path):
    """A process that dies is an answer: the smallest case that kills it is found."""
    path = write(tmp_path / "dies.py", top="import os", body="os._exit(7) if query.shape[-2] > 2 else None")
    [implementation] = registry.select([], [path])
    drawn, start = drawn_until(implementation, lambda case: case.sizes["Lq"] > 2)
    died = Verdict(path.stem, "scaled_dot_product", start, "accuracy", Status.CRASH, reason="its process died")
    found = fuzz.shrink_one(drawn, implementation, died, load=[path], tries=80)
    assert found.case == "scaled_dot_product-B1H1Hk1Lq3Lk1D1Dv1-float32-plain-ordinary-contiguous"
    assert found.status is Status.CRASH


def test_failures_are_grouped():
    """By implementation, check and status, a crash for all checks; timeouts, known failures and passes are left out."""

    def verdict(name: str, check: str, status: Status, lk: int) -> Verdict:
        case = f"scaled_dot_product-B1H1Hk1Lq1Lk{lk}D1Dv1-float32-plain-ordinary-contiguous"
        facts = {"error_ratio": 0.5} if status is Status.PASS else {"reason": "because"}
        return Verdict(name, "scaled_dot_product", case, check, status, **facts)

    verdicts = [
        verdict("one", "accuracy", Status.FAIL, 9),
        verdict("one", "accuracy", Status.FAIL, 3),
        verdict("one", "accuracy", Status.CRASH, 5),
        verdict("one", "purity", Status.CRASH, 5),
        verdict("two", "accuracy", Status.FAIL, 4),
        verdict("two", "accuracy", Status.TIMEOUT, 4),
        verdict("two", "accuracy", Status.KNOWN_FAILURE, 4),
        verdict("two", "purity", Status.PASS, 4),
    ]
    groups = fuzz.failure_groups(verdicts)
    assert {
        ("one", "accuracy", Status.FAIL): verdicts[:2],
        ("one", "", Status.CRASH): verdicts[2:4],
        ("two", "accuracy", Status.FAIL): verdicts[4:5],
    } == groups
    assert verdicts[1] is min(verdicts[:2], key=fuzz._size)
