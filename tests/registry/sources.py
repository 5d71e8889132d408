"""Implementation files that tests write: a right one, and ones that are wrong in one way each."""

from __future__ import annotations

from pathlib import Path

TINY = "scaled_dot_product-B2H2Hk2Lq2Lk3D4Dv2-float32-plain-ordinary-contiguous"

_TEXT = '''"""Scaled dot product of {name}."""

{top}
from attention_harness import Capabilities

CAPABILITIES = Capabilities(mechanisms=("scaled_dot_product",), {declared})


def prepare(case):
    def attend(query, key, value):
        {body}
        return ({scores}).softmax(-1) @ value

    return attend


{bottom}
'''


def write(
    path: Path,
    *,
    top: str = "",
    declared: str = "",
    body: str = "pass",
    scores: str = "query @ key.mT / query.shape[-1] ** 0.5",
    bottom: str = "",
) -> Path:
    """Write an implementation of scaled_dot_product to a file, and return its path."""
    path.write_text(
        _TEXT.format(name=path.stem, top=top, declared=declared, body=body, scores=scores, bottom=bottom),
        encoding="utf-8",
    )
    return path
