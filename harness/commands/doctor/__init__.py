"""Say what this machine can run, what is missing, and the command that adds it.

It has to work where nothing is installed, so the packages are looked at first, by their metadata. What needs them is
looked at where they are all there. No framework is imported, unless a CUDA device is there and an implementation asks
its own package about it.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict

from attention_harness.commands import arguments, console
from attention_harness.commands.doctor import packages
from attention_harness.commands.doctor.packages import MISSING, OK, Finding
from attention_harness.model.errors import HarnessError

_NEED_COMPILER = ("compiled", "flex")
"""The shipped implementations that torch.compile makes kernels for on the CPU."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the verb takes."""
    arguments.add(parser, "--json")


def run(options: argparse.Namespace) -> int:
    """Print a table for each subject; 0 when nothing that a default run needs is missing."""
    found = list(packages.findings())
    if not _missing(found):
        from attention_harness.commands.doctor import machine

        found += machine.findings()
        found += _implementations([one for one in found if one.subject == "compiler" and one.state != OK])
    rows, missing = [asdict(one) for one in found], _missing(found)
    if options.json:
        print(json.dumps({"ready": not missing, "findings": rows}, indent=1))
        return int(bool(missing))
    console.table("this machine", rows, ("subject", "name", "state", "found", "advice"))
    names = ", ".join(f"{one.subject} {one.name}" for one in missing)
    print(f"{f'not ready ({names})' if missing else 'ready'} for `python -m attention_harness check`")
    return int(bool(missing))


def _missing(found: Sequence[Finding]) -> list[Finding]:
    return [one for one in found if one.state == MISSING]


def _implementations(compiler: Sequence[Finding]) -> Iterator[Finding]:
    """Yield each implementation, and why it is unavailable. compiler: what of a compiler is missing."""
    from attention_harness.execution import declarations
    from attention_harness.execution.machine import cuda_devices

    try:
        known = declarations.implementations()
    except HarnessError as error:
        yield Finding("implementations", "all", MISSING, str(error), "mend or uninstall what is named")
        return
    for name, implementation in known.items():
        try:
            reason = implementation.unavailable()
        except HarnessError as error:
            yield Finding("implementations", name, MISSING, str(error), "mend its unavailable()")
            continue
        gpu = "cuda" in implementation.capabilities.devices[:1]
        advice = packages.install_command("cuda" if gpu else "onnx") if reason else ""
        if reason and gpu and not cuda_devices() and "not installed" not in reason:
            advice = "needs a machine with an NVIDIA GPU"
        if name in _NEED_COMPILER and compiler and not reason:
            reason, advice = f"no {compiler[0].name}: its checks would be errors", compiler[0].advice
        state = "unavailable" if reason else OK
        yield Finding("implementations", name, state, reason or implementation.summary, advice)
