"""A failing case is shrunk to the smallest that fails the same way; the descent ends, and survives a crash."""

from __future__ import annotations

import pytest

from attention_harness import registry
from attention_harness.cases import ids
from attention_harness.execution import fuzz
from attention_harness.execution.plan import plan_items
from attention_harness.execution.run import run_checks
from attention_harness.model.verdict import Status, Verdict
from tests.registry.sources import write

LARGE = (
    "scaled_dot_product-B4H6Hk2Lq33Lk70D17Dv16-bfloat16-"
    "bias=full+causal=bottom_right+mask=query+scale=0.1-peaked-transposed-draw4711"
)
TINIEST = "scaled_dot_product-B1H1Hk1Lq1Lk1D1Dv1-float32-plain-ordinary-contiguous"


def test_every_step_is_down():
    """Each simpler case is valid, and lower in at least one number and higher in none: no descent goes on for ever."""
    for case in fuzz.drawn(3, 200):
        before = fuzz.complexity(case)
        for other in fuzz.simpler(case):
            assert other == ids.parse(other.id)
            pairs = list(zip(fuzz.complexity(other), before, strict=False))
            assert all(new <= old for new, old in pairs), (case.id, other.id)
            assert any(new < old for new, old in pairs), (case.id, other.id)


def test_nothing_is_simpler_than_the_tiniest():
    """The descent from what always fails ends at one query, one key, one number, and there it stops."""
    assert fuzz.smallest(ids.parse(LARGE), lambda case: True).id == TINIEST
    assert list(fuzz.simpler(ids.parse(TINIEST))) == []


@pytest.mark.parametrize(
    ("fails", "smallest"),
    [
        (lambda c: c.sizes["Lk"] > 12, "B1H1Hk1Lq1Lk13D1Dv1-float32-plain-ordinary-contiguous"),
        (lambda c: c.sizes["H"] > c.sizes["Hk"], "B1H2Hk1Lq1Lk1D1Dv1-float32-plain-ordinary-contiguous"),
        (
            lambda c: c.dtype == "bfloat16" and c.layout == "transposed",
            "B1H1Hk1Lq1Lk1D1Dv1-bfloat16-plain-ordinary-transposed",
        ),
        (
            lambda c: "mask" in c.options and c.draw % 2,
            "B1H1Hk1Lq1Lk1D1Dv1-float32-mask=full-ordinary-contiguous-draw1",
        ),
        (
            lambda c: "causal" in c.options and c.sizes["Lk"] >= c.sizes["Lq"] + 2,
            "B1H1Hk1Lq1Lk3D1Dv1-float32-causal=top_left-ordinary-contiguous",
        ),
    ],
)
def test_what_matters_stays(fails, smallest):
    """What the failure needs is kept, everything else is as simple as it gets."""
    assert fuzz.smallest(ids.parse(LARGE), fails).id == f"scaled_dot_product-{smallest}"


def test_tries_and_seconds_end_it():
    """The case reached so far is returned when the tries or the seconds are used up."""
    asked = []
    assert fuzz.smallest(ids.parse(LARGE), lambda case: bool(asked.append(case)), tries=5).id == LARGE
    assert len(asked) == 5
    assert fuzz.smallest(ids.parse(LARGE), lambda case: True, seconds=0).id == LARGE


# --- with an implementation


def first_failure(path, case: str) -> tuple[registry.Implementation, Verdict]:
    [implementation] = registry.select([], [path])
    [item] = plan_items([implementation], [ids.parse(case)])
    return implementation, next(v for v in run_checks(item) if v.check == "accuracy")


def test_a_planted_mutant_is_shrunk_to_its_border(tmp_path):
    """Where the last of more than 12 keys is dropped, the smallest case has 13 keys and nothing else."""
    body = "if key.shape[-2] > 12:\n            key, value = key[..., :-1, :], value[..., :-1, :]"
    path = write(tmp_path / "drops.py", body=body)
    start = "scaled_dot_product-B2H2Hk2Lq9Lk40D8Dv5-float32-plain-shifted-transposed-draw77"
    implementation, failed = first_failure(path, start)
    assert failed.status is Status.FAIL
    found = fuzz.shrunk(implementation, failed, load=[path])
    assert found.case == "scaled_dot_product-B1H1Hk1Lq1Lk13D1Dv1-float32-plain-ordinary-contiguous"
    assert (found.check, found.status) == (failed.check, failed.status)
    assert found.case in found.replay


def test_a_crash_does_not_end_the_descent(tmp_path):
    """A process that dies is an answer: the smallest case that kills it is found."""
    path = write(tmp_path / "dies.py", top="import os", body="os._exit(7) if query.shape[-2] > 2 else None")
    start = "scaled_dot_product-B2H2Hk2Lq6Lk4D3Dv5-float32-plain-ordinary-contiguous-draw3"
    implementation, _ = first_failure(path, TINIEST)
    died = Verdict(path.stem, "scaled_dot_product", start, "accuracy", Status.CRASH, reason="its process died")
    found = fuzz.shrunk(implementation, died, load=[path], tries=60)
    assert found.case == "scaled_dot_product-B1H1Hk1Lq3Lk1D1Dv1-float32-plain-ordinary-contiguous"
    assert found.status is Status.CRASH


def test_failures_are_grouped():
    """One group for each implementation, check and status; timeouts, known failures and passes are not shrunk."""

    def verdict(name: str, check: str, status: Status, lk: int) -> Verdict:
        case = f"scaled_dot_product-B1H1Hk1Lq1Lk{lk}D1Dv1-float32-plain-ordinary-contiguous"
        passed = {"error_ratio": 0.5} if status is Status.PASS else {"reason": "because"}
        return Verdict(name, "scaled_dot_product", case, check, status, **passed)

    groups = fuzz.Groups()
    for told in (
        verdict("one", "accuracy", Status.FAIL, 9),
        verdict("one", "accuracy", Status.FAIL, 3),
        verdict("one", "accuracy", Status.CRASH, 5),
        verdict("two", "accuracy", Status.FAIL, 4),
        verdict("two", "accuracy", Status.TIMEOUT, 4),
        verdict("two", "accuracy", Status.KNOWN_FAILURE, 4),
        verdict("two", "purity", Status.PASS, 4),
    ):
        groups.add(told)
    assert [(key, v.case.partition("Lk")[2][0], n) for key, (_, v, n) in groups.found.items()] == [
        (("one", "accuracy", Status.FAIL), "3", 2),
        (("one", "accuracy", Status.CRASH), "5", 1),
        (("two", "accuracy", Status.FAIL), "4", 1),
    ]
