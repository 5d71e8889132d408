"""What a worker prints is read to its end, shown up to a limit, and searched for what was said about its death."""

from __future__ import annotations

import os

import pytest

from attention_harness.execution.lost import SHOWN, Output, last_words


def test_a_flood_is_shown_up_to_a_limit_and_its_end_is_kept(capfd):
    """The writer is never held up, the terminal gets the first part and a note, the verdict the last."""
    caught = Output()
    for _ in range(256):
        os.write(caught.writer.fileno(), b"x" * (1 << 16))
    os.write(caught.writer.fileno(), b"the end\n")
    caught.close()
    shown = capfd.readouterr().err
    assert "no more of it is shown" in shown
    assert SHOWN <= len(shown) < SHOWN + 200
    assert caught.text.endswith("xthe end\n")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "one\nterminate called after throwing an instance of 'std::bad_alloc'\n  what():  std::bad_alloc\n",
            "terminate called after throwing an instance of 'std::bad_alloc'; what(): std::bad_alloc",
        ),
        (
            "python: kernel.c:3: main: Assertion `n > 0' failed.\n",
            "python: kernel.c:3: main: Assertion `n > 0' failed.",
        ),
        ("nothing of note\n", ""),
    ],
)
def test_last_words(text, expected):
    """What the C and C++ runtimes say before they abort; nothing of what an implementation prints otherwise."""
    assert expected == last_words(text)


def test_frames_of_a_fatal_signal():
    """The innermost first, of the last fatal error alone."""
    caught = Output(shown=0)
    text = (
        'Fatal Python error: Aborted\n\nCurrent thread 0x1 (most recent call first):\n  File "/a/k.py", line 3 in run\n'
    )
    os.write(caught.writer.fileno(), (text + '  File "/b/h.py", line 9 in call\n').encode())
    caught.close()
    assert [("/a/k.py", "3", "run"), ("/b/h.py", "9", "call")] == caught.frames()
