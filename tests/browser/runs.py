"""Runs made by hand for the page: some of everything that it shows, and many verdicts."""

from __future__ import annotations

import itertools
from pathlib import Path

from attention_harness import registry
from attention_harness.commands.run_setup import mechanism_facts
from attention_harness.model.diagnosis import Diagnosis, Match
from attention_harness.model.error_maps import ErrorMap
from attention_harness.model.measurement import Measurement
from attention_harness.model.run_facts import Environment, Heatmap, ImplementationFacts, RunFacts
from attention_harness.model.verdict import Status, Verdict
from attention_harness.store import Run, Writer
from attention_harness.store.layout import DIAGNOSIS, ERROR_MAPS, HEATMAPS

MECHANISMS = ("additive", "cosine", "scaled_dot_product")
IMPLEMENTATIONS = ("eager", "compiled", "fused", "my_kernel")
SHAPE = {"additive": "B1H1Lq{n}Lk7Dq4Dk4Dv4A8", "cosine": "B1H1Hk1Lq{n}Lk7D4Dv4"}
SHAPE["scaled_dot_product"] = SHAPE["cosine"]


def case(mechanism: str, n: int, dtype: str = "float32", options: str = "plain") -> str:
    """Return the id of a case."""
    return f"{mechanism}-{SHAPE[mechanism].format(n=n)}-{dtype}-{options}-ordinary-contiguous"


def verdicts() -> list[Verdict]:
    """Return verdicts of every status; my_kernel fails alone where there is a mask, and with compiled in bfloat16."""
    found = []
    for who, mechanism, n, dtype, options, check in itertools.product(
        IMPLEMENTATIONS,
        MECHANISMS,
        (1, 5, 130),
        ("float32", "bfloat16"),
        ("plain", "mask=full"),
        ("accuracy", "relation.order"),
    ):
        of = case(mechanism, n, dtype, options)
        replay = f"python -m attention_harness replay {of} --implementation {who}"
        wrong = who == "my_kernel" and (options != "plain" or dtype == "bfloat16")
        wrong |= who == "compiled" and dtype == "bfloat16" and mechanism == "cosine"
        if who == "fused" and mechanism == "additive":
            reason = "option mask not declared (declares bias, causal_top_left)"
            found.append(Verdict(who, mechanism, of, check, Status.UNSUPPORTED, reason=reason))
        elif who == "compiled" and mechanism == "additive" and n == 1:
            reason = "[ONNXRuntimeError] : 9 : NOT_IMPLEMENTED : at::native::softmax(const at::Tensor & self, long dim) fails"
            found.append(Verdict(who, mechanism, of, check, Status.KNOWN_FAILURE, 3.5, reason=reason, replay=replay))
        elif wrong:
            where = (0, 0, 0, 1)
            reason = f"|error| {n} exceeds its error bound 0.001"
            found.append(Verdict(who, mechanism, of, check, Status.FAIL, 1000.0 * n, n, where, reason, replay))
        else:
            ratio = (n + len(who)) / 200
            vacuous = n == 1 and check == "accuracy"
            found.append(Verdict(who, mechanism, of, check, Status.PASS, ratio, replay=replay, uninformative=vacuous))
    for who, status, ratio, reason in (
        ("eager", Status.PASS, 0.0, ""),
        ("my_kernel", Status.FAIL, 2.0, "it declares zeros"),
    ):  # a behaviour is measured, and is no disagreement
        about = {"reason": reason, "finding": "mean", "declared": "zeros"}
        found.append(Verdict(who, "cosine", case("cosine", 5), "behaviour.masked", status, ratio, **about))
    return found


def measurements() -> list[Measurement]:
    """Return times of two workloads and a sweep of each mechanism, in each implementation."""
    found = []
    for n, mechanism in enumerate(MECHANISMS):
        for workload, length in (("small", 64), *((f"sweep_{length}", length) for length in (128, 256, 512, 1024))):
            for place, who in enumerate(IMPLEMENTATIONS[:3]):
                second = 1e-6 * length**1.5 * (1 + n) * (1.0, 0.8, 0.4)[place]
                ratio = (1.0, 0.8, 0.4)[place]
                compared = (
                    {"answer": "baseline"}
                    if who == "eager"
                    else {"low": ratio * 0.97, "high": ratio * 1.03, "level": 0.95, "answer": "faster"}
                )
                found.append(
                    Measurement(
                        who, mechanism, workload, case(mechanism, length), 1, "measured",
                        prepare_s=(0.001 * 30**place,), first_call_s=0.01, calls_per_sample=1,
                        wall_s=((second, second * 1.01), (second, second * 0.99)), peak_bytes=1000 * length,
                        baseline="eager", ratio=ratio, clock="wall", error_ratio=0.2 + 0.1 * place,
                        flops=4.0 * length**2 * 64, moved_bytes=1024.0 * length, least_bytes=256.0 * length,
                        written_bytes=4.0 * length**2, ceiling="matrix products", ceiling_share=0.3 + 0.2 * place,
                        detectable=0.02, control_ratio=1.001, pass_ratios=(ratio, ratio), **compared,
                    )
                )  # fmt: skip
            found.append(
                Measurement(
                    "my_kernel", mechanism, workload, case(mechanism, length), 1, "refused", "it does not conform"
                )
            )
    return found


def facts(planned: int) -> RunFacts:
    """Return facts of a whole run."""
    return RunFacts(
        command="python -m attention_harness check",
        started="2026-01-02T03:04:05+00:00",
        finished="2026-01-02T03:05:05+00:00",
        tier="quick",
        planned=planned,
        environment=Environment(python="3.11", cores=2, packages={"torch": "2.13.0"}),
        implementations={name: ImplementationFacts(f"What {name} is.") for name in (*IMPLEMENTATIONS, "onnx_cuda")},
        mechanisms={
            name: about for name, about in mechanism_facts(registry.mechanisms()).items() if name in MECHANISMS
        },
    )


def everything(directory: Path) -> Path:
    """Write a run with verdicts, times, a diagnosis, an error map and heatmaps."""
    found = verdicts()
    with Writer.start(directory, facts(len(found))) as writer:
        writer.add(*found, *measurements())
        match = Match("not_scaled", "score", "", 1, 0.5, 6, 6)
        writer.write(DIAGNOSIS, [Diagnosis("my_kernel", (match,))])
        worst = max((v for v in found if v.implementation == "my_kernel" and v.error), key=lambda v: v.error or 0)
        values = tuple(tuple(float(row * column) for column in range(8)) for row in range(5))
        writer.write(ERROR_MAPS, [ErrorMap("my_kernel", worst.case, "output", "query", 1, "column", 1, values)])
        weights = tuple(tuple((row + column) / 20 for column in range(7)) for row in range(5))
        panels = [Heatmap(case(name, 5), "weights", "query", "key", weights) for name in MECHANISMS]
        writer.write(HEATMAPS, {panel.case.split("-")[0]: [panel] for panel in panels})
    return directory


def many(mechanisms: int, implementations: int, checks: int = 1) -> Run:
    """Return a run whose matrix has as many cells; each cell has so many checks."""
    names = [f"mechanism_{n}" for n in range(mechanisms)]
    of = "{}-B1H1Hk1Lq5Lk7D4Dv4-{}-plain-ordinary-contiguous"
    found = [
        Verdict(
            f"implementation_{who}", name, of.format(name, ("float32", "bfloat16")[n % 2]), f"check_{n}",
            Status.FAIL if (who + n) % 17 == 0 else Status.PASS, 0.5 + who / 1000,
            reason="because" if (who + n) % 17 == 0 else "",
        )
        for name in names
        for who in range(implementations)
        for n in range(checks)
    ]  # fmt: skip
    return Run(Path("run"), facts(len(found)), tuple(found))
