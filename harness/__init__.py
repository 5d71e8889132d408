"""A correctness-and-benchmark harness for attention. What an implementation file needs is exported here."""

from harness.values import Arithmetic, Capabilities, Case, HarnessError

__version__ = "0.1.0"

__all__ = ["Arithmetic", "Capabilities", "Case", "HarnessError"]
