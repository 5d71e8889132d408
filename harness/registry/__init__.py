"""Finds mechanisms and implementations: the folder listing is the registry. Nothing here imports a framework."""

from attention_harness.registry.implementations import ENTRY_POINTS, Implementation, implementations, refuses, select
from attention_harness.registry.mechanisms import mechanism, mechanisms, unknown

__all__ = [
    "ENTRY_POINTS",
    "Implementation",
    "implementations",
    "mechanism",
    "mechanisms",
    "refuses",
    "select",
    "unknown",
]
