"""The one room that opens run files."""

from attention_harness.store.merging import merge
from attention_harness.store.reading import Run, load
from attention_harness.store.writer import Writer, now

__all__ = ["Run", "Writer", "load", "merge", "now"]
