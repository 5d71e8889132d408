"""An option that `bench` would ignore is a mistake: it would be taken for obeyed."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize(
    ("instead", "given", "option"),
    [
        (("--self-check",), ("--against", "HEAD"), "--against"),
        (("--self-check",), ("--baseline", "torch_sdpa"), "--baseline"),
        (("--self-check",), ("--threads", "2"), "--threads"),
        (("--self-check",), ("--memory", "4GiB"), "--memory"),
        (("--self-check",), ("--minutes", "1"), "--minutes"),
        (("--self-check",), ("eager",), "NAME"),
        (("--against", "HEAD"), ("--full",), "--full"),
        (("--against", "HEAD"), ("--resume",), "--resume"),
    ],
)
def test_it_is_refused(mistake, instead, given, option):
    """Also one with a default that says something."""
    assert f"bench {instead[0]} takes no {option}: leave it out" == mistake("bench", *given, *instead)
