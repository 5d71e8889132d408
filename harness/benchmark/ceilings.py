"""What this machine can do at most, measured beside the benchmark in the process of a pass.

The method is that of `BENCHMARKING` section 4: operations of 0.2 to 2 ms; the 95th percentile of the rate, since others
only ever lower it; for each dtype and number of threads; at the start and at the end of the campaign; on the clock that
the arm's own time rests on.

    matrix product   the fastest of scores' shape, the weighted sum's shape and a square one, in operations a second
    copy             bytes read and written a second, at the cache that holds the problem: L2, LLC, or DRAM
    softmax, tanh    elements a second
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attention_harness.benchmark.timing import Call
from attention_harness.benchmark.timing_host import Host, repeated
from attention_harness.model.dtypes import DTYPES
from attention_harness.model.pass_records import Ceiling

if TYPE_CHECKING:
    import torch

SECONDS, LEAST = 0.06, 20  # for each operation, and samples of it: on a busy machine few of them are undisturbed
LEAST_S = 0.2e-3  # of one call; four times larger at most is 2 ms or less
PERCENTILE = 0.95
BYTES = "bytes"  # in place of a dtype, of what is copied
CACHES = Path("/sys/devices/system/cpu/cpu0/cache")


def measure(dtypes: Sequence[str], *, threads: int, number: int = 0, when: Any = "start") -> Iterator[Ceiling]:
    """Yield every ceiling; the larger of wall and CPU rates is no mistake: CPU time leaves waiting out."""
    caches = cache_sizes()

    def ceiling(kind: str, dtype: str, units: float, call: Call) -> Ceiling:
        samples = repeated(call, SECONDS, LEAST)
        wall = _percentile([units / sample.wall_s for sample in samples])
        cpu = _percentile([units / sample.cpu_s for sample in samples if sample.cpu_s > 0]) if threads == 1 else None
        which: dict[str, Any] = {"number": number, "threads": threads, "when": when}
        return Ceiling(**which, kind=kind, dtype=dtype, wall=wall, cpu=cpu, caches=caches if dtype == BYTES else {})

    for name, units, call in _copies(caches):
        yield ceiling(name, BYTES, units, call)
    for dtype in dtypes:
        for kind, makers in _operations(dtype).items():
            for make in makers:
                yield ceiling(kind, dtype, *_fitted(make))


def _percentile(rates: Sequence[float]) -> float | None:
    return sorted(rates)[min(int(PERCENTILE * len(rates)), len(rates) - 1)] if rates else None


Make = Callable[[int], tuple[float, Call]]


def _fitted(make: Make) -> tuple[float, Call]:
    """Return the operation at the size at which a call takes 0.2 to 2 ms."""
    size = 1
    while True:
        units, call = make(size)
        fastest = min(Host().once(call, {}) for _ in range(3))
        if fastest >= LEAST_S or size >= 256:
            return units, call
        size *= 4 if fastest < LEAST_S / 8 else 2


def _operations(dtype: str) -> dict[str, list[Make]]:
    """Return what makes each operation at a size: operations or elements of a call, and the call."""
    import torch

    kind = getattr(torch, DTYPES[dtype].torch)

    def product(rows: int, inner: int, columns: int) -> Make:
        def make(size: int) -> tuple[float, Call]:
            left, right = _random(kind, size, rows, inner), _random(kind, size, inner, columns)
            out = torch.empty(size, rows, columns, dtype=kind)
            return 2.0 * size * rows * inner * columns, lambda: torch.bmm(left, right, out=out)

        return make

    def square(size: int) -> tuple[float, Call]:
        side = 96 * round(size**0.5)
        left, right, out = _random(kind, side, side), _random(kind, side, side), torch.empty(side, side, dtype=kind)
        return 2.0 * side**3, lambda: torch.mm(left, right, out=out)

    def elements(function: Callable[..., Any]) -> Make:
        def make(size: int) -> tuple[float, Call]:
            inputs = _random(kind, 64 * size, 256)
            out = torch.empty_like(inputs)
            return float(inputs.numel()), lambda: function(inputs, out)

        return make

    return {
        "matrix product": [product(128, 64, 128), product(128, 128, 64), square],
        "softmax": [elements(lambda inputs, out: torch.softmax(inputs, -1, out=out))],
        "tanh": [elements(lambda inputs, out: torch.tanh(inputs, out=out))],
    }


def _random(kind: torch.dtype, *shape: int) -> torch.Tensor:
    import torch

    return torch.randn(*shape).to(kind)


def _copies(caches: Mapping[str, int]) -> Iterator[tuple[str, float, Call]]:
    """Yield a copy within each level. Read and written bytes both count. DRAM: four times the last cache."""
    import torch

    largest = max(caches.values(), default=32 << 20)
    for name, size in {**{n: s // 4 for n, s in caches.items()}, "DRAM": min(4 * largest, 512 << 20)}.items():
        source = torch.ones(max(size, 1 << 12), dtype=torch.uint8)
        out = torch.empty_like(source)
        yield f"copy in {name}", 2.0 * source.numel(), lambda source=source, out=out: out.copy_(source)  # type: ignore[misc]


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
