"""Finds mechanisms and implementations: the folder listing is the registry. Nothing here imports a framework."""

from attention_harness.host.loading import ENTRY_POINTS
from attention_harness.registry.implementations import (
    Declared,
    Implementation,
    implementations,
    imported,
    refuses,
    select,
    source,
)
from attention_harness.registry.mechanisms import mechanism, mechanisms, unknown

__all__ = [
    "ENTRY_POINTS",
    "Declared",
    "Implementation",
    "implementations",
    "imported",
    "mechanism",
    "mechanisms",
    "refuses",
    "select",
    "source",
    "unknown",
]
