"""An implementation that crashes, hangs or raises costs its own verdicts and nobody else's."""

from __future__ import annotations

from pathlib import Path

import pytest

from attention_harness import registry
from attention_harness.cases.ids import parse
from attention_harness.checks.behaviour.anchor import anchor
from attention_harness.execution import in_process, pool
from attention_harness.execution.limits import Limits
from attention_harness.execution.plan import Item, plan_item, plan_items
from attention_harness.execution.run import run_checks
from attention_harness.execution.runner import Costs, PoolRunner, _verdicts
from attention_harness.model import time_account
from attention_harness.model.verdict import Status, Verdict
from tests.registry.sources import TINY, write

OTHER = TINY.replace("Lk3", "Lk4")
SECONDS = 6.0  # long enough for a worker to start on a busy machine

HARM = {
    "segfaults": {"top": "import ctypes", "body": "ctypes.string_at(0)"},
    "vanishes": {"top": "import os", "body": "os._exit(0)"},
    "sleeps": {"top": "import time", "body": "time.sleep(600) if key.shape[-2] == 3 else None"},
    "raises": {"body": "raise RuntimeError('boom\\nand more')"},
    "exits": {"top": "import sys", "body": "sys.exit(0)"},
    "mute": {
        "top": "class Mute(Exception):\n    def __str__(self): raise ValueError\n    __repr__ = __str__",
        "body": "raise Mute",
    },
    "two_faced": {
        "top": "import multiprocessing",
        "bottom": "def unsupported(case):\n    assert not multiprocessing.parent_process(), 'boom\\nand more'",
    },
    "unsendable": {"body": "raise type('Local', (Exception,), {})(lambda: 0)"},
    "right": {},
    "wrong": {"scores": "query @ key.mT"},
}


@pytest.fixture(scope="module")
def answers(tmp_path_factory) -> dict[tuple[str, str], tuple[Item, list[Verdict]]]:
    """Return what one worker made of every implementation on two cases, by name and case."""
    folder = tmp_path_factory.mktemp("harm")
    load: list[Path] = [write(folder / f"{name}.py", **parts) for name, parts in HARM.items()]
    items = list(plan_items(registry.select(list(HARM), load), [parse(TINY), parse(OTHER)]))
    answered = list(PoolRunner(1, load, Limits(SECONDS)).run(items))
    assert [item.id for item in items] == [item.id for item, _ in answered], "in the order of the plan"
    return {(item.implementation.name, item.case.id): (item, verdicts) for item, verdicts in answered}


@pytest.mark.parametrize(
    ("name", "status", "reason"),
    [
        ("segfaults", Status.CRASH, "its process died: SIGSEGV"),
        ("vanishes", Status.CRASH, "its process ended with exit status 0"),
        ("sleeps", Status.TIMEOUT, "no answer within 6 s"),
        ("raises", Status.ERROR, "RuntimeError: boom"),
        ("exits", Status.ERROR, "SystemExit: 0"),
        ("mute", Status.ERROR, "Mute: (its message cannot be shown)"),
        ("unsendable", Status.ERROR, "Local: <function"),
        ("two_faced", Status.ERROR, "HarnessError: "),
    ],
)
def test_harm_has_its_own_verdict(answers, name, status, reason):
    """Every check of the item has the status, a reason in one line, and the command that replays it."""
    item, verdicts = answers[name, TINY]
    assert [check.name for check in item.checks] == [verdict.check for verdict in verdicts]
    assert {status} == {verdict.status for verdict in verdicts}
    assert all(verdict.reason.startswith(reason) for verdict in verdicts)
    assert all(len(verdict.reason.splitlines()) == 1 for verdict in verdicts)
    assert all(f"replay {TINY} --implementation {name} --load " in verdict.replay for verdict in verdicts)


@pytest.mark.parametrize("case", [TINY, OTHER])
def test_the_others_are_complete_and_right(answers, case):
    """The item after each of them is answered as if nothing had happened."""
    item, verdicts = answers["right", case]
    assert [check.name for check in item.checks] == [verdict.check for verdict in verdicts]
    assert {Status.PASS} == {verdict.status for verdict in verdicts}
    assert all(0 <= verdict.error_ratio <= 1 for verdict in verdicts)
    accuracy = next(verdict for verdict in answers["wrong", case][1] if verdict.check == "accuracy")
    assert Status.FAIL is accuracy.status
    assert accuracy.error_ratio > 1
    assert accuracy.where is not None


def test_what_sleeps_on_one_case_answers_the_next(answers):
    """A time limit ends the item, not the implementation."""
    assert {Status.PASS} == {verdict.status for verdict in answers["sleeps", OTHER][1]}


def test_a_worker_gives_the_verdicts_of_this_process(answers):
    """Where an item runs does not change what is measured."""
    for name in ("right", "wrong"):
        item, verdicts = answers[name, TINY]
        here = [(verdict.check, verdict.status, verdict.error_ratio, verdict.where) for verdict in run_checks(item)]
        assert here == [(verdict.check, verdict.status, verdict.error_ratio, verdict.where) for verdict in verdicts]


def test_a_plan_goes_on_where_it_stopped():
    """An item of which all verdicts are there does not run; of another one the new verdicts alone come."""
    chosen = registry.select(["eager", "numpy_reference"])
    items = list(plan_items(chosen, [parse(TINY), parse(OTHER)]))

    def keys(finished=()):
        return [one.key for _, verdicts in PoolRunner(1).run(items, finished) for one in verdicts]

    whole = keys()
    assert [key for item in items for key in item.keys] == whole
    finished = {*items[0].keys, *items[1].keys[1:]}
    assert [key for key in whole if key not in finished] == keys(finished)
    assert items[1:] == [item for item, _ in PoolRunner(1).run(items, finished)]


@pytest.mark.parametrize("raised", [KeyError("boom"), RuntimeError("boom\nand more"), TypeError()])
def test_whatever_a_worker_raises_is_an_error(raised):
    """What goes wrong around the checks, as in sending an answer, is the verdict of every check of the item."""
    [item] = plan_items(registry.select(["eager"]), [parse(TINY)])
    verdicts = _verdicts(item, raised)
    assert [check.name for check in item.checks] == [verdict.check for verdict in verdicts]
    expected = f"{type(raised).__name__}: {str(raised).partition(chr(10))[0]}"
    assert {(Status.ERROR, expected)} == {(verdict.status, verdict.reason) for verdict in verdicts}


def test_what_is_not_checked_needs_no_worker(monkeypatch):
    """Unsupported items are answered without a process, and nothing planned yields nothing."""
    monkeypatch.setattr(pool.ProcessPool, "__init__", None)
    items = list(plan_items(registry.select(["eager"]), [parse(TINY)]))
    skipped = Item(items[0].implementation, items[0].case, items[0].checks, (Status.UNAVAILABLE, "no such chip"))
    [(item, verdicts)] = PoolRunner(1).run([skipped])
    assert skipped is item
    assert {(Status.UNAVAILABLE, "no such chip")} == {(verdict.status, verdict.reason) for verdict in verdicts}
    assert list(PoolRunner(1).run([])) == []


def test_what_a_crash_took_is_the_implementation_s_time(tmp_path):
    """And of workers that had nothing to do there is no time."""
    path = write(tmp_path / "dies.py", **HARM["segfaults"])
    [item] = plan_items(registry.select(["dies"], [path]), [parse(TINY)])
    costs = Costs(4)
    [(_, verdicts)] = PoolRunner(4, [path], costs=costs).run([item])
    assert Status.CRASH is verdicts[0].status
    assert 1 == costs.jobs
    assert costs.seconds[time_account.IMPLEMENTATION] > 0


def test_whatever_a_check_prepares_is_the_implementation_s_time(tmp_path, monkeypatch):
    """Of every check, the relations and behaviours that prepare anew included: an export is none of the harness's own.

    By a clock that nothing but preparing moves on.
    """
    path, now = write(tmp_path / "slow.py"), [0]
    path.write_text(path.read_text().replace("def prepare(case):\n", "def prepare(case):\n    waited()\n"))
    [own] = registry.select(["slow"], [path])
    own.module.waited = lambda: now.append(now.pop() + 1)
    monkeypatch.setattr(time_account.time, "perf_counter", lambda: now[0])
    item = plan_item(own, anchor(own))
    time_account.taken()
    with time_account.spent(time_account.HARNESS):
        checks = {verdict.check for verdict in run_checks(item)}
    spent = time_account.taken()
    assert {"behaviour.repeatability", "relation.permuted_keys", "behaviour.accumulation"} <= checks
    assert now[0] >= 1
    assert (now[0], 0) == (spent[time_account.IMPLEMENTATION], spent[time_account.HARNESS])
    with time_account.spent(time_account.HARNESS):
        in_process.subject(own, item.case).prepared_for(parse(TINY))  # as relations do for other widths
    assert {time_account.IMPLEMENTATION: 1, time_account.HARNESS: 0} == time_account.taken()
