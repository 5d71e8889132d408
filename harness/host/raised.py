"""What an implementation raised, in one line: with its own line, its library's innermost frame, and the cause."""

from __future__ import annotations

import contextlib
import multiprocessing
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from attention_harness.host import memory
from attention_harness.model.errors import ImplementationRaised, describe


@contextlib.contextmanager
def in_words(path: Path, *, own_interrupts: bool = False) -> Iterator[None]:
    """Turn whatever is raised within, by the code of the implementation's file or called by it, into its words.

    own_interrupts: nobody can interrupt this process, so that a KeyboardInterrupt is the implementation's
    """
    try:
        yield
    except ImplementationRaised:
        raise
    except BaseException as error:  # sys.exit in an implementation must not end a run, least of all with 0
        if isinstance(error, KeyboardInterrupt) and not (own_interrupts or multiprocessing.parent_process()):
            raise  # a person's
        raise ImplementationRaised(reason(error, path), type(error).__name__) from error


def reason(error: BaseException, path: Path) -> str:
    """Return the reason of an error that the implementation in a file raised, or that its answer led to."""
    frames = list(traceback.walk_tb(error.__traceback__))
    in_file = [index for index, (frame, _) in enumerate(frames) if frame.f_code.co_filename == str(path.resolve())]
    text = memory.out_of_memory(describe(error))
    shown = []
    if in_file:
        frame, line = frames[in_file[-1]]
        shown.append(f"{path.name}:{line} in {frame.f_code.co_name}")
    if frames and not _of_the_harness(frames[-1][0]) and in_file[-1:] != [len(frames) - 1]:
        shown.append(place(*frames[-1]))
    return text + (f" ({'; '.join(shown)})" if shown else "") + _caused(error, text)


def _caused(error: BaseException, text: str) -> str:
    """Return what an exception was raised from, or in the handling of, if it says anything new."""
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    described = "" if cause is None else describe(cause)
    return f"; caused by {described}" if described and described not in text else ""


def _of_the_harness(frame: FrameType) -> bool:
    ours, module = "attention_harness.", _module(frame)
    return module.startswith(ours) and not module.startswith(f"{ours}implementations.")


def _module(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", ""))


def place(frame: FrameType, line: int) -> str:
    """Return a frame by its module: the path of a file says nothing on another machine."""
    return f"{_module(frame) or Path(frame.f_code.co_filename).name}:{line} in {frame.f_code.co_name}"
