"""Faults planted into the source of the shipped eager implementation: (name, what stands there, what is put there)."""

from __future__ import annotations

from pathlib import Path

import implementations
from harness import registry

EAGER = Path(implementations.__path__[0]) / "eager.py"

FAULTS = {
    "scale by d instead of its root": [("scores / math.sqrt(query.shape[-1])", "scores / query.shape[-1]")],
    "last key dropped": [("return weights @ value, weights", "return weights[..., :-1] @ value[..., :-1, :], weights")],
    "causal off by one": [("position <= last", "position < last")],
    "causal sees one key of the future": [("position <= last[:, None]", "position <= last[:, None] + 1")],
    "mask polarity": [("else [mask]", "else [~mask]")],
    "softmax over the queries": [("scores.softmax(-1)", "scores.softmax(-2)")],
    "valid length of the neighbouring batch": [("= valid_lens if", "= valid_lens.roll(1, 0) if")],
    "heads mixed with the sequence": [
        ("x.unflatten(-1, (heads, -1)).transpose(1, 2)", "x.reshape(x.shape[0], heads, x.shape[1], -1)")
    ],
    "bfloat16 scores inside a float32 call": [
        (
            "weights = softmax(scores, **visibility)\n    return weights @",
            "weights = softmax(scores.bfloat16().to(scores.dtype), **visibility)\n    return weights @",
        )
    ],
    "an input changed in place": [("scores = query @ key.mT\n", "scores = query.mul_(2) @ key.mT / 2\n")],
    "bias before the scale": [
        ("scores / math.sqrt(query.shape[-1])", "(scores + visibility.pop('bias', 0)) / math.sqrt(query.shape[-1])")
    ],
    "grouped heads tiled": [
        (
            "x.repeat_interleave(query.shape[-3] // x.shape[-3], dim=-3)",
            "x.repeat(1, query.shape[-3] // x.shape[-3], 1, 1)",
        )
    ],
    "empty rows are the mean": [
        (
            ".masked_fill(empty, 0.0)\n    return scores.softmax(-1).masked_fill(empty, 0.0)",
            ".masked_fill(empty, 0.0)\n    return scores.softmax(-1)",
        )
    ],
    "residual missing": [("return sequence + change", "return change")],
    "encoding shifted by one position": [("torch.arange(length, device", "torch.arange(1, length + 1, device")],
    "kernel without its half": [("* -0.5", "* -1.0")],
    "a finite fill": [("masked_fill(~visible, -math.inf)", "masked_fill(~visible, -50.0)")],
    "answers cached by shape": [
        (
            "return functools.partial(globals()[case.mechanism], **settings)",
            "cache = {}\n    f = functools.partial(globals()[case.mechanism], **settings)\n    return lambda **t: cache.setdefault(tuple(x.shape for x in t.values()), None) or cache.update({tuple(x.shape for x in t.values()): f(**t)}) or cache[tuple(x.shape for x in t.values())]",
        )
    ],
}


def planted(fault: str, directory: Path) -> registry.Implementation:
    """Return the eager implementation with the fault; "" plants nothing."""
    source = EAGER.read_text(encoding="utf-8")
    for stands, put in FAULTS.get(fault, []):
        assert stands in source, f"{fault}: eager.py no longer has {stands!r}; plant the fault where it went"
        source = source.replace(stands, put)
    path = directory / f"eager_{''.join(c if c.isalnum() else '_' for c in fault) or 'untouched'}.py"
    path.write_text(source, encoding="utf-8")
    return registry.select([path.stem], [path])[0]
