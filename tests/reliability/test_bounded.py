"""A run takes little memory for each of its verdicts, and what it counts of them takes none."""

from __future__ import annotations

import gc
import io
import json
import os
import tracemalloc
from types import SimpleNamespace

import pytest

from attention_harness import store
from attention_harness.commands import console
from attention_harness.commands.check.session import Session
from attention_harness.execution.plan import plan_items
from attention_harness.execution.runner import PoolRunner
from attention_harness.model.case import Case
from attention_harness.model.errors import HarnessError
from attention_harness.model.run_facts import RunFacts
from attention_harness.model.verdict import Status, Verdict
from attention_harness.registry import implementations
from attention_harness.store import lock
from attention_harness.store.encoding import encode

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

    def answered(runner, left, finished):
        for item in left:
            yield item, [verdict(item, check, next(numbers)) for check in item.checks]

    monkeypatch.setattr(PoolRunner, "run", answered)
    monkeypatch.setattr(console, "failure", lambda verdict: None)
    written = io.StringIO() if total < 2000 else Sink()
    monkeypatch.setattr("sys.stdout", written)
    options = SimpleNamespace(
        fuzz=0,
        sample=0,
        max_failures=None,
        mechanism=[],
        tier="default",
        json=json_,
        no_diagnosis=True,
        timeout=None,
        memory=0,
        jobs=1,
        load=[],
        out=tmp_path if out else None,
        case=["x"],
    )
    writer = store.Writer.start(tmp_path, RunFacts(planned=total)) if out else None
    before = gc.get_threshold()
    gc.collect()
    gc.set_threshold(*COLLECTOR)
    tracemalloc.start()
    assert 1 == Session(options, planned, writer, ()).run()
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


@pytest.mark.parametrize("out", [False, True])
def test_a_verdict_costs_little_memory(monkeypatch, tmp_path, request, out):
    """What a run holds of each verdict is the verdict: 100,000 of them, the most that is planned, fit into 200 MB."""
    many = 100_000 if request.config.getoption("--reliability") else 4_000
    few, low, _ = judged(monkeypatch, tmp_path / "few", 1_000, json_=False, out=out)
    more, high, _ = judged(monkeypatch, tmp_path / "many", many, json_=False, out=out)
    assert more >= many > few
    assert high - low < 2_000 * (more - few)


def test_the_document_holds_every_verdict(monkeypatch, tmp_path):
    """Once and in order, whether the run is kept or not; it is JSON as others write it."""
    documents = []
    for out in (False, True):
        total, _, text = judged(monkeypatch, tmp_path / "run", 300, json_=True, out=out)
        document = json.loads(text)
        assert total == document["planned"] == len(document["verdicts"])
        assert json.dumps(document, indent=1) + "\n" == text
        documents.append({name: part for name, part in document.items() if name != "time"})
    assert documents[0] == documents[1]
    assert [encode(one) for one in store.load(tmp_path / "run").verdicts] == [
        json.dumps(one, separators=(",", ":")).encode() for one in documents[0]["verdicts"]
    ]


def test_the_lock_is_not_a_result(tmp_path):
    """Nothing but the lock is left of a writer that wrote nothing."""
    with pytest.raises(HarnessError):
        store.Writer.resume(tmp_path, RunFacts())
    descriptor = lock.take(tmp_path)
    assert [lock.FILE] == [path.name for path in tmp_path.iterdir()]
    os.close(descriptor)
