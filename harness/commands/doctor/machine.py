"""Processor, memory, accelerator, compiler, and what the system allows."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path

from attention_harness.commands.doctor.packages import MISSING, OK, Finding, version
from attention_harness.execution import machine
from attention_harness.model import units

_COMPILERS = {
    "win32": ("cl", "install the C++ build tools of Visual Studio, and run from their command prompt"),
    "darwin": ("clang++", "xcode-select --install"),
    "linux": (
        "g++",
        "install g++ and the headers of this Python; on Debian: apt-get install g++ python3-dev",
    ),
}
_ROOM = 2**30  # bytes: compiled code and its precompiled headers take some hundred megabytes
_SLOW = "slow: the cases in it are kept small"


def findings() -> Iterator[Finding]:
    """Yield what was found, subject by subject."""
    yield from _processor()
    yield from _accelerator()
    yield from _compiler()
    yield from _system()


def _processor() -> Iterator[Finding]:
    about = machine.processor()
    flags = set(about.extensions)
    yield Finding("processor", "model", OK, f"{about.model}, {about.architecture}")
    yield Finding(
        "processor", "cores", OK, str(machine.cores()), "one worker process for each, 8 at most; --jobs N changes it"
    )
    if not flags:
        yield Finding("processor", "extensions", "not known", "", "this system does not list them in /proc/cpuinfo")
        return
    for name, wanted, without, advice in (
        ("AVX-512", {"avx512f"}, "no", "vectors of 256 bits or less"),
        ("bfloat16", {"avx512_bf16", "amx_bf16", "asimdbf16"}, "emulated", _SLOW),
        ("float16", {"avx512_fp16", "amx_fp16", "asimdhp"}, "emulated", _SLOW),
    ):
        found = ", ".join(sorted(flags & wanted))
        yield Finding("processor", name, OK if found else "note", found or without, "" if found else advice)
    if "amx_bf16" in flags:
        known = "oneDNN#5717 shows here, so eager refuses what it spoils; ONEDNN_MAX_CPU_ISA=AVX512_CORE_BF16 avoids it"
        yield Finding("processor", "AMX", "note", "yes", known)


def _accelerator() -> Iterator[Finding]:
    devices = machine.cuda_devices()
    if not devices:
        yield Finding("accelerator", "CUDA", "absent", "no driver with a device", "onnx_cuda and torch_varlen need one")
        return
    for device in devices:
        about = f"{device.name}, {units.size(device.memory_bytes)}, capability {device.capability}"
        yield Finding("accelerator", "CUDA", OK, about)
    if "+cpu" in version("torch"):
        advice = "install a torch that is built for CUDA: its own site has the command for this driver"
        yield Finding("accelerator", "torch", "note", f"{version('torch')}, a CPU build", advice)


def _compiler() -> Iterator[Finding]:
    """Yield what torch.compile makes its kernels with; without it `compiled` and `flex` go wrong."""
    default, advice = _COMPILERS.get(sys.platform, _COMPILERS["linux"])
    wanted = os.environ.get("CXX") or default
    header = Path(sysconfig.get_path("include")) / "Python.h"
    for name, path in (
        (f"C++ compiler {wanted}", shutil.which(wanted)),
        ("Python.h", header if header.is_file() else ""),
    ):
        yield Finding("compiler", name, OK if path else MISSING, str(path or "not found"), "" if path else advice)


def _system() -> Iterator[Finding]:
    yield Finding("system", "memory", OK, units.size(machine.memory_bytes()))
    for name, folder in (("working directory", Path.cwd()), ("temporary files", Path(tempfile.gettempdir()))):
        yield _writable(name, folder)
    there = "forkserver" in multiprocessing.get_all_start_methods()
    advice = "" if there else "worker processes need Linux or macOS"
    yield Finding("system", "fork server", OK if there else MISSING, "yes" if there else "no", advice)
    why = _peak_memory()
    yield Finding(
        "system", "peak memory", "note" if why else OK, why or "resettable", "bench leaves it out" if why else ""
    )


def _writable(name: str, folder: Path) -> Finding:
    try:
        with tempfile.TemporaryFile(dir=folder):
            free = shutil.disk_usage(folder).free
    except OSError as error:
        return Finding("system", name, MISSING, f"{folder}: {error.strerror}", "run where you may write, or --out DIR")
    about = f"{folder}, {units.size(free)} free"
    return Finding("system", name, OK if free > _ROOM else "note", about, "" if free > _ROOM else "little room")


def _peak_memory() -> str:
    """Return why the peak memory of a call cannot be measured, or ""."""
    if not sys.platform.startswith("linux"):
        return "needs Linux"
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError as error:
        return f"/proc/self/clear_refs: {error.strerror}"
    return ""
