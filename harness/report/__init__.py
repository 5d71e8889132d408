"""The report of a run: rows to Markdown and one self-contained HTML page. Nothing here needs torch."""

from __future__ import annotations

from pathlib import Path

from attention_harness.model.errors import HarnessError
from attention_harness.report import markdown, page
from attention_harness.report.content import Content, assemble
from attention_harness.report.untrusted import shown
from attention_harness.store import Run
from attention_harness.store.files import replaced

__all__ = ["Content", "build", "write"]


def build(run: Run) -> Content:
    """Return what the report of a run says."""
    return assemble(shown(run))


def write(run: Run, directory: Path) -> tuple[Path, Path]:
    """Write `report.md` and `index.html` into the directory, each as a whole, and return their paths."""
    content = build(run)
    texts = {"report.md": markdown.render(content), "index.html": page.render(content)}
    try:
        directory.mkdir(parents=True, exist_ok=True)
        written = [replaced(directory / name, text) for name, text in texts.items()]
    except OSError as error:
        raise HarnessError(f"cannot write the report into {directory}: {error.strerror}") from error
    return written[0], written[1]
