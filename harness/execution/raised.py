"""What was raised during a check, in one line: by the implementation, with its library's frame and cause, or by us."""

from __future__ import annotations

import traceback
from pathlib import Path
from types import FrameType

from attention_harness.execution import in_process, limits
from attention_harness.model.errors import HarnessError, describe


def reason(error: BaseException, name: str, path: Path) -> str:
    """Return the reason of an error. name, path: of the implementation.

    What was raised without passing through the implementation's code is no error of the implementation.
    """
    frames = list(traceback.walk_tb(error.__traceback__))
    places = [_place(frame, line) for frame, line in frames]
    in_file = [index for index, (frame, _) in enumerate(frames) if frame.f_code.co_filename == str(path.resolve())]
    text = limits.out_of_memory(describe(error))
    reached = bool(in_file) or any(_module(frame) == in_process.__name__ for frame, _ in frames)
    if not reached and isinstance(error, Exception) and not isinstance(error, HarnessError) and text == describe(error):
        where = f" ({places[-1]})" if places else ""
        return f"a fault of the harness, not of {name}: {text}{where}; please report it with the id of the case"
    shown = []
    if in_file:
        frame, line = frames[in_file[-1]]
        shown.append(f"{path.name}:{line} in {frame.f_code.co_name}")
    if frames and not _of_the_harness(frames[-1][0]) and in_file[-1:] != [len(frames) - 1]:
        shown.append(places[-1])
    return text + (f" ({'; '.join(shown)})" if shown else "") + _caused(error, text)


def _caused(error: BaseException, text: str) -> str:
    """Return what an exception was raised from, or in the handling of, if it says anything new."""
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    described = "" if cause is None else describe(cause)
    return f"; caused by {described}" if described and described not in text else ""


def _module(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", ""))


def _of_the_harness(frame: FrameType) -> bool:
    ours = "attention_harness."
    return _module(frame).startswith(ours) and not _module(frame).startswith(f"{ours}implementations.")


def _place(frame: FrameType, line: int) -> str:
    """Return a frame by its module: the path of a file says nothing on another machine."""
    return f"{_module(frame) or Path(frame.f_code.co_filename).name}:{line} in {frame.f_code.co_name}"
