"""Writing where somebody else may have been before: a link is never followed, what exists is never written over."""

from __future__ import annotations

import os
from pathlib import Path

from harness.values import HarnessError


def no_link(path: str, flags: int) -> int:
    """Open a file as `open(..., opener=no_link)`: a link in its place, which may lead anywhere, is an error."""
    if os.path.islink(path):  # where the system knows no O_NOFOLLOW
        raise HarnessError(f"{path} is a link: what is written there would leave the directory; remove it")
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0), 0o666)


def write_new(path: Path, content: str | bytes) -> None:
    """Write a file that does not exist yet, also not as a link that leads nowhere."""
    raw = content.encode("utf-8") if isinstance(content, str) else content
    try:
        with path.open("xb") as file:
            file.write(raw)
    except FileExistsError as error:
        raise HarnessError(f"{path} exists; it is left as it is") from error


def replaced(path: Path, text: str) -> Path:
    """Put a text in the place of a file as a whole, or leave the file as it was; a link is replaced, not followed."""
    part = path.with_name(path.name + ".part")
    part.unlink(missing_ok=True)
    write_new(part, text)
    os.replace(part, path)
    return path
