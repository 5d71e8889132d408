"""Rank the conforming implementations for a mechanism and shapes; exit 1 when none can be recommended."""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from attention_harness import registry
from attention_harness.benchmark import campaign, gate, noise, workloads
from attention_harness.benchmark.pass_log import Kept
from attention_harness.benchmark.probing import Look, look
from attention_harness.benchmark.ranking import Place, ranked, unreliable
from attention_harness.benchmark.timing import ROUNDS
from attention_harness.commands import arguments, console, gating
from attention_harness.commands.choose_problem import case_of, gated_on
from attention_harness.commands.run_setup import implementation_facts, writer_of
from attention_harness.execution.machine import environment
from attention_harness.model.capabilities import DEVICES
from attention_harness.model.case import Case
from attention_harness.model.dtypes import DTYPES
from attention_harness.model.measurement import FAR_BEHIND, Measurement
from attention_harness.registry import Implementation
from attention_harness.report.changes import incomparable
from attention_harness.store import load, now
from attention_harness.store.encoding import document

FAR = 10.0  # what takes so many times the fastest's time in a first look is not timed any closer
_SLOW_S, _FEW_ROUNDS = 2.0, 5  # rounds that take so long are few; the passes stay
_LOOK_S = 300.0
_WORDS = {"refused": "wrong"}
_PASS_S = 4.0  # a pass's start: torch is imported


@dataclass
class Answer:
    """What was found.

    out: implementation -> (status, reason). withheld: why there are no ranks, or "". noise: of the machine, in a line,
    where something was measured now.
    """

    case: Case
    gated: Case
    direction: str
    threads: int
    places: list[Place] = field(default_factory=list)
    out: dict[str, tuple[str, str]] = field(default_factory=dict)
    withheld: str = ""
    source: str = "measured now"
    noise: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            "case": self.case.id,
            "gated": self.gated.id,
            "direction": self.direction,
            "threads": self.threads,
            "source": self.source,
            "withheld": self.withheld,
            "noise": self.noise,
            "places": [place.to_json() for place in self.places],
            "out": [{"implementation": n, "status": s, "reason": r} for n, (s, r) in self.out.items()],
            "recommended": [place.implementation for place in self.places if place.rank == 1],
        }


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the verb takes."""
    parser.add_argument("mechanism", metavar="MECHANISM", help="what is to be computed; or the id of a case")
    parser.add_argument("--shape", metavar="1x32x2048x128", help="of its first tensor: B x H x L x D of a query")
    parser.add_argument("--dtype", choices=DTYPES, help="default float32")
    text = "heads of key and value; those of the query else"
    parser.add_argument("--kv-heads", type=arguments.length, metavar="N", help=text)
    parser.add_argument("--kv-length", type=arguments.length, metavar="N", help="keys; as many as queries else")
    parser.add_argument("--size", action="append", default=[], metavar="AXIS=N", help="any other size")
    text = "top_left or bottom_right, where there are more keys than queries or fewer"
    parser.add_argument("--causal", nargs="?", const="either", metavar="CORNER", help=text)
    for name, form in (("mask", "full"), ("bias", "full"), ("valid-lens", "batch")):
        parser.add_argument(f"--{name}", nargs="?", const=form, metavar="FORM", help=f"default form: {form}")
    parser.add_argument("--scale", type=float, metavar="X", help="in place of the mechanism's own")
    parser.add_argument("--option", action="append", default=[], metavar="NAME=VALUE", help="a mechanism's choice")
    parser.add_argument("--backward", action="store_true", help="forward and backward as one call")
    text = "most that one call may add: 2GiB"
    parser.add_argument("--memory", dest="call_memory", type=arguments.number_of_bytes, metavar="SIZE", help=text)
    parser.add_argument("--device", choices=DEVICES, default="cpu", help="where the tensors live")
    parser.add_argument("--threads", type=arguments.count, default=1, help="threads of one call; default 1")
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="consider this implementation")
    text = "take what this run directory has, if it is of this machine, these versions and these files"
    parser.add_argument("--reuse", type=Path, metavar="DIR", help=text)
    arguments.add_out(parser)
    arguments.add_load(parser)
    arguments.add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Rank what conforms on a problem; 0 when something can be recommended."""
    case = case_of(options)
    direction = "forward_backward" if options.backward else "forward"
    answer = Answer(case, gated_on(case), direction, options.threads)
    candidates = _candidates(options)
    rows = _reused(answer, candidates, options)
    if rows is None:
        rows = _measured(answer, candidates, options)
    _place(answer, rows, options.call_memory)
    print(document(answer.to_json()) if options.json else told(answer, options.call_memory))
    return 0 if answer.places else 1


def _candidates(options: argparse.Namespace) -> list[Implementation]:
    """Return what may be chosen: everything, the loaded files too; or those of --only."""
    every = registry.implementations(options.load)
    return registry.select(options.only, options.load) if options.only else list(every.values())


# --- measurements


def _reused(
    answer: Answer, candidates: Sequence[Implementation], options: argparse.Namespace
) -> list[Measurement] | None:
    """Return the rows of --reuse, or None with a line that says why they do not serve."""
    if options.reuse is None:
        return None
    run = load(options.reuse)
    rows = [
        row
        for row in run.measurements
        if (row.case, row.direction, row.threads) == (answer.case.id, answer.direction, answer.threads)
    ]
    missing = [one.name for one in candidates if one.name not in {row.implementation for row in rows}]
    files = run.facts.implementations
    changed = [
        one.name
        for one in candidates
        if one.name not in files or files[one.name].sha256 != implementation_facts(one).sha256
    ]
    elsewhere = incomparable(run.facts.environment, environment())
    why = (
        "it was not finished"
        if not run.facts.finished
        else f"it was measured elsewhere: {'; '.join(elsewhere)}"
        if elsewhere
        else f"it does not have {answer.case.id} of {', '.join(missing)}"
        if missing
        else f"{', '.join(changed)} changed since"
        if changed
        else ""
    )
    if why:
        console.line(f"choose: nothing of {options.reuse} is reused: {why}")
        return None
    answer.source = f"reused from {options.reuse}"
    return rows


def _measured(answer: Answer, candidates: Sequence[Implementation], options: argparse.Namespace) -> list[Measurement]:
    """Return the measurements of what conforms and is not far behind; say of the others why they are out."""
    pair = (answer.gated, answer.direction)
    asked = _takes(answer, candidates)
    writer, _ = writer_of(options, candidates, gate.items(asked, [pair]))
    console.line(f"choose: checking {len(asked)} implementations on {answer.gated.id}")
    answers = gating.ask(asked, [pair], options.load, writer)
    for one in asked:
        if why := answers(one, *pair):
            answer.out[one.name] = ("wrong", why)
    looks = _looks(answer, [one for one in asked if one.name not in answer.out], options)
    left = [one for one in asked if one.name in looks]
    if writer:
        writer.add(*_blank(answer))
    rows, kept = [], Kept(options.out)
    for row in _timed(answer, left, looks, options, kept) if left else ():
        if writer:
            writer.add(row)
        rows.append(row)
    if rows:
        answer.noise = noise.line(noise.summary(rows, kept.events("machine")))
    if writer:
        writer.update(finished=now())
    return rows


def _takes(answer: Answer, candidates: Sequence[Implementation]) -> list[Implementation]:
    """Return what takes the case here; the others are out."""
    asked = []
    for one in candidates:
        if why := one.refuses(answer.case):
            answer.out[one.name] = ("unsupported", why)
        elif why := one.unavailable():
            answer.out[one.name] = ("unavailable", why)
        elif answer.direction != "forward" and not one.capabilities.gradients:
            answer.out[one.name] = ("unsupported", "gradients not declared")
        else:
            asked.append(one)
    return asked


def _looks(answer: Answer, asked: Sequence[Implementation], options: argparse.Namespace) -> dict[str, Look]:
    """Return a first look at each, without those that fail, need too much memory, or are far behind."""
    found: dict[str, Look] = {}
    for one in asked:
        console.line(f"choose: a first look at {one.name}")
        seen = look(one.name, tuple(options.load), answer.case, options.backward, options.threads, _LOOK_S)
        if seen.reason:
            answer.out[one.name] = ("error", seen.reason)
        elif why := over(seen.peak_bytes, options.call_memory):
            answer.out[one.name] = ("memory", why)
        else:
            found[one.name] = seen
    fastest = min(found, key=lambda name: found[name].seconds, default="")
    for name, seen in list(found.items()):
        if seen.seconds > FAR * found[fastest].seconds:
            times = f"{_time(seen.seconds)} against {_time(found[fastest].seconds)} of {fastest}"
            answer.out[name] = (FAR_BEHIND, f"more than {FAR:g} times the fastest's time in a first look: {times}")
            del found[name]
    return found


def over(peak: int | None, limit: int | None) -> str:
    """Return why a peak does not keep within a limit, or ""."""
    if limit is None or (peak is not None and peak <= limit):
        return ""
    if peak is None:
        return "its peak memory is not known here, so that the limit cannot be shown to hold"
    return f"one call adds {_bytes(peak)} at its peak, the limit is {_bytes(limit)}"


def _timed(
    answer: Answer,
    left: Sequence[Implementation],
    looks: Mapping[str, Look],
    options: argparse.Namespace,
    kept: Kept,
) -> Iterator[Measurement]:
    """Return the whole method's measurements; the fastest of the first look is the baseline."""
    baseline = min(looks, key=lambda name: looks[name].seconds)
    round_s = sum(seen.seconds for seen in looks.values()) + looks[baseline].seconds
    rounds = ROUNDS if round_s < _SLOW_S else _FEW_ROUNDS
    seconds = expected(looks, baseline, rounds)
    console.line(
        f"choose: timing {len(left)} implementations side by side, {campaign.PASSES} passes of {rounds} rounds or "
        f"more: about {max(1, math.ceil(seconds / 60))} min, at most twice that where the answer is not clear"
    )
    return campaign.run(
        left,
        [workloads.Workload("chosen", "asked of choose", answer.case.on("cpu").id, gated_on=_stands_for(answer))],
        passes=campaign.PASSES,
        rounds=rounds,
        threads=(options.threads,),
        directions=(answer.direction,),
        baseline=baseline,
        gate=lambda implementation, case, direction: "",  # what does not conform is out already
        progress=lambda what, done, total: console.line(f"choose: {what} ({done} of {total})"),
        load=options.load,
        devices=(answer.case.device,),
        extend=True,
        kept=kept,
    )


def _stands_for(answer: Answer) -> str:
    return "" if answer.gated == answer.case else answer.gated.on("cpu").id


def expected(looks: Mapping[str, Look], baseline: str, rounds: int) -> float:
    """Return the seconds that the passes are expected to take: inputs, three warm calls and the rounds of each arm.

    What is compiled is compiled in the first pass and found on disk by the others, for which a quarter is counted.
    """
    arms = [*looks.values(), looks[baseline]]
    own = [3 * seen.seconds + max(campaign.TIME_PER_ARM, rounds * seen.seconds) + seen.prepare_s / 4 for seen in arms]
    inputs_s = max(seen.inputs_s for seen in arms)
    return campaign.PASSES * (_PASS_S + inputs_s + sum(own)) + sum(seen.prepare_s for seen in arms)


def _blank(answer: Answer) -> list[Measurement]:
    """Return the measurements of what is out, so that the run directory can be reused. Another limit of memory asks
    anew for what this one left out.
    """
    status = {word: kept for kept, word in _WORDS.items()}
    where = (answer.case.mechanism, "chosen", answer.case.id, answer.threads)
    return [
        Measurement(name, *where, status.get(kind, kind), reason, direction=answer.direction)  # type: ignore[arg-type]
        for name, (kind, reason) in answer.out.items()
        if kind != "memory"
    ]


# --- the answer


def _place(answer: Answer, rows: Sequence[Measurement], memory: int | None) -> None:
    """Rank what was measured and keeps the limit; what was not is out with its reason."""
    kept = []
    for row in rows:
        if row.status != "measured":
            answer.out.setdefault(row.implementation, (_WORDS.get(row.status, row.status), row.reason))
        elif why := over(row.peak_bytes, memory):
            answer.out[row.implementation] = ("memory", why)
        else:
            kept.append(row)
    answer.withheld = unreliable(kept) if len(kept) > 1 else ""
    spoiled = [] if answer.withheld else [row for row in kept if row.answer == "unreliable"]
    answer.out |= {row.implementation: ("unreliable", row.reason) for row in spoiled}
    kept = [row for row in kept if row not in spoiled]
    answer.places = ranked(kept) if kept and not answer.withheld else []


def told(answer: Answer, memory: int | None) -> str:
    """Return the answer as text."""
    lines = [f"{answer.case.id}, {answer.direction.replace('_', ' and ')}, {answer.threads} thread(s), {answer.source}"]
    if answer.gated != answer.case:
        lines.append(f"conformance was asked of the same at a shorter length: {answer.gated.id}")
    lines += [_placed(place) for place in answer.places]
    if by_cpu := [place.implementation for place in answer.places if place.clock == "cpu"]:
        who = "" if len(by_cpu) == len(answer.places) else f" of {', '.join(by_cpu)}"
        lines.append(
            f"ratios{who} are of the thread's CPU time, since other work took the cores; times are on the wall"
        )
    if answer.withheld:
        lines.append(f"no ranks: {answer.withheld}; try again when the machine is quieter")
    lines += [f"out   {name}: {status}: {reason}" for name, (status, reason) in answer.out.items()]
    best = [place.implementation for place in answer.places if place.rank == 1]
    if best:
        ties = f" (or {', '.join(best[1:])}: no difference that holds)" if best[1:] else ""
        limit = f" within {_bytes(memory)}" if memory is not None else ""
        lines.append(f"recommended{limit}: {best[0]}{ties}")
    else:
        lines.append("nothing can be recommended")
    lines += filter(None, [answer.noise])
    return "\n".join(lines)


def _placed(place: Place) -> str:
    around = f"{place.ratio:7.3f} [{place.low:.3f}, {place.high:.3f}]"
    tie = "" if place.answer == "leads" else f"  {place.answer} as the first of its rank"
    tie = tie.replace("inconclusive as", "not told apart from")
    peak = "" if place.peak_bytes is None else f"  {_bytes(place.peak_bytes)} at the peak"
    return f"{place.rank:<5} {place.implementation:18} {_time(place.seconds):>9}  {around}{peak}{tie}"


def _time(seconds: float) -> str:
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e6:.3g} us"


def _bytes(count: int) -> str:
    for unit, size in (("GiB", 1 << 30), ("MiB", 1 << 20)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count / 1024:.3g} KiB"
