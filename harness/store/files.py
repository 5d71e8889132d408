"""Writing where somebody else may have been before: a link is never followed, what exists is never written over."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from attention_harness.model.errors import HarnessError

PART = ".part"
"""Ends the name of a file that is to replace another: a kill may leave one behind, which harms nothing."""


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


def append(path: Path, content: bytes) -> None:
    """Append in one write. What cannot be written whole is taken back, so that the file ends with a whole line."""
    try:
        with open(path, "ab", buffering=0, opener=no_link) as file:
            before = file.seek(0, os.SEEK_END)
            left = memoryview(content)
            try:
                while left:  # a disk that fills up takes a part first, and says so the next time
                    left = left[file.write(left) :]
            except BaseException:
                with contextlib.suppress(OSError):
                    file.truncate(before)
                raise
    except OSError as error:
        raise HarnessError(
            f"cannot write {path}: {error.strerror}; what was finished before is kept: make room, then go on with "
            "--resume"
        ) from error


def replaced(path: Path, content: str | bytes) -> Path:
    """Put a content in the place of a file as a whole, on the disk too, or leave the file as it was; return the path.

    A link is replaced, not followed. Raise HarnessError where it cannot be written.
    """
    part = path.with_name(path.name + PART)
    try:
        part.unlink(missing_ok=True)
        with part.open("xb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise HarnessError(
            f"cannot write {path}: {error.strerror}; it is left as it was: make room, then again"
        ) from error
    return path
