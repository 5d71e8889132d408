"""The plan, and where it runs: worker processes, limits, process state. Prints nothing."""
