"""Named workloads, one record each in `workloads.toml`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import msgspec

from attention_harness.model.measurement import Direction
from attention_harness.registry import unknown


class Workload(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A case with a name; `workloads.toml` says what the fields mean."""

    name: str
    cites: str
    case: str
    matrix: Literal["quick", "default", "full"] = "default"
    dtypes: tuple[str, ...] = ()
    directions: tuple[Direction, ...] = ("forward",)
    gated_on: str = ""
    leaves_out: tuple[tuple[str, str], ...] = ()


_FILE = Path(__file__).with_suffix(".toml")
WORKLOADS = tuple(msgspec.toml.decode(_FILE.read_bytes(), type=dict[str, tuple[Workload, ...]])["workload"])


def of_matrix(size: str) -> tuple[Workload, ...]:
    """Return the workloads of the quick, the default or the full matrix; each has those of the smaller ones."""
    sizes = ("quick", "default", "full")
    return tuple(one for one in WORKLOADS if one.matrix in sizes[: sizes.index(size) + 1])


def select(names: Sequence[str], among: Sequence[Workload] = WORKLOADS) -> tuple[Workload, ...]:
    """Return the named workloads, in the order of the names."""
    known = {workload.name: workload for workload in among}
    for name in names:
        if name not in known:
            raise unknown("workload", name, known)
    return tuple(known[name] for name in names)
