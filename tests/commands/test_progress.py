"""Without a terminal, a line now and then says how far a command is, and how long is left by what it did itself."""

from __future__ import annotations

import pytest

from attention_harness.commands import console


@pytest.fixture
def lines(monkeypatch, capsys):
    """Return a function that calls `show(done, total)` at these seconds and returns the lines that are printed."""

    def shown(*calls: tuple[int, int, float]) -> list[str]:
        now = 0.0
        monkeypatch.setattr(console.time, "monotonic", lambda: now)
        with console.progress("bench") as show:
            for done, total, now in calls:  # noqa: B007
                show("cell", done, total)
        return capsys.readouterr().err.splitlines()

    return shown


def test_a_line_comes_every_quarter_of_a_minute(lines):
    """Not with every step."""
    assert ["bench: cell (4 of 9), about 20 s left"] == lines(
        (1, 9, 4.0), (2, 9, 8.0), (3, 9, 12.0), (4, 9, 16.0), (5, 9, 20.0)
    )


def test_what_an_earlier_run_did_took_no_time(lines):
    """Eight of ten were read at once; the ninth took 30 s."""
    assert ["bench: cell (9 of 10), about 30 s left"] == lines((8, 10, 0.01), (9, 10, 30.01))


def test_a_further_stage_is_counted_anew(lines):
    """After ten minutes of five cells come ten further cells of 20 s each."""
    calls = ((5, 5, 600.0), (0, 10, 600.0), (1, 10, 620.0), (2, 10, 640.0))
    assert "bench: cell (2 of 10), about 2.7 min left" == lines(*calls)[-1]
