"""The formulas of the notes, and some beyond them, in NumPy float64. The docstrings are the specification.

Nothing here imports an implementation, a framework or the harness: this is the oracle that the others are judged by.
"""
