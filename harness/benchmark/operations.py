"""The operations of torch whose rates are this machine's ceilings, each with memory of its own.

    matrix product   two numbers' product and its addition are 2 operations. The cell's own shapes, a square one and a
                     larger one; by torch's products (MKL on x86), and by oneDNN where torch has its operator. On some
                     processors either reaches half of the other. The fastest is the ceiling.
    softmax          elements
    tanh             elements. That of a sum of two is n / (n + 2), where n is made of exponentials of either alone. So
                     the rate is that of torch's tanh or of its reciprocal, whichever is faster.
    copy             bytes read and written, at the cache that holds the problem: L2, LLC, or DRAM. By a copy, or by a
                     sum, which reads alone: of what is read and hardly written that is the ceiling

In a dtype narrower than float32, float32's operations count as well: who converts first may use them, and on processors
without float16 arithmetic they are 30 times faster.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attention_harness.benchmark.costs import BYTES, COPY, PRODUCT, SOFTMAX, TANH
from attention_harness.benchmark.timing import Call
from attention_harness.cases import inputs
from attention_harness.model.case import Case
from attention_harness.model.dtypes import DTYPES
from attention_harness.registry import mechanisms

if TYPE_CHECKING:
    import torch

CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
_LONGEST = 256  # positions of a product in a cell's shape: it grows by heads
_GROWTH = 256  # the largest size of an operation
LEAST_S, LONGER_S = 0.2e-3, 0.5e-3  # of one call; four times larger at most is 2 ms or less
_PIECE = 4 << 20  # bytes of a copy in DRAM: 0.2 ms at 40 GB/s, read and written
_LAST_CACHE = 32 << 20  # bytes, where the kernel does not tell

Make = Callable[[int], tuple[float, Call]]
"""Makes an operation at a size: the units of one call, and the call."""


@dataclass(frozen=True)
class Operation:
    """One of the operations whose best rate is a ceiling.

    kind, dtype   of the ceiling; of a copy the dtype is BYTES
    name          tells it from the others of its kind; equal ones have one name
    make          makes it at a size, the largest at most; least_s: the seconds that a call should take at least
    """

    kind: str
    dtype: str
    name: str
    make: Make
    largest: int = _GROWTH
    least_s: float = LEAST_S


def operations(kind: str, case: Case, caches: Mapping[str, int]) -> Iterator[Operation]:
    """Yield the operations whose fastest is the ceiling of a kind, for a case. caches: bytes of each level"""
    if kind.startswith(COPY):
        level = kind.removeprefix(COPY)
        yield Operation(kind, BYTES, "copy_", _copy(level, caches), 1)
        yield Operation(kind, BYTES, "sum", _reading(level, caches), 1)
        return
    makers = {PRODUCT: _products, SOFTMAX: _softmax, TANH: _tanh}[kind]
    for dtype in dict.fromkeys((case.dtype, case.dtype if case.format.single else "float32")):
        for name, make in makers(dtype, case):
            least_s = LONGER_S if name.endswith("larger square") else LEAST_S
            yield Operation(kind, case.dtype, f"{name} in {dtype}", make, least_s=least_s)


def _products(dtype: str, case: Case) -> Iterator[tuple[str, Make]]:
    """Yield the products of a dtype by name: in the shapes of the case, and square."""
    space = _onednn()
    for rows, inner, columns in _shapes(case):
        name = f"{rows} x {inner} x {columns}"
        yield f"bmm {name}", _batched(dtype, rows, inner, columns)
        if space:
            yield f"oneDNN {name}", _onednn_product(dtype, space, partial(_taller, rows, inner, columns))
    for name, scale in (("square", 1.0), ("larger square", 1.25)):
        yield f"mm {name}", _square(dtype, scale)
        if space:
            yield f"oneDNN {name}", _onednn_product(dtype, space, partial(_sides, scale))


def _shapes(case: Case) -> Iterator[tuple[int, int, int]]:
    """Yield the products of one head, of scores and of the weighted sum, cut at 256 positions."""
    *_, queries, keys = inputs.shape_of(mechanisms()[case.mechanism].scores, case.sizes) or (0, 0)
    width = case.sizes.get("D", 0)
    queries, keys = min(queries, _LONGEST), min(keys, _LONGEST)
    if queries and keys and width:
        yield queries, width, keys
        yield queries, keys, case.sizes.get("Dv", width)


def _batched(dtype: str, rows: int, inner: int, columns: int) -> Make:
    def make(size: int) -> tuple[float, Call]:
        import torch

        left, right = _random(dtype, size, rows, inner), _random(dtype, size, inner, columns)
        out = torch.empty(size, rows, columns, dtype=left.dtype)
        return 2.0 * size * rows * inner * columns, lambda: torch.bmm(left, right, out=out)

    return make


def _taller(rows: int, inner: int, columns: int, size: int) -> tuple[int, int, int]:
    """Return the shape of as many heads on top of each other, with one right factor."""
    return rows * size, inner, columns


def _sides(scale: float, size: int) -> tuple[int, int, int]:
    """Return the shape of a square product: 128 at size 1; multiples of 64, since odd sizes are slower."""
    side = 64 * round(2 * scale * size**0.5)
    return side, side, side


def _square(dtype: str, scale: float) -> Make:
    def make(size: int) -> tuple[float, Call]:
        import torch

        side, _, _ = _sides(scale, size)
        left, right = _random(dtype, side, side), _random(dtype, side, side)
        out = torch.empty(side, side, dtype=left.dtype)
        return 2.0 * side**3, lambda: torch.mm(left, right, out=out)

    return make


def _onednn() -> Any:
    """Return torch's namespace of oneDNN operators, or None where it lacks the product. They are private to torch."""
    import torch

    namespace = getattr(torch.ops, "mkldnn", None)
    return namespace if hasattr(namespace, "_linear_pointwise") else None


def _onednn_product(dtype: str, space: Any, shape: Callable[[int], tuple[int, int, int]]) -> Make:
    """Make x w^T by oneDNN; w is laid out beforehand where torch can do that, as libraries do with constants."""

    def make(size: int) -> tuple[float, Call]:
        rows, inner, columns = shape(size)
        left, right = _random(dtype, rows, inner), _random(dtype, columns, inner)
        if hasattr(space, "_reorder_linear_weight"):
            right = space._reorder_linear_weight(right, rows)
        return 2.0 * rows * inner * columns, lambda: space._linear_pointwise(left, right, None, "none", [], "")

    return make


def _softmax(dtype: str, case: Case) -> Iterator[tuple[str, Make]]:
    import torch

    yield "softmax", _elements(dtype, lambda inputs, out: torch.softmax(inputs, -1, out=out))


def _tanh(dtype: str, case: Case) -> Iterator[tuple[str, Make]]:
    import torch

    yield "tanh", _elements(dtype, lambda inputs, out: torch.tanh(inputs, out=out))
    yield "reciprocal", _elements(dtype, lambda inputs, out: torch.reciprocal(inputs, out=out))


def _elements(dtype: str, function: Callable[..., Any]) -> Make:
    """Make an operation on each of 2^16 numbers, again and again: they and the results stay in the second-level cache.

    Of more numbers it would be the memory that is measured. Of 2^16 the calls themselves are 5 % of the time or less.
    """

    def make(size: int) -> tuple[float, Call]:
        import torch

        inputs = _random(dtype, 256, 256)
        out = torch.empty_like(inputs)

        def call() -> None:
            for _ in range(size):
                function(inputs, out)

        return float(inputs.numel() * size), call

    return make


def _random(dtype: str, *shape: int) -> torch.Tensor:
    import torch

    return torch.randn(*shape).to(getattr(torch, DTYPES[dtype].torch))


def _copy(level: str, caches: Mapping[str, int]) -> Make:
    """Make a copy within a level of the caches, which holds both sides twice. Read and written bytes both count.

    DRAM: the next piece of four times the last cache at each call, so that no cache holds it.
    """

    def make(size: int) -> tuple[float, Call]:
        import torch

        if level in caches:
            source = torch.ones(max(caches[level] // 4, 1 << 12), dtype=torch.uint8)
            out = torch.empty_like(source)
            return 2.0 * source.numel(), lambda: out.copy_(source)
        whole = min(4 * max(caches.values(), default=_LAST_CACHE), 512 << 20)
        count = max(whole // _PIECE, 1)
        sources, outs = (torch.ones(count, _PIECE, dtype=torch.uint8) for _ in range(2))
        pairs = itertools.cycle(list(zip(sources, outs, strict=True)))

        def copy() -> None:
            source, out = next(pairs)
            out.copy_(source)

        return 2.0 * _PIECE, copy

    return make


def _reading(level: str, caches: Mapping[str, int]) -> Make:
    """Make a sum over what a level of the caches holds twice; in DRAM over the next piece, as `_copy` takes it."""

    def make(size: int) -> tuple[float, Call]:
        import torch

        if level in caches:
            source = torch.ones(max(caches[level] // 8, 1 << 10))
            return 4.0 * source.numel(), lambda: source.sum()
        whole = min(4 * max(caches.values(), default=_LAST_CACHE), 512 << 20)
        pieces = itertools.cycle(torch.ones(max(whole // _PIECE, 1), _PIECE // 4))
        return float(_PIECE), lambda: next(pieces).sum()

    return make


def cache_sizes(folder: Path = CACHES) -> dict[str, int]:
    """Return the bytes of the second and the last cache level, or {} where the kernel does not tell."""
    found = {}
    try:
        for index in sorted(folder.glob("index*")):
            if (index / "type").read_text().strip() in ("Data", "Unified"):
                size = (index / "size").read_text().strip()
                unit = {"K": 1 << 10, "M": 1 << 20}.get(size[-1:], 1)
                found[int((index / "level").read_text())] = int(size.rstrip("KM")) * unit
    except (OSError, ValueError):
        return {}
    levels = {level: size for level, size in sorted(found.items()) if level > 1}
    return {"LLC" if level == max(levels) else f"L{level}": size for level, size in levels.items()}
