"""Say what this machine can run, what is missing, and the command that adds it.

It has to work where nothing is installed, so it imports the standard library alone and asks the metadata of packages;
the registry, which needs NumPy, is imported where NumPy is. No framework is imported, unless a CUDA device is there and
an implementation asks its own package about it.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict

from attention_harness.commands import arguments, console
from attention_harness.commands.doctor import machine, packages
from attention_harness.commands.doctor.finding import OK, Finding
from attention_harness.execution.machine import cuda_devices
from attention_harness.model.errors import HarnessError

# What a verb needs: packages, or all that is always installed, and those of an extra.
_ALL = ("*",)
_VERBS = {
    "check": (_ALL, "", "shipped implementations, in worker processes"),
    "bench": (_ALL, "", "as check"),
    "bench against": (_ALL, "", "as check"),
    "bench self-check": (_ALL, "", "as check"),
    "choose": (_ALL, "", "as check"),
    "replay": (_ALL, "", "as check"),
    "mutants": (_ALL, "", "as check"),
    "mutants sensitivity": (_ALL, "", "as check"),
    "mutants diagnose": (_ALL, "", "as check"),
    "list": (("numpy",), "", "no framework"),
    "new": (("numpy",), "", "no framework"),
    "report": (("numpy", "fastjsonschema"), "report", "no torch"),
    "compare": (("numpy", "fastjsonschema"), "", "no torch; --confirm as check"),
    "doctor": ((), "", "nothing but Python"),
}
_COLUMNS = ("subject", "name", "state", "found", "advice")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the verb takes."""
    arguments.add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Print a table for each subject; 0 when nothing that a default run needs is missing."""
    found = [*packages.findings(), *machine.findings()]
    found += [*_implementations(found), *_verbs(found)]
    wrong = [one for one in found if one.state == "missing"]
    if options.json:
        print(json.dumps({"ready": not wrong, "findings": [asdict(one) for one in found]}, indent=1))
        return int(bool(wrong))
    for subject in dict.fromkeys(one.subject for one in found):
        rows = [asdict(one) for one in found if one.subject == subject]
        console.table(subject, rows, _COLUMNS[1:] if sys.stdout.isatty() else _COLUMNS)
    told = ", ".join(f"{one.subject} {one.name}" for one in wrong)
    print(
        f"not ready for `python -m attention_harness check`: {told}"
        if wrong
        else "ready for `python -m attention_harness check`"
    )
    return int(bool(wrong))


def _implementations(found: list[Finding]) -> Iterator[Finding]:
    """Yield each implementation, and why it is not available."""
    absent = [one.name for one in found if one.subject == "packages" and one.state == "missing"]
    if "numpy" in absent:
        yield Finding("implementations", "all", "not known", "", "they cannot be listed without NumPy")
        return
    from attention_harness import registry

    try:
        known = registry.implementations()
    except HarnessError as error:
        yield Finding("implementations", "all", "missing", str(error), "mend or uninstall what is named")
        return
    unfit: list[Finding] = [one for one in found if one.subject == "compiler" and one.state != OK]
    for name, own in known.items():
        try:
            reason = own.unavailable()
        except HarnessError as error:
            yield Finding("implementations", name, "missing", str(error), "mend its unavailable()")
            continue
        advice = packages.command("cuda" if "cuda" in own.capabilities.devices[:1] else "onnx") if reason else ""
        if reason and not cuda_devices() and own.device == "cuda" and "not installed" not in reason:
            advice = "needs a machine with an NVIDIA GPU"
        if "torch" in absent:
            reason, advice = reason or "torch is not installed", packages.command("")
        elif name == "compiled" and unfit and not reason:
            reason, advice = f"no {unfit[0].name}: its checks would be errors", unfit[0].advice
        yield Finding("implementations", name, "unavailable" if reason else OK, reason or own.summary, advice)


def _verbs(found: list[Finding]) -> Iterator[Finding]:
    """Yield each verb with what it needs."""
    lacking = [one.name for one in found if one.subject == "packages" and one.state != OK]
    for verb, (needed, extra, about) in _VERBS.items():
        asked = [one.name for one in packages.requirements() if one.extra == (extra or None)]
        asked += [one.name for one in packages.requirements() if not one.extra] if needed == _ALL else needed
        absent = [name for name in lacking if name in asked]
        state, told = ("unavailable", f"lacks {', '.join(absent)}") if absent else (OK, about)
        yield Finding("verbs", verb, state, told, packages.command(extra) if absent else "")
