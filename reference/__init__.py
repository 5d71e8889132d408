"""The formulas of the notes in NumPy float64, one file each. The docstrings are the specification.

Nothing here imports an implementation, a framework or the harness: this is the oracle that the others are judged by.
"""
