"""A self-check as one value: its trials, the rates and plants that they come to, and the text for people."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from attention_harness.benchmark.self_check.rates import PLANTED, Trial, holds, rates, table
from attention_harness.benchmark.statistics import LEVEL
from attention_harness.model import units
from attention_harness.model.run_facts import RunFacts
from attention_harness.model.student import interval


@dataclass(frozen=True)
class Plant:
    """How large a planted slowdown really was, over all repetitions: a fraction, with a 95 % interval."""

    size: str
    turns: int
    share: float | None = None
    low: float | None = None
    high: float | None = None

    def text(self) -> str:
        """Return it for people."""
        if self.share is None:
            return f"{self.size} not measured"
        around = "" if self.low is None else f" [{self.low:+.1%}, {self.high:+.1%}]"
        return f"{self.size} {self.share:+.1%}{around}"


@dataclass(frozen=True)
class SelfCheck:
    """What was measured so far. turns: size -> turns of the loop that is the planted work."""

    facts: RunFacts
    repetitions: int
    turns: Mapping[str, int]
    trials: Sequence[Trial]
    seconds: float

    @property
    def holds(self) -> bool:
        """Whether the method keeps its promise."""
        return holds(self.trials)

    def plants(self) -> Iterator[Plant]:
        """Yield how large each plant really was."""
        for size, turns in self.turns.items():
            trials = [one for one in self.trials if (one.kind, one.size) == (PLANTED, size)]
            logs = [math.log(one.ratio) for one in trials if one.ratio is not None]
            if not logs:
                yield Plant(size, turns)
                continue
            middle, half = interval(logs, LEVEL)
            low, high = (math.expm1(middle + sign * half) if math.isfinite(half) else None for sign in (-1, 1))
            yield Plant(size, turns, math.expm1(middle), low, high)

    def document(self) -> dict[str, Any]:
        """Return what `self_check.json` holds and `--json` prints."""
        return {
            "command": self.facts.command,
            "started": self.facts.started,
            "environment": self.facts.environment,
            "repetitions": self.repetitions,
            "seconds": round(self.seconds, 1),
            "finished": len(self.trials) == self.repetitions * len(self.turns) * 2,
            "holds": self.holds,
            "realised": list(self.plants()),
            "rates": rates(self.trials),
            "trials": self.trials,
        }

    def text(self) -> str:
        """Return the machine, the table of rates, and how large the plants really were."""
        environment = self.facts.environment
        processor = environment.processor.model if environment.processor else "an unknown processor"
        loads = [one.load for one in self.trials if one.load is not None]
        busy = f", load {min(loads):.1f} to {max(loads):.1f}" if loads else ""
        about = f"self-check on {processor}, {environment.cores} cores{busy}"
        lines = [
            f"{about}: {len(self.trials) // 2} comparisons of each kind in {units.duration(self.seconds)}; "
            "[95 % intervals]",
            table(rates(self.trials)),
            "planted, as measured over all repetitions: " + "; ".join(plant.text() for plant in self.plants()),
            "the method keeps its promise here: no false alarm, at least 95 % found"
            if self.holds
            else "the method does NOT keep its promise here (no false alarm, at least 95 % found)",
        ]
        return "\n".join(lines)
