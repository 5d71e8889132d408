"""Timing: what conforms is timed side by side, in fresh processes, and answered with an interval."""
