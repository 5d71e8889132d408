"""What a machine has of what the harness needs, as findings; standard library alone."""

from attention_harness.commands.prerequisites.finding import OK, Finding

__all__ = ["OK", "Finding"]
