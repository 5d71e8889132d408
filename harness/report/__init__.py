"""The report of a run: rows to Markdown and one self-contained HTML page. Nothing here needs torch."""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType

from attention_harness.model.errors import HarnessError
from attention_harness.model.support import SupportTable
from attention_harness.report import markdown, page
from attention_harness.report.content import Content, assemble
from attention_harness.report.untrusted import shown
from attention_harness.store import Run
from attention_harness.store.files import replaced

__all__ = ["Content", "build", "write"]

_NOTHING: SupportTable = MappingProxyType({})


def build(run: Run, support: SupportTable = _NOTHING, base: Run | None = None) -> Content:
    """Return what the report of a run says.

    support: what is known of each option in each implementation; base: a run that it is compared with
    """
    return assemble(shown(run), support, shown(base) if base else None)


def write(run: Run, directory: Path, support: SupportTable = _NOTHING, base: Run | None = None) -> tuple[Path, Path]:
    """Write `report.md` and `index.html` into the directory, each as a whole, and return their paths."""
    content = build(run, support, base)
    texts = {"report.md": markdown.render(content), "index.html": page.render(content)}
    try:
        directory.mkdir(parents=True, exist_ok=True)
        written = [replaced(directory / name, text) for name, text in texts.items()]
    except OSError as error:
        raise HarnessError(f"cannot write the report into {directory}: {error.strerror}") from error
    return written[0], written[1]
