"""Recorded real inputs: query, key, value and padding mask of layers of a trained model."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

RECORDINGS = Path(__file__).parent / "recordings"


@functools.cache
def arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Return the arrays of a recording by name, `LAYER.query` and so on."""
    with np.load(path, allow_pickle=False) as archive:
        return dict(archive)


def recordings() -> tuple[str, ...]:
    """Return the names of the recorded inputs: file and layer."""
    return tuple(
        f"{path.stem}_{layer}"
        for path in sorted(RECORDINGS.glob("*.npz"))
        for layer in dict.fromkeys(name.split(".")[0] for name in arrays(path))
    )


def recorded(name: str, tensor: str) -> NDArray[Any]:
    """Return one tensor of a recorded input."""
    stem, _, layer = name.partition("_")
    return arrays(RECORDINGS / f"{stem}.npz")[f"{layer}.{tensor}"]
