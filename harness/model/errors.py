"""The error that a user's mistake raises."""

from __future__ import annotations


class HarnessError(Exception):
    """A mistake of the user's: shown as one line, exit status 2."""
