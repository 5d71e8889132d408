"""Content as one HTML page."""

from attention_harness.report.page.rendering import render

__all__ = ["render"]
