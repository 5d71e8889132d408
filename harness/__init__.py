"""A correctness-and-benchmark harness for attention. What an implementation file needs is exported here."""

from typing import Any

from attention_harness.model.capabilities import Arithmetic, Capabilities
from attention_harness.model.case import Case
from attention_harness.model.dtypes import DTYPES
from attention_harness.model.errors import HarnessError

__version__ = "0.1.0"

__all__ = ["DTYPES", "Arithmetic", "Capabilities", "Case", "HarnessError", "cuda_devices", "processor"]


def __getattr__(name: str) -> Any:
    """Return a function that describes this machine; its module is imported by those who need it alone."""
    if name in ("cuda_devices", "processor"):
        from attention_harness.execution import machine

        return getattr(machine, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
