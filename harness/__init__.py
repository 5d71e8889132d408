"""A correctness-and-benchmark harness for attention. What an implementation file needs is exported here."""

from attention_harness.model.capabilities import Arithmetic, Capabilities
from attention_harness.model.case import Case
from attention_harness.model.dtypes import DTYPES
from attention_harness.model.errors import HarnessError

__version__ = "0.1.0"

__all__ = ["DTYPES", "Arithmetic", "Capabilities", "Case", "HarnessError"]
