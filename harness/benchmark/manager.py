"""Makes a pass, in a fresh process: what dies or hangs loses the item in flight alone. The other end is `worker`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from time import monotonic

from msgspec.structs import replace

from attention_harness.benchmark import worker
from attention_harness.benchmark.arms import AA_CONTROL
from attention_harness.benchmark.worker import CellPlan, PassPlan
from attention_harness.execution.fresh import run_fresh
from attention_harness.execution.lost import Lost
from attention_harness.model.errors import HarnessError
from attention_harness.model.pass_records import Begun, Ended, Failed, Record, Sampled

_APART, _LATE_S = 0.2, 0.5  # by which the clock of a pass may differ from this process's: a share, and seconds
STALL_S = 300.0  # a process that finishes nothing for so long, not even a round, is ended


def run_pass(plan: PassPlan, notice: Callable[[Record], object], stall_s: float = STALL_S) -> None:
    """Carry out a plan; `notice` gets each record as it comes. A process that dies loses the item that it was at."""
    while plan.cells:
        records: list[Record] = []

        began: dict[str, float] = {}

        def keep(record: Record, records: list[Record] = records, began: dict[str, float] = began) -> None:
            records.append(record)
            notice(record)
            if isinstance(record, Begun) and not record.arm:
                began[record.cell] = monotonic()
            if isinstance(record, Ended) and record.cell in began:
                for failed in _of_another_clock(records, record, monotonic() - began[record.cell]):
                    notice(failed)

        try:
            return run_fresh(
                worker.carry_out,
                plan,
                on_record=keep,
                record_type=Record,
                environment=_environment(plan.threads),
                stall_seconds=stall_s,
                memory=plan.memory,
            )
        except Lost as lost:
            culprit = next((record for record in reversed(records) if isinstance(record, Begun)), None)
            if culprit is None:
                raise HarnessError(f"the benchmark's process gave nothing: {lost}") from lost
            doing = f"while {culprit.arm} was prepared" if culprit.arm else "while the cell was timed"
            reason = f"{doing}: {lost}"
            notice(Failed(number=plan.number, threads=plan.threads, cell=culprit.cell, arm=culprit.arm, reason=reason))
            plan = replace(plan, cells=tuple(_remaining(plan, records, culprit)))
    return None


def _of_another_clock(records: Sequence[Record], ended: Ended, elapsed: float) -> Iterator[Failed]:
    """Yield a failure of every arm of a cell whose times do not fit into the time that passed here."""
    room = _APART * elapsed + _LATE_S
    sampled = [record for record in records if isinstance(record, Sampled) and record.cell == ended.cell]
    counted = elapsed if ended.clock_s is None else ended.clock_s
    claimed = sum(record.calls * sum(record.wall_s) for record in sampled)
    if abs(counted - elapsed) > room or claimed > elapsed + room:
        reason = f"its process counted {counted:.2f} s, {claimed:.2f} s of them in calls, where {elapsed:.2f} s passed"
        for record in sampled:
            yield Failed(number=ended.number, threads=ended.threads, cell=ended.cell, arm=record.arm, reason=reason)


def _remaining(plan: PassPlan, records: Sequence[Record], culprit: Begun) -> Iterator[CellPlan]:
    """Yield the cells that are not done, without the arm - or the whole cell - at which the process was lost."""
    done = {record.cell for record in records if isinstance(record, Ended)}
    for cell in plan.cells:
        if cell.cell == culprit.cell:
            lost = {culprit.arm, culprit.arm + AA_CONTROL}
            cell = replace(cell, arms=tuple(arm for arm in cell.arms if culprit.arm and arm not in lost))
        if cell.cell not in done and cell.arms:
            yield cell


def _environment(threads: int) -> dict[str, str]:
    """Return the variables of a pass: libraries read their thread limits when they are loaded."""
    limits = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), str(threads))
    # torch.compile would otherwise start processes whose imports disturb what is being timed.
    return limits | {"TORCHINDUCTOR_COMPILE_THREADS": "1"}
