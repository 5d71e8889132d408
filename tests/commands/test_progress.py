"""How long is left is told from what this run has timed."""

from __future__ import annotations

from attention_harness.commands.console import Pace


def shown(*calls: tuple[int, int, float]) -> list[float | None]:
    """Return what is left after each call, as it is made at these times."""
    pace = Pace()
    return [pace.left(done, total, now) for done, total, now in calls]


def test_what_is_left_goes_by_what_was_done():
    """Nothing before the first; then its time for each of the others, preparation included."""
    assert [None, None, 90.0, 80.0] == shown((0, 10, 0.0), (0, 10, 4.0), (1, 10, 10.0), (2, 10, 20.0))


def test_a_further_stage_is_counted_anew():
    """After ten minutes of five cells come ten further cells of 20 s each, or five again."""
    assert [None, None, 180.0] == shown((5, 5, 600.0), (0, 10, 600.0), (1, 10, 620.0))[-3:]
    assert [120.0, None, 80.0] == shown((0, 5, 0.0), (4, 5, 480.0), (0, 5, 600.0), (1, 5, 620.0))[-3:]


def test_what_an_earlier_run_did_took_no_time():
    """Eight of ten were read at once; the ninth took 30 s."""
    assert [None, None, 30.0] == shown((0, 10, 0.0), (8, 10, 0.01), (9, 10, 30.01))
