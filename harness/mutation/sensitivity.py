r"""How small an error can a case see? The exact result is perturbed, and nothing else, until the judge accuses it.

    amplitude    the output times $1 + \epsilon$
    temperature  the scores times $1 + \epsilon$
    weight       in each row $\epsilon$ is added to the log-weight of one visible key: the one with the largest
                 $p (1 - p)$, on which the row depends most
    dropped      in each row the heaviest key of weight $t$ or less is dropped, and the others renormalised; what is
                 told is the largest weight that was dropped so

The smallest error that is accused is found by bisection of its logarithm, between $2^{-60}$ and 1. An implementation's
own rounding comes on top, so that a real mutant is seen somewhat earlier or later: it is the case that is measured, by
its error bound alone.
"""

from __future__ import annotations

import argparse
import hashlib
import math
import shlex
import statistics
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from attention_harness import store
from attention_harness.bounds import ErrorBound
from attention_harness.bounds.judge import judge
from attention_harness.bounds.perturbed import Change, evaluate
from attention_harness.cases import inputs
from attention_harness.cases.ids import parse
from attention_harness.cases.matrix import matrix
from attention_harness.checks import accuracy
from attention_harness.checks.expected import bound_of
from attention_harness.commands import console
from attention_harness.model.capabilities import Arithmetic
from attention_harness.model.case import Case
from attention_harness.model.errors import HarnessError
from attention_harness.model.mutation_results import Sensitivity
from attention_harness.model.run_facts import RunFacts
from attention_harness.reference import core
from attention_harness.registry import mechanisms
from attention_harness.store.encoding import document

Array = NDArray[np.float64]

KINDS = ("amplitude", "temperature", "weight", "dropped")
USEFUL = 2.0**-3
"""A case that misses an error of an eighth is weak. One rounding explains as much in no format: the coarsest, bfloat16,
rounds to 1/256, and an eighth is 32 times that. A threshold above it comes from the problem."""

_DEFAULT = Arithmetic()
_LEAST, _STEP = -60.0, 0.25  # of the bisection, in powers of two
_NO_OUTPUT, _NO_KEY, _ONE_KEY = "it has no output", "no query sees a key", "no query sees two keys"
INHERENT = (_NO_OUTPUT, _NO_KEY, _ONE_KEY)
"""Why a case may be weak and still belong into the matrix: it asks about lengths and masks, not about weights."""


def sensitivity(case: Case, arithmetic: Arithmetic = _DEFAULT) -> Sensitivity:
    """Return the smallest errors that a case sees under a declared arithmetic."""
    problem = _Problem(case, arithmetic)
    found: dict[str, float | None] = dict.fromkeys(KINDS)
    found["amplitude"] = smallest(lambda eps: problem.accuses(problem.error_bound.value * (1 + eps)))
    if problem.keys >= 2:
        found["temperature"] = smallest(lambda eps: problem.accuses(problem.output(temperature(eps))))
        found["weight"] = smallest(lambda eps: problem.accuses(problem.output(weight(eps))))
        threshold = smallest(lambda eps: problem.accuses(problem.output(dropped(eps))))
        found["dropped"] = None if threshold is None else problem.heaviest(threshold)
    return Sensitivity(case.id, case.dtype, case.content, problem.keys, **found, weak=problem.why_weak(found))


def smallest(accused: Callable[[float], bool]) -> float | None:
    """Return the smallest eps in [2^-60, 1] that is accused, to a quarter of an octave; None when even 1 is not."""
    if not accused(1.0):
        return None
    low, high = _LEAST, 0.0
    if accused(2.0**low):
        return 2.0**low
    while high - low > _STEP:
        middle = (low + high) / 2
        low, high = (low, middle) if accused(2.0**middle) else (middle, high)
    return 2.0**high


# --- the perturbations, as what takes the place of the softmax


def exact(scores: Array, visible: NDArray[np.bool_], fully_masked_rows: str) -> Array:
    """Change nothing."""
    return core.softmax(scores, visible, fully_masked_rows)


def temperature(eps: float) -> Change:
    """Return the softmax of scores times 1 + eps."""
    return lambda scores, visible, fully_masked_rows: core.softmax(scores * (1 + eps), visible, fully_masked_rows)


def weight(eps: float) -> Change:
    """Return the softmax with one log-weight of each row moved by eps."""

    def change(scores: Array, visible: NDArray[np.bool_], fully_masked_rows: str) -> Array:
        p = core.softmax(scores, visible)
        moved = np.zeros_like(scores)
        if scores.shape[-1]:
            np.put_along_axis(moved, np.argmax(p * (1 - p), -1, keepdims=True), eps, -1)
        return core.softmax(scores + moved, visible, fully_masked_rows)

    return change


def dropped(threshold: float) -> Change:
    """Return the softmax without the heaviest key of weight `threshold` or less; a row's only key stays."""

    def change(scores: Array, visible: NDArray[np.bool_], fully_masked_rows: str) -> Array:
        return core.softmax(
            scores, visible & ~_chosen(core.softmax(scores, visible), visible, threshold), fully_masked_rows
        )

    return change


def _chosen(p: Array, visible: NDArray[np.bool_], threshold: float) -> NDArray[np.bool_]:
    """Return True at the key of each row that is dropped."""
    chosen = np.zeros(p.shape, bool)
    if p.shape[-1] == 0:
        return chosen
    light = np.where(visible & (p <= threshold) & (visible.sum(-1, keepdims=True) >= 2), p, -1.0)
    np.put_along_axis(chosen, np.argmax(light, -1, keepdims=True), True, -1)
    return chosen & (light >= 0)


class _Problem:
    """A case's exact result, its error bound, and how to compute it with an error."""

    def __init__(self, case: Case, arithmetic: Arithmetic) -> None:
        self.case = case
        self.mechanism = mechanisms()[case.mechanism]
        self.error_bound: ErrorBound = bound_of(case, arithmetic, "zero")[0]
        self.given = inputs.exact(inputs.tensors(case))
        self.arguments = inputs.arguments(case)
        self.visible = np.zeros((0, 0), bool)
        self.weights: Array | None = None
        if self.mechanism.scores:
            self.output(self._remembering)

    def _remembering(self, scores: Array, visible: NDArray[np.bool_], fully_masked_rows: str) -> Array:
        self.visible, self.weights = visible, core.softmax(scores, visible, fully_masked_rows)
        return self.weights

    @property
    def keys(self) -> int:
        """The most keys that a query sees."""
        return int(self.visible.sum(-1).max(initial=0))

    def output(self, change: Change) -> Array:
        """Return the exact output with `change` in the place of the softmax."""
        return evaluate(self.mechanism.evaluate, self.given, self.arguments, change)

    def accuses(self, output: Array) -> bool:
        """Whether the judge accuses an output."""
        return bool(judge(output, self.error_bound, degenerate=accuracy.is_degenerate(self.case)).reason)

    def heaviest(self, threshold: float) -> float:
        """Return the largest weight that is dropped at a threshold."""
        assert self.weights is not None
        return float(self.weights[_chosen(self.weights, self.visible, threshold)].max())

    def why_weak(self, found: dict[str, float | None]) -> str:
        """Return why the case sees nothing useful, or ""."""
        kinds = KINDS[1:] if self.keys >= 2 else KINDS[:1]
        if any(eps is not None and eps <= USEFUL for eps in (found[kind] for kind in kinds)):
            return ""
        if self.error_bound.value.size == 0:
            return _NO_OUTPUT
        if self.weights is None:
            return "its bound is as large as its result"
        if self.keys < 2:
            return _ONE_KEY if self.keys else _NO_KEY
        second = float((self.weights * (1 - self.weights)).max())
        if second < USEFUL * 2.0**-8:
            return f"one key decides every row: the others weigh {second:.2g} together at most"
        if self.error_bound.linear is not None and not self.error_bound.linear[self.visible.sum(-1) >= 2].any():
            return "its bound is vacuous: the scores are so large that their rounding decides the weights"
        return f"the rounding of {self.case.dtype} hides what the weights decide"


# --- all cases


def measure(cases: Iterable[Case]) -> Iterator[Sensitivity]:
    """Yield the sensitivity of each case."""
    return (sensitivity(case) for case in cases)


def rows(found: Iterable[Sensitivity]) -> Iterator[tuple[str, str, int, int, tuple[str, ...]]]:
    """Yield dtype, content, cases, those in which weights matter, and by kind: median, worst of the smallest errors."""
    groups: dict[tuple[str, str], list[Sensitivity]] = {}
    for one in found:
        content = one.content.partition(".")[0]
        groups.setdefault((one.dtype, "all"), []).append(one)
        groups.setdefault((one.dtype, content), []).append(one)
    order = sorted(groups.items(), key=lambda group: (group[0][0], group[0][1] != "all", group[0][1]))
    for (dtype, content), members in order:
        weighing = [one for one in members if one.keys >= 2]
        asked = {kind: members if kind == "amplitude" else weighing for kind in KINDS}
        cells = tuple(_told([getattr(one, kind) for one in asked[kind]]) for kind in KINDS)
        yield dtype, content, len(members), len(weighing), cells


def table(found: Sequence[Sensitivity]) -> str:
    """Return, by dtype and content, median and worst of each kind, and every weak case with the reason."""
    lines = [f"{'smallest error seen: median, worst':47}" + "".join(f"{kind:>22}" for kind in KINDS)]
    for dtype, content, cases, weighing, cells in rows(found):
        told = "".join(f"{cell:>22}" for cell in cells)
        lines.append(f"{dtype:9} {content:14} {cases:4} cases {weighing:4} weigh {told}")
    weak = [one for one in found if one.weak]
    lines += [f"weak: {one.case}: {one.weak}" for one in weak]
    inherent = sum(one.weak in INHERENT for one in weak)
    lines.append(f"weak: {len(weak)} of {len(found)} cases, {inherent} of them since they ask about lengths and masks")
    return "\n".join(lines)


def _told(values: Sequence[float | None]) -> str:
    seen = [math.inf if value is None else value for value in values]
    if not seen:
        return "-"
    return ", ".join("none" if math.isinf(x) else f"{x:.2g}" for x in (statistics.median_high(seen), max(seen)))


def command(options: argparse.Namespace) -> int:
    """Measure a tier's cases, or the named ones; print, and keep them in --out: a run that is there, or a new one."""
    if options.resume and not options.out:
        raise HarnessError("--resume needs --out DIR, the run directory to go on with")
    cases = [parse(text) for text in options.case] or list(matrix(options.tier))
    writer = _writer(options, cases) if options.out else None
    kept = {one.case: one for one in writer.items(Sensitivity)} if writer else {}
    if kept:
        console.line(f"resume: {len(kept)} cases are measured")
    found = []
    for case in cases:
        if case.id in kept:
            found.append(kept[case.id])
            continue
        for one in measure([case]):
            found.append(one)
            if writer:
                writer.add(one)
    if writer:
        if writer.facts.plan == _plan_of(cases):  # not where a file was added to another run
            writer.update(finished=store.now())
        writer.close()
    if options.json:
        print(document({"sensitivity": found}))
    else:
        print(table(found))
    return 0


def _plan_of(cases: Sequence[Case]) -> str:
    return hashlib.sha256(repr([case.id for case in cases]).encode()).hexdigest()


def _writer(options: argparse.Namespace, cases: Sequence[Case]) -> store.Writer:
    """Return the writer of --out. Measured anew, the cases take the place of those that are there."""
    from attention_harness.execution.machine import environment

    if (options.out / "run.json").exists():
        writer = store.Writer.add_to(options.out)
        told = writer.repair()
        if told:
            console.line(told)
        if not options.resume:
            writer.rewrite(Sensitivity, ())
        return writer
    facts = RunFacts(
        command="python -m attention_harness " + shlex.join(sys.argv[1:]),
        started=store.now(),
        tier=options.tier,
        planned=0,  # no verdict: what the cases see says nothing about implementations
        plan=_plan_of(cases),
        environment=environment(),
    )
    return store.Writer.start(options.out, facts)
