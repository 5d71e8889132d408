"""Measures the error rates of the benchmark itself: false alarms, and slowdowns that it misses."""
