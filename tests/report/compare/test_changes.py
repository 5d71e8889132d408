"""What counts as a change between two runs, and what must not be compared."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from msgspec import structs

from attention_harness.model.measurement import Measurement
from attention_harness.model.run_facts import CudaDevice, ImplementationFacts, Processor
from attention_harness.report.compare.changes import compare, difference, incomparable, settled
from tests.report.compare.conftest import CASE, environment, measured, run_of, verdict


@pytest.mark.parametrize(
    ("kind", "before", "after"),
    [
        ("newly wrong", "pass", "fail"),
        ("newly wrong", "pass", "crash"),
        ("newly wrong", "unsupported", "fail"),
        ("otherwise wrong", "fail", "error"),
        ("newly right", "fail", "pass"),
        ("newly right", "known_failure", "pass"),
        ("newly a known failure", "fail", "known_failure"),
        ("newly unsupported", "pass", "unsupported"),
        ("newly unavailable", "pass", "unavailable"),
        ("newly checked", "unavailable", "pass"),
    ],
)
def test_a_verdict_changes_in_one_way(kind, before, after):
    """Each pair of statuses has its word, and only becoming wrong is a regression."""
    found = compare(run_of(verdict("accuracy", before)), run_of(verdict("accuracy", after)))
    assert [(kind, before, after)] == [(one.kind, one.before, one.after) for one in found.verdicts]
    assert (kind == "newly wrong") == bool(found.regressions)


def test_what_stands_in_one_run_alone_is_told():
    """Gone and new checks are changes; a new one that fails is no regression, and is named."""
    base = run_of(verdict("accuracy"), verdict("purity"))
    head = run_of(verdict("accuracy"), verdict("weights"), verdict("example", "fail"))
    found = compare(base, head)
    assert {("gone", "purity"), ("new", "weights"), ("new and wrong", "example")} == {
        (one.kind, one.check) for one in found.verdicts
    }
    assert not found.regressions


@pytest.mark.parametrize(
    ("counts", "before", "after"),
    [(True, 0.1, 0.4), (True, 0.4, 0.1), (False, 0.01, 0.1), (False, 0.5, 0.9), (True, 0.0, 0.11)],
)
def test_a_share_moved_by_twice_and_a_tenth(counts, before, after):
    """Both parts of the rule are needed, in either direction; what still passes is no regression."""
    found = compare(run_of(verdict("accuracy", error_ratio=before)), run_of(verdict("accuracy", error_ratio=after)))
    assert counts == bool(found.accuracy)
    assert not found.regressions


def test_the_difference_of_two_ratios():
    """d is the difference of the logs, h the root of the summed squares."""
    change, half = difference(measured(1.0, 0.03), measured(1.2, 0.04))
    assert math.log(1.2) == pytest.approx(change)
    assert 0.05 == pytest.approx(half)


@pytest.mark.parametrize(
    ("suspect", "ratio", "half"),
    [(False, 1.06, 0.01), (True, 1.08, 0.01), (True, 0.9, 0.01), (False, 1.2, 0.15), (False, 1.0, 0.001)],
)
def test_a_time_is_suspect_beyond_both_intervals(suspect, ratio, half):
    """|d| - h must exceed log 1.05; a suspect alone is no regression."""
    found = compare(run_of(measured(1.0, 0.01)), run_of(measured(ratio, half)))
    assert suspect == bool(found.costs)
    assert suspect == bool(found.suspects)
    assert not found.regressions


@pytest.mark.parametrize(("counts", "mebibytes"), [(False, 35), (True, 40), (True, 20)])
def test_a_peak_moved_by_a_tenth_and_4_mebibytes(counts, mebibytes):
    """Smaller moves are the meter's."""
    found = compare(run_of(measured(1.0)), run_of(measured(1.0, peak_bytes=mebibytes << 20)))
    assert counts == bool(found.costs)


def not_timed(status, reason):
    """Return the row of `kernel` in the same cell, without a time."""
    row = measured(1.0)
    return Measurement("kernel", row.mechanism, row.workload, row.case, 1, status, reason)


@pytest.mark.parametrize(
    ("again", "state", "regressions"),
    [
        (measured(1.21), "confirmed", 1),
        (measured(1.02), "refuted", 0),
        (measured(0.8), "refuted", 0),
        (measured(1.2, clock="cpu"), "unconfirmed", 0),
        (measured(1.2, answer="unreliable", reason="noise"), "unconfirmed", 0),
    ],
)
def test_only_what_agrees_when_measured_again_is_confirmed(again, state, regressions):
    """A third measurement decides by the same rule, and one that cannot be compared decides nothing."""
    base, head = run_of(measured(1.0)), run_of(measured(1.2))
    found = compare(base, head)
    [suspect] = found.costs
    answer = settled(suspect, base.measurements[0], again)
    assert (state, regressions) == (answer.state, len(replace(found, costs=(answer,)).regressions))


def test_a_long_cell_that_is_wrong_is_told_once():
    """Its verdict is of the shorter case that stood for it; and one case in two directions is one regression."""
    short = CASE.replace("Lq32Lk32", "Lq8Lk8")
    base = run_of(measured(1.0, gated_on=short), structs.replace(verdict("accuracy"), case=short))
    refused = not_timed("refused", "fail, accuracy: far off")
    head = run_of(refused, structs.replace(verdict("accuracy", "fail"), case=short))
    assert ["accuracy"] == [one.check for one in compare(base, head).regressions]
    both = [structs.replace(row, direction="forward_backward") for row in (measured(1.0), refused)]
    assert 1 == len(compare(run_of(measured(1.0), both[0]), run_of(refused, both[1])).regressions)


def test_what_an_interrupted_run_has_not_timed_is_no_regression():
    """It was not finished, and says so."""
    found = compare(run_of(measured(1.0)), run_of(not_timed("error", "no pass was finished"), finished=None))
    assert [] == found.regressions
    assert any("was not finished" in note for note in found.notes)


def test_a_faster_time_is_never_a_regression():
    """Confirmed and better is told, and nothing more."""
    base, head = run_of(measured(1.0)), run_of(measured(0.8))
    found = compare(base, head)
    [change] = [settled(one, base.measurements[0], measured(0.8)) for one in found.costs]
    assert ("confirmed", []) == (change.state, replace(found, costs=(change,)).regressions)


def test_a_larger_peak_is_confirmed_by_a_peak():
    """Memory is measured again like time."""
    base, head = run_of(measured(1.0)), run_of(measured(1.0, peak_bytes=64 << 20))
    [change] = compare(base, head).costs
    again = [measured(1.0, peak_bytes=size << 20) for size in (64, 32)]
    assert ["confirmed", "refuted"] == [settled(change, base.measurements[0], one).state for one in again]


@pytest.mark.parametrize(
    ("what", "change"),
    [
        ("processor", {"processor": Processor("another", "x86_64")}),
        ("cores", {"cores": 64}),
        ("python", {"python": "3.99"}),
        ("torch", {"packages": {"torch": "1.0"}}),
        ("CUDA devices", {"cuda": (CudaDevice("a device", 1, "9.0"),)}),
    ],
)
def test_other_machines_and_versions_are_refused(what, change):
    """Times are not compared, the reason is named, and verdicts are compared all the same."""
    elsewhere = structs.replace(environment(), **change)
    base, head = run_of(measured(1.0), verdict("accuracy")), run_of(measured(2.0), verdict("accuracy", "fail"))
    found = compare(base, replace(head, facts=structs.replace(head.facts, environment=elsewhere)))
    assert any(barrier.startswith(what) for barrier in found.barriers)
    assert ((), 1) == (found.costs, len(found.regressions))
    assert [] == incomparable(environment(), environment())


@pytest.mark.parametrize(
    ("why", "after"),
    [
        ("another clock", measured(2.0, clock="cpu")),
        ("another baseline", measured(2.0, baseline="torch_sdpa")),
        ("unreliable", measured(2.0, answer="unreliable", reason="the A/A control is off")),
        ("allocator", measured(2.0, minor_faults_per_call=6000.0)),
        ("no interval", measured(2.0, low=None, high=None, level=None)),
    ],
)
def test_cells_that_do_not_compare_are_refused(why, after):
    """The row is left out and counted with its reason."""
    found = compare(run_of(measured(1.0)), run_of(after))
    [(reason, count)] = found.refused.items()
    assert why in reason
    assert (1, ()) == (count, found.costs)


def test_other_threads_are_other_cells():
    """Nothing is compared across them, and both are counted with the reason."""
    found = compare(run_of(measured(1.0)), run_of(structs.replace(measured(2.0), threads=2)))
    assert (0, ()) == (found.compared["times"], found.costs)
    assert found.refused == {
        "timed in BASE alone: 1 threads there, 2 in the other run": 1,
        "timed in HEAD alone: 2 threads there, 1 in the other run": 1,
    }


def test_a_cell_of_one_run_is_counted():
    """Whatever the other run has instead."""
    other, nothing = structs.replace(measured(1.0), workload="large"), run_of(verdict("accuracy"))
    assert {"timed in BASE alone": 1} == compare(run_of(measured(1.0)), nothing).refused
    assert {"timed in HEAD alone": 1} == compare(nothing, run_of(other)).refused
    gone = run_of(not_timed("unavailable", "no such device"))
    assert {"timed in BASE alone: unavailable in the other run": 1} == compare(run_of(measured(1.0)), gone).refused


@pytest.mark.parametrize(
    ("regressions", "status", "reason"),
    [
        (1, "error", "its process died while the cell was timed"),
        (1, "refused", "fail, accuracy: far off"),
        (0, "refused", "known_failure, accuracy: upstream"),
        (0, "unsupported", "not declared"),
    ],
)
def test_what_is_wrong_where_it_was_timed_is_a_regression(regressions, status, reason):
    """Once: where a verdict says so already, it is not said again."""
    found = compare(run_of(measured(1.0)), run_of(not_timed(status, reason)))
    assert [(1, "timing")] * regressions == [(len(found.regressions), one.check) for one in found.regressions]
    base, head = (
        run_of(measured(1.0), verdict("accuracy")),
        run_of(not_timed(status, reason), verdict("accuracy", "fail")),
    )
    assert ["accuracy"] == [one.check for one in compare(base, head).regressions]


def test_a_baseline_that_changed_spoils_every_ratio():
    """Its own slowdown would look like everybody's speedup."""
    about = {"kernel": ImplementationFacts(sha256="kernel"), "eager": ImplementationFacts(sha256="another")}
    found = compare(run_of(measured(1.0)), run_of(measured(0.5), implementations=about))
    [reason] = found.refused
    assert "bench against" in reason
    assert () == found.costs
