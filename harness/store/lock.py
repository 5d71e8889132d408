"""One writer for a run directory: an advisory lock, which the kernel releases when its holder ends, by a kill too."""

from __future__ import annotations

import contextlib
import os
import shlex
import stat
import sys
import time
from pathlib import Path

from attention_harness.model.errors import HarnessError

FILE = ".lock"
"""Stays in the directory: removing it would let two runs hold two files of one name."""

_SECONDS = 1.0  # a reader that looks holds the lock for an instant; a run just killed, until it is dead
_NAME_BYTES = 4000  # characters of a holder's name


def take(directory: Path) -> int:
    """Lock a directory for this process and return the descriptor that holds the lock: closed, it is free again."""
    import fcntl  # here: POSIX alone, and reading a run needs none

    path = directory / FILE
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
    deadline = time.monotonic() + _SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except OSError as error:
            busy = isinstance(error, BlockingIOError)
            if busy and time.monotonic() < deadline:
                time.sleep(0.05)
                continue
            name = _writer(descriptor)
            os.close(descriptor)
            if busy:
                raise HarnessError(
                    f"{directory} is being written by {name}: wait for its end, or give another --out"
                ) from None
            raise HarnessError(
                f"cannot lock {path}: {error.strerror}; give an --out on a file system that can"
            ) from error
    text = f"{os.getpid()} {shlex.join(['python', '-m', 'attention_harness', *sys.argv[1:]])}"[:_NAME_BYTES]
    with contextlib.suppress(OSError):  # a full disk: the lock holds without a name
        os.ftruncate(descriptor, 0)
        os.write(descriptor, text.encode(errors="replace"))
    return descriptor


def holder(directory: Path) -> str:
    """Return which process is writing a directory, or "". Nothing is made, and nothing is changed."""
    try:
        import fcntl

        # A stranger's directory may hold a pipe that nobody writes, or a link to anything.
        descriptor = os.open(directory / FILE, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except (ImportError, OSError):
        return ""
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return ""
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _writer(descriptor)
    except OSError:
        return ""
    finally:
        os.close(descriptor)
    return ""


def _writer(descriptor: int) -> str:
    """Return the process that stands in an open lock file: a holder writes itself there."""
    try:
        number, _, command = os.pread(descriptor, _NAME_BYTES, 0).decode(errors="replace").partition(" ")
    except OSError:
        number, command = "", ""
    return f"process {number} ({command})" if number.isdecimal() else "another process"
