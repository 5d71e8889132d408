"""What the harness keeps of a run in memory does not grow with its verdicts."""

from __future__ import annotations

import gc
import io
import json
import tracemalloc
from types import SimpleNamespace

import pytest

from attention_harness.commands import run_setup, tally
from attention_harness.commands.check import session as check
from attention_harness.execution.plan import plan_items
from attention_harness.execution.runner import PoolRunner
from attention_harness.model.case import Case
from attention_harness.model.verdict import Status, Verdict
from attention_harness.registry import implementations
from attention_harness.store import documents, lock, results

COLLECTOR = (700, 10, 10)
"""When Python looks for cycles: of those that the progress bar leaves behind, some thousand objects may be waiting."""
STATUSES = (Status.PASS, Status.PASS, Status.FAIL, Status.UNSUPPORTED)


def verdict(item, check, number: int) -> Verdict:
    """Return a verdict as a run has it: long reasons, a replay command; every fourth fails, every fourth is skipped."""
    status = STATUSES[number % 4]
    facts = {"reason": f"|error| {number} exceeds its error bound"} if status is not Status.PASS else {}
    if status is Status.UNSUPPORTED:
        facts["reason"] = f"option {number} not declared"  # more distinct reasons than any declaration has
    else:
        facts |= {"error_ratio": 0.5 if status is Status.PASS else 2.0, "error": 0.1, "where": (0, 1, number)}
    replay = f"python -m attention_harness replay {item.case.id} --implementation {item.implementation.name}"
    return Verdict(
        item.implementation.name, item.case.mechanism, item.case.id, check.name, status, replay=replay, **facts
    )


def items(count: int):
    """Return a plan of so many checks at least, all of one implementation."""
    found = implementations()["eager"]
    sizes = {"B": 1, "H": 1, "Hk": 1, "Lq": 2, "Lk": 2, "D": 2, "Dv": 2}
    cases = (Case("scaled_dot_product", sizes, draw=seed) for seed in range(count))
    total = 0
    for item in plan_items([found], cases):
        total += len(item.checks)
        yield item
        if total >= count:
            return


def judged(monkeypatch, tmp_path, count: int, *, json_: bool, out: bool) -> tuple[int, int, str]:
    """Run `check` on a plan with made-up answers; return the checks, the peak of memory above the plan, the output."""
    planned = list(items(count))
    total = sum(len(item.checks) for item in planned)
    numbers = iter(range(total + 1))

    def answered(runner, left):
        for item in left:
            yield item, [verdict(item, check, next(numbers)) for check in item.checks]

    monkeypatch.setattr(PoolRunner, "run", answered)
    monkeypatch.setattr(check.console, "failure", lambda verdict: None)
    written = io.StringIO() if total < 2000 else Sink()
    monkeypatch.setattr(check.sys, "stdout", written)
    options = SimpleNamespace(
        fuzz=0,
        json=json_,
        no_diagnosis=True,
        timeout=None,
        memory=0,
        jobs=1,
        load=[],
        out=tmp_path if out else None,
        case=["x"],
    )
    writer = results.Writer.start(tmp_path, {"planned": total}) if out else None
    before = gc.get_threshold()
    gc.collect()
    gc.set_threshold(*COLLECTOR)
    tracemalloc.start()
    assert 1 == check._judged(options, planned, writer, ())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    gc.set_threshold(*before)
    monkeypatch.undo()
    if writer:
        writer.close()
    return total, peak, written.getvalue()


class Sink(io.TextIOBase):
    """Takes any text and keeps none."""

    def write(self, text: str) -> int:
        return len(text)

    def getvalue(self) -> str:
        return ""


@pytest.mark.parametrize(("json_", "out"), [(True, False), (True, True), (False, True)])
def test_memory_stays_flat(monkeypatch, tmp_path, request, json_, out):
    """From 10,000 verdicts to 100,000 nothing grows but the numbers in the counters; plain pytest asks 1,000 and 4,000.

    Kept are FIRST failures for each check and status, REASONS reasons, and counters, all of them full before. The
    allowance is that of FIRST failures for each check again, and of what may wait for the collector: 0.7 MB together,
    where the verdicts take 4.5 MB and their failures alone 1.1 MB in the short form.
    """
    deep = request.config.getoption("--reliability")
    if json_ and out and not deep:
        pytest.skip("the short form asks for the document and for the directory, each alone")
    many = 100_000 if deep else 4_000
    few, low, _ = judged(monkeypatch, tmp_path / "few", 10_000 if deep else 1_000, json_=json_, out=out)
    more, high, _ = judged(monkeypatch, tmp_path / "many", many, json_=json_, out=out)
    one_failure = 2_000  # bytes: a verdict, its strings and its place in a list
    assert more >= many > few
    waiting = COLLECTOR[0] * COLLECTOR[1] * 64
    assert high - low < tally.FIRST * len(next(items(1)).checks) * one_failure + waiting
    if out:
        assert more == len(results.Rows(tmp_path / "many" / "verdicts.jsonl", Verdict))


def test_a_streamed_document_is_the_document(monkeypatch, tmp_path):
    """The same text as in one piece, with every verdict once and in order, from a directory and from a spool."""
    told = []
    for out in (False, True):
        total, _, text = judged(monkeypatch, tmp_path / "run", 300, json_=True, out=out)
        document = json.loads(text)
        assert total == document["planned"] == len(document["verdicts"])
        assert json.dumps(document, indent=1) + "\n" == text
        told.append({name: part for name, part in document.items() if name != "time"})
    assert told[0] == told[1]


@pytest.mark.parametrize("rows", [[], [{}], [{"a": [1, {"b": "\n"}]}, 2, []]])
def test_pieces_are_json_dumps(rows):
    """Whatever the rows are: the text of `json.dumps` with an indent of 1."""
    document = {"planned": 3, "verdicts": rows, "diagnosis": [], "fuzz": {"a": {}}}
    assert json.dumps(document, indent=1) == "".join(documents.pieces(document | {"verdicts": iter(rows)}))
    assert "{}" == "".join(documents.pieces({}))


def test_counts_are_exact_whatever_is_kept():
    """Of 1,000 failures and as many reasons a few are kept, and all are counted."""
    [item] = items(1)
    many = [verdict(item, item.checks[0], number) for number in range(4000)]
    counted = tally.tally(many)
    assert {Status.PASS: 2000, Status.FAIL: 1000, Status.UNSUPPORTED: 1000} == dict(counted.total)
    assert many[2 : 4 * tally.FIRST : 4] == counted.failures
    assert 1000 == sum(counted.reasons.values())
    assert tally.REASONS + 1 == len(counted.reasons)
    assert 1000 - tally.REASONS == counted.reasons["eager", Status.UNSUPPORTED, tally.OTHER]


def test_answered_checks_take_a_bit():
    """Each check of an item is told apart; one of another version is known too."""
    [item] = items(1)
    answered = run_setup.Keys()
    *asked, last = item.keys
    for key in asked:
        answered.add(key)
    assert all(key in answered for key in asked)
    assert last not in answered
    assert ("other", *asked[0][1:]) not in answered
    answered.add((*asked[0][:2], "relation.forgotten"))
    assert (*asked[0][:2], "relation.forgotten") in answered
    assert last not in answered


def test_the_lock_is_not_a_result(tmp_path):
    """Nothing but the lock is left of a writer that wrote nothing."""
    with pytest.raises(results.HarnessError):
        results.Writer.resume(tmp_path, {})
    held = lock.take(tmp_path)
    assert [lock.FILE] == [path.name for path in tmp_path.iterdir()]
    results.os.close(held)
