"""Which implementation for this problem: the conforming ones ranked with intervals, and why each other one is out."""
