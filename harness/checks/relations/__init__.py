"""The metamorphic relations of attention: what its mathematics promises of every implementation, without an oracle.

A relation changes a problem in a way that must not change the answer, or must change it in a known way, and compares
the implementation with itself or with its own inputs. The reference's values play no part: only the error bounds of the
changed problem's numbers are used. Two answers that the mathematics makes equal may differ by the sum of their bounds,
element by element. So a mistake in a reference's formula, which accuracy would follow, does not hide here, and a
relation that fails says in words what is wrong.

The conditions of a relation say where it is true; `sampled` says where the suite judges it. On cases drawn at random
every relation that is true is judged, so that the case's id alone replays a failure.
"""
