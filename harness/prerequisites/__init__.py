"""What a machine has of what the harness needs, as findings; standard library alone."""

from harness.prerequisites.finding import OK, Finding

__all__ = ["OK", "Finding"]
