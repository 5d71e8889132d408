"""Case -> named torch tensors, the same bits on every machine.

Numbers are drawn from Philox's raw integers, whose stream is fixed, by additions and exact scalings alone: no `log`,
`exp` or generator whose last bit depends on a library. A normal number is a sum of twelve uniforms less six
(Irwin-Hall): mean 0, variance 1, within +-6, with full 53-bit mantissas. Nothing is uniform in (0, 1): such inputs make
all weights alike and hide mutants.
"""

from __future__ import annotations

import functools
import hashlib
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from attention_harness.cases import captures
from attention_harness.model.case import Case
from attention_harness.model.errors import HarnessError
from attention_harness.reference.specification import Input, Mechanism
from attention_harness.registry import mechanisms

if TYPE_CHECKING:
    import torch

Array = NDArray[np.float64]

RECORDINGS = Path(__file__).parent / "recordings"
_SHOWN, _HIDDEN = 7, 10  # a mask shows 7 keys of 10
_KEPT_NUMBERS = 1 << 13  # draws up to so many numbers, 64 KiB, are kept: at most 1024 of them


# --- drawing numbers


def _key(case: Case, name: str) -> int:
    sizes = ",".join(f"{axis}{length}" for axis, length in case.sizes.items())
    digest = hashlib.sha256(f"{case.mechanism}|{sizes}|{case.seed}|{name}".encode()).digest()
    return int.from_bytes(digest[:16], "little")


def _normal(case: Case, name: str, shape: tuple[int, ...]) -> Array:
    small = math.prod(shape) <= _KEPT_NUMBERS
    return (_normal_again if small else _normal_anew)(_key(case, name), shape)


def _normal_anew(key: int, shape: tuple[int, ...]) -> Array:
    stream, count = np.random.Philox(key=key), math.prod(shape)
    total = np.zeros(count)
    for _ in range(12):  # one addition after another: the order is part of the number
        total += (stream.random_raw(count) >> np.uint64(11)).astype(np.float64) * 2.0**-53
    total = (total - 6.0).reshape(shape)
    total.flags.writeable = False  # it may be handed out again
    return total


# Every check of every implementation asks for the same numbers: drawing them took a fifth of a run.
_normal_again = functools.lru_cache(maxsize=1024)(_normal_anew)


def drawn(case: Case, name: str, shape: tuple[int, ...]) -> Array:
    """Return normal numbers of one's own for a case: an upstream gradient, a direction."""
    return _normal(case, name, shape).copy()


def _choice(case: Case, name: str, shape: tuple[int, ...], below: int) -> NDArray[np.int64]:
    raw = np.random.Philox(key=_key(case, name)).random_raw(math.prod(shape))
    return (raw % np.uint64(max(below, 1))).astype(np.int64).reshape(shape)


# --- distributions: what is done to an ordinary tensor, by its role


def _every(step: int, factor: float, x: Array) -> Array:
    x = x.copy()
    x[..., ::step, :] *= factor
    return x


def _channel(factor: float, x: Array) -> Array:
    x = x.copy()
    x[..., :1] *= factor
    return x


def _lifted(offset: float, x: Array) -> Array:
    x = x.copy()
    x[..., :1] += offset
    return x


def _near_first(x: Array) -> Array:
    return x[..., :1, :] + x * 2.0**-10


Change = Callable[[Array], Array]

DISTRIBUTIONS: dict[str, dict[str, Change]] = {
    "ordinary": {},
    # logits of some tens: the softmax is decided by few keys, and unshifted exponentials overflow in half precision
    "large": {"query": lambda x: x * 4, "key": lambda x: x * 4, "scores": lambda x: x * 16},
    # a common offset of the logits, which cancels, and one of the values, which does not
    "shifted": {"key": lambda x: x + 3, "value": lambda x: x + 10, "scores": lambda x: x - 100},
    # every logit far below zero: a finite fill of what is masked would win over what is kept
    "sunken": {
        "query": lambda x: _lifted(24, x),
        "key": lambda x: _lifted(-24, x),
        "scores": lambda x: x - 30000,
    },
    # every fifth key stands out
    "peaked": {"key": lambda x: _every(5, 8, x), "scores": lambda x: _channel(16, x * 2)},
    "nearly_equal": {"key": _near_first, "scores": lambda x: 7 + x * 2.0**-10},
    # one channel dominates, as in trained language models
    "outlier": {"query": lambda x: _channel(4, x), "key": lambda x: _channel(8, x), "scores": lambda x: _channel(8, x)},
    "tiny": {role: (lambda x: x * 2.0**-12) for role in ("query", "key", "value", "scores")},
}
_ROLES = {"sequence": "query", "context": "key"}


def check_content(case: Case) -> None:
    """Refuse a content that is no distribution, example or recording."""
    mechanism = mechanisms()[case.mechanism]
    prefix, _, name = case.content.partition(".")
    if case.content in DISTRIBUTIONS:
        return
    if prefix == "example" and name:
        known = [example.name for example in mechanism.examples]
        if name in known:
            return
        raise HarnessError(f"no example {name!r} of {mechanism.name}; known: {', '.join(known) or 'none'}")
    if prefix == "recorded" and name:
        if name in recordings():
            return
        raise HarnessError(f"no recording {name!r}; known: {', '.join(recordings())}")
    raise HarnessError(
        f"unknown content {case.content!r}; known: {', '.join(DISTRIBUTIONS)}, example.NAME, recorded.NAME"
    )


def recordings() -> tuple[str, ...]:
    """Return the names of the recorded real inputs: file and layer."""
    return tuple(
        f"{path.stem}_{layer}"
        for path in sorted(RECORDINGS.glob("*.npz"))
        for layer in dict.fromkeys(name.split(".")[0] for name in recording(path))
    )


@functools.cache
def recording(path: Path) -> dict[str, NDArray[Any]]:
    """Return the arrays of a recording, by name."""
    return captures.read(path)


def _recorded(content: str, name: str) -> Any:
    stem, _, layer = content.removeprefix("recorded.").partition("_")
    return recording(RECORDINGS / f"{stem}.npz")[f"{layer}.{name}"]


# --- the tensors of a case


def shape_of(axes: tuple[str, ...], sizes: Mapping[str, int]) -> tuple[int, ...]:
    """Return lengths for axes such as ("A", "Dq+Dk") or ("1",)."""
    return tuple(sum(int(letter) if letter.isdigit() else sizes[letter] for letter in axis.split("+")) for axis in axes)


def _tensor(case: Case, declared: Input) -> Array:
    shape = shape_of(declared.axes, case.sizes)
    if case.content.startswith("example."):
        example = mechanisms()[case.mechanism].example(case.content.removeprefix("example."))
        return _fitted(case, declared.name, np.asarray(example.inputs[declared.name], np.float64), shape)
    if case.content.startswith("recorded."):
        return _fitted(case, declared.name, _recorded(case.content, declared.name).astype(np.float64), shape)
    drawn = _normal(case, declared.name, shape)
    if declared.parameter:  # so that a layer keeps the size of what it is given
        return drawn / math.sqrt(max(shape[-1], 1)) if declared.name != "w" else 0.75 + np.abs(drawn) / 4
    change = DISTRIBUTIONS[case.content].get(_ROLES.get(declared.name, declared.name))
    return change(drawn) if change else drawn


def _fitted(case: Case, name: str, array: Any, shape: tuple[int, ...]) -> Any:
    if array.shape != shape:
        raise HarnessError(f"{case.id}: {case.content} has {name} of shape {array.shape}, the sizes say {shape}")
    return array


def score_shape(mechanism: Mechanism, case: Case, form: str) -> tuple[int, ...]:
    """Return the shape of a mask or bias: `full`, `batch` (keys of each batch), `head`, `query` (Lq, Lk)."""
    shape = shape_of(mechanism.scores, case.sizes)
    heads = (1,) * (len(shape) - 3)
    return {
        "full": shape,
        "batch": (shape[0], *heads, 1, shape[-1]),
        "head": (1, *shape[1:]),
        "query": shape[-2:],
    }[form]


def _first_seen(case: Case, mechanism: Mechanism) -> int:
    """Return the first query that a causal corner lets see two keys; one alone where none can see two."""
    queries, keys = shape_of(mechanism.scores, case.sizes)[-2:]
    first = {"top_left": 1, "bottom_right": queries - keys + 1}.get(case.options.get("causal", ""), 0)
    return max(min(first, queries - 1), 0)


def _show_two_keys(shown: NDArray[np.bool_], row: int, layout: str) -> None:
    """Let that query of the first batch and head see two keys: with one alone no error of a score or weight shows."""
    if shown.ndim == 2 and layout == "expanded":  # the first row becomes everyone's
        row = 0
    if shown.size:
        shown[(*(0,) * (shown.ndim - 2), min(row, shown.shape[-2] - 1), slice(2))] = True


def _mask(case: Case, mechanism: Mechanism) -> NDArray[np.bool_]:
    shape = score_shape(mechanism, case, case.options["mask"])
    if case.content.startswith("recorded."):
        return _fitted(case, "mask", _recorded(case.content, "mask"), shape)
    mask = _choice(case, "mask", shape, _HIDDEN) < _SHOWN
    if case.seed % 2 and math.prod(shape[:-1]) > 1:
        mask[(-1,) * (mask.ndim - 1)] = False  # a row that sees no key; not the first, which `expanded` repeats
    _show_two_keys(mask, _first_seen(case, mechanism), case.layout)
    return mask


def _bias(case: Case, mechanism: Mechanism) -> Array:
    shape = score_shape(mechanism, case, case.options["bias"])
    bias = _normal(case, "bias", shape)
    shown = _choice(case, "bias.hidden", shape, _HIDDEN) < _SHOWN + 1
    _show_two_keys(shown, _first_seen(case, mechanism), case.layout)
    return np.where(shown, bias, -np.inf)


def _valid_lens(case: Case, mechanism: Mechanism) -> NDArray[np.int64]:
    batch, *_, queries, keys = shape_of(mechanism.scores, case.sizes)
    if case.content.startswith("example."):
        example = mechanism.example(case.content.removeprefix("example."))
        return np.asarray(example.options["valid_lens"], np.int64)
    shape = (batch,) if case.options["valid_lens"] == "batch" else (batch, queries)
    lens = _choice(case, "valid_lens", shape, keys + 1)
    if lens.size > 1 and case.seed % 2 == 0:
        lens.flat[-1] = 0  # a row that sees no key
    if lens.size:  # and one that sees two, in the first batch, which `expanded` repeats
        row = min(_first_seen(case, mechanism), lens.shape[-1] - 1) if lens.ndim == 2 else 0
        lens.flat[row] = max(lens.flat[row], min(2, keys))
    return lens


def _scale(case: Case, mechanism: Mechanism) -> Array:
    return 0.25 + np.abs(_normal(case, "scale", (1,))) / 8


_OPTION_TENSORS = {"mask": _mask, "bias": _bias, "valid_lens": _valid_lens, "scale": _scale}


def option_tensors(case: Case) -> tuple[str, ...]:
    """Return which options of a case come as tensors: a scale does when it is learned."""
    return tuple(name for name in _OPTION_TENSORS if name in case.options and not isinstance(case.options[name], float))


def tensors(case: Case) -> dict[str, torch.Tensor]:
    """Return the torch tensors of a case by name, in its dtype, memory layout and device."""
    import torch

    mechanism = mechanisms()[case.mechanism]
    dtype = getattr(torch, case.format.torch)
    made: dict[str, torch.Tensor] = {}
    for declared in mechanism.inputs:
        drawn = torch.from_numpy(np.array(_tensor(case, declared)))
        made[declared.name] = drawn.to(dtype)
    for name in option_tensors(case):
        drawn = torch.from_numpy(np.array(_OPTION_TENSORS[name](case, mechanism)))
        made[name] = drawn.to(dtype) if drawn.is_floating_point() else drawn
    parameters = {"scale", *(declared.name for declared in mechanism.inputs if declared.parameter)}
    return {
        name: LAYOUTS["contiguous" if name in parameters and case.layout == "expanded" else case.layout](
            made_tensor.to(case.device)
        )
        for name, made_tensor in made.items()
    }


def arguments(case: Case) -> dict[str, Any]:
    """Return what is not a tensor but goes to a reference: causal corner, scale, choices, settings."""
    mechanism = mechanisms()[case.mechanism]
    names = ("causal", "scale", *mechanism.choices)
    given = {name: case.options[name] for name in names if name in case.options and name not in option_tensors(case)}
    return given | {keyword: case.sizes[axis] for keyword, axis in mechanism.settings.items()}


def exact(given: Mapping[str, torch.Tensor]) -> dict[str, Any]:
    """Return tensors as NumPy arrays that hold the same numbers: float64, bool or int64."""
    return {name: (t.double() if t.is_floating_point() else t).cpu().numpy().copy() for name, t in given.items()}


# --- memory layouts: the same numbers, elsewhere


def _transposed(t: torch.Tensor) -> torch.Tensor:
    """Swap the last two axes but one in memory, as (B, L, H, D) read as (B, H, L, D); a matrix by columns."""
    if t.ndim < 2:
        return t
    axes = (-2, -1) if t.ndim == 2 else (-3, -2)
    return t.transpose(*axes).contiguous().transpose(*axes)


def _expanded(t: torch.Tensor) -> torch.Tensor:
    """Repeat the first entry of the first axis by a stride of zero."""
    return t[:1].expand_as(t) if t.ndim and t.shape[0] else t


def _offset(t: torch.Tensor) -> torch.Tensor:
    """Cut the tensor out of a larger buffer whose other numbers are NaN, or as wrong as their type allows."""
    import torch

    if t.ndim == 0:
        return t
    poison = math.nan if t.is_floating_point() else (True if t.dtype == torch.bool else 2**40)
    buffer = torch.full((*t.shape[:-1], t.shape[-1] + 3), poison, dtype=t.dtype, device=t.device)
    view = buffer[..., 2 : 2 + t.shape[-1]]
    view.copy_(t)
    return view


LAYOUTS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "contiguous": lambda t: t.contiguous(),
    "transposed": _transposed,
    "expanded": _expanded,
    "offset": _offset,
}
