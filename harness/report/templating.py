"""The templates of a report, which Jinja fills in."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from attention_harness.model.errors import HarnessError

if TYPE_CHECKING:
    from jinja2 import Environment


def environment(folder: Path, **options: Any) -> Environment:
    """Return an environment that finds the templates of a folder, and in which an undefined name is an error."""
    try:
        import jinja2
        import latex2mathml  # noqa: F401
        import vl_convert  # noqa: F401
    except ImportError as error:
        needed = "vl-convert, Jinja2 and latex2mathml"
        raise HarnessError(f"a report needs {needed}: pip install attention-harness[report]") from error
    loader = jinja2.FileSystemLoader(folder)
    return jinja2.Environment(
        loader=loader, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True, **options
    )
