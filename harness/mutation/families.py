"""Families of mutants, and what of the case matrix was written with each in sight.

A suite that is tuned to its own mutants kills them all and says nothing about faults that nobody planted. A family is a
file of `mutants/`; it is judged by what the suite would be without it. Rows that were written by hand are left out for
every family, since each was written for some fault. `families.toml` names the contents and layouts of the inputs that
were written for a family. What is left was made by a rule from declarations: the covering rows, the matrix, the forms
of options, and worked examples.
"""

from __future__ import annotations

import functools
import tomllib
from dataclasses import replace
from pathlib import Path

from attention_harness.mutation.declared import Suite

GENERALISES = 0.95
"""The part of the mutants that a suite has to kill which has not seen their family."""

LIST = Path(__file__).with_name("families.toml")


def without(suite: Suite, family: str) -> Suite:
    """Return a suite without what was written with a family of mutants in sight."""
    return replace(suite, by_hand=False, without=levels_of().get(family, ()))


@functools.cache
def levels_of() -> dict[str, tuple[str, ...]]:
    """Return the levels that were written for a family: family -> `factor=level`."""
    return {
        name.replace("_", " "): tuple(family["levels"])
        for name, family in tomllib.loads(LIST.read_text(encoding="utf-8")).items()
    }
