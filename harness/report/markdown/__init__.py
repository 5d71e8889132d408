"""Content as Markdown."""

from attention_harness.report.markdown.rendering import Raw, block, code, escaped, render

__all__ = ["Raw", "block", "code", "escaped", "render"]
