"""What this machine is: the facts that a run keeps beside its results. torch is described where it is loaded alone."""

from __future__ import annotations

import ctypes
import functools
import importlib.metadata
import platform
import subprocess
import sys
from pathlib import Path

import psutil

from attention_harness.model.run_facts import CudaDevice, Environment, Processor, Revision

PACKAGES = ("torch", "numpy", "onnx", "onnxruntime", "onnxruntime-gpu", "onnxscript", "triton", "pytest-benchmark")
_SOURCE = Path(__file__).resolve().parents[2]


def environment() -> Environment:
    """Return what this machine and its versions are."""
    return Environment(
        python=platform.python_version(),
        platform=platform.platform(),
        processor=processor(),
        cores=cores(),
        memory_bytes=memory_bytes(),
        packages=versions(),
        threads=_threads(),
        cuda=tuple(cuda_devices()),
        git=git_revision(),
        load=tuple(round(value, 2) for value in psutil.getloadavg()),
    )


@functools.cache
def processor() -> Processor:
    """Return model and architecture, and the vector extensions that decide which kernels run."""
    model, architecture = platform.processor() or "unknown", platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return Processor(model, architecture)
    values = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    flags = values.get("flags", values.get("Features", "")).split()
    extensions = sorted(flag for flag in flags if flag.startswith(("avx", "amx", "sve", "asimd", "fma")))
    return Processor(values.get("model name", model), architecture, tuple(extensions))


def versions() -> dict[str, str]:
    """Return the versions of the packages that results depend on; what is not installed is left out."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def git_revision() -> Revision | None:
    """Return commit and whether files differ from it, or None outside a checkout."""
    commit = _git("rev-parse", "HEAD")
    return Revision(commit, bool(_git("status", "--porcelain"))) if commit else None


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(_SOURCE), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def cores() -> int:
    """Return how many processors this process may use."""
    process = psutil.Process()
    return len(process.cpu_affinity()) if hasattr(process, "cpu_affinity") else psutil.cpu_count() or 1


def memory_bytes() -> int:
    """Return the physical memory."""
    return int(psutil.virtual_memory().total)


def _threads() -> int | None:
    torch = sys.modules.get("torch")
    return torch.get_num_threads() if torch is not None else None


def cuda_devices() -> list[CudaDevice]:
    """Return the CUDA devices that the driver sees. The driver is asked, not torch: listing must not import that."""
    try:
        driver = ctypes.CDLL("libcuda.so.1" if sys.platform != "win32" else "nvcuda.dll")
    except OSError:
        return []
    count = ctypes.c_int()
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return []
    return [_cuda_device(driver, index) for index in range(count.value)]


def _cuda_device(driver: ctypes.CDLL, index: int) -> CudaDevice:
    name, memory, parts = ctypes.create_string_buffer(256), ctypes.c_size_t(), [ctypes.c_int(), ctypes.c_int()]
    driver.cuDeviceGetName(name, len(name), index)
    driver.cuDeviceTotalMem_v2(ctypes.byref(memory), index)
    for number, part in zip((75, 76), parts, strict=True):  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, _MINOR
        driver.cuDeviceGetAttribute(ctypes.byref(part), number, index)
    capability = ".".join(str(part.value) for part in parts)
    return CudaDevice(name.value.decode(errors="replace"), memory.value, capability)
