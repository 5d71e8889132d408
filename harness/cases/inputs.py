"""The tensors of a case: named torch tensors with the same bits on every machine."""

from __future__ import annotations

import functools
import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from attention_harness.cases import streams
from attention_harness.cases.distributions import DISTRIBUTIONS, distributed
from attention_harness.cases.layouts import LAYOUTS, layout_of
from attention_harness.cases.recordings import recorded
from attention_harness.cases.streams import Array
from attention_harness.model.case import Case
from attention_harness.model.dtypes import DTYPES
from attention_harness.model.errors import HarnessError
from attention_harness.options import OPTIONS, Codes, Place, Tensor, interval
from attention_harness.reference.specification import Input, Mechanism
from attention_harness.registry import mechanisms

if TYPE_CHECKING:
    import torch


def shape_of(axes: tuple[str, ...], sizes: Mapping[str, int]) -> tuple[int, ...]:
    """Return lengths for axes such as ("A", "Dq+Dk"), ("1",) or ("Lk/16",), as many as blocks of 16."""
    return tuple(sum(_length(part, sizes) for part in axis.split("+")) for axis in axes)


def _length(part: str, sizes: Mapping[str, int]) -> int:
    letter, _, block = part.partition("/")
    length = int(letter) if letter.isdigit() else sizes[letter]
    return -(-length // int(block)) if block else length


def tensors(case: Case) -> dict[str, torch.Tensor]:
    """Return the torch tensors of a case by name, in its dtype, memory layout and device."""
    known = mechanisms()[case.mechanism]
    learned = {declared.name for declared in known.inputs if declared.parameter}
    learned |= {name for name, declared in option_tensors(case).items() if declared.parameter}
    alone = "contiguous" if case.layout == "expanded" else case.layout  # of what is learned: it has no batch
    made = {
        name: _laid_out(case, name, stored.clone(), alone if name in learned else case.layout)
        for name, stored in (_stored_cached if _is_small(case) else _stored)(case).items()
    }
    return made | _given_again(case, known, made) if case.content == "same" else made


def _stored(case: Case) -> dict[str, torch.Tensor]:
    """Return the numbers of a case's tensors in their dtype, on the CPU and contiguous."""
    numbers = {declared.name: _input(case, declared) for declared in mechanisms()[case.mechanism].inputs}
    numbers |= {name: _option(case, name, declared) for name, declared in option_tensors(case).items()}
    coded = codes(case)
    if coded is None:
        return {name: _typed(case, array) for name, array in numbers.items()}
    wide = max(DTYPES["float32"], case.format, key=lambda dtype: dtype.bits)
    dtypes = dict.fromkeys(coded.scales, coded.dtype) | dict.fromkeys(coded.scales.values(), wide.torch)
    for name, scale in coded.scales.items():
        numbers[name], numbers[scale] = coded.encode(name, numbers[name], wide.largest)
    return {name: _typed(case, array, dtypes.get(name, "")) for name, array in numbers.items()}


# A check asks for the same tensors several times, and the checks of an item for those of the same cases.
_stored_cached = functools.lru_cache(maxsize=128)(_stored)
_CACHED_NUMBERS = 1 << 16  # of a case whose tensors are cached


@functools.lru_cache(maxsize=1024)
def _is_small(case: Case) -> bool:
    declared = (shape_of(one.axes, case.sizes) for one in mechanisms()[case.mechanism].inputs)
    return sum(map(math.prod, (*declared, *option_shapes(case).values()))) <= _CACHED_NUMBERS


def _given_again(case: Case, known: Mechanism, made: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the inputs that are not learned, each the first of its shape: one object, given again."""
    first: dict[Any, str] = {}
    every = (declared.name for declared in known.inputs if not declared.parameter)
    sources = {name: first.setdefault(made[name].shape, name) for name in every}
    again = {name: made[source] for name, source in sources.items()}
    if (coded := codes(case)) is not None:  # the same codes stand for the same numbers
        again |= {scale: made[coded.scales[sources[name]]] for name, scale in coded.scales.items()}
    return again


def tensor(case: Case, name: str, array: NDArray[Any], layout: str) -> torch.Tensor:
    """Return the torch tensor of an argument's numbers, in the case's dtype if it is floating, on its device."""
    return _laid_out(case, name, _typed(case, array), layout)


def _typed(case: Case, array: NDArray[Any], dtype: str = "") -> torch.Tensor:
    import torch

    made = torch.from_numpy(np.array(array))
    return made.to(getattr(torch, dtype or case.format.torch)) if made.is_floating_point() else made


def _laid_out(case: Case, name: str, made: torch.Tensor, layout: str) -> torch.Tensor:
    declared = [one.name for one in mechanisms()[case.mechanism].inputs]
    # An option's number is a hash, for that of a place in a list would change with every option that is added.
    number = declared.index(name) if name in declared else zlib.crc32(name.encode())
    return LAYOUTS[layout_of(layout, number, case.fingerprint)](made.to(case.device))


def exact(tensors: Mapping[str, torch.Tensor]) -> dict[str, Any]:
    """Return tensors as NumPy arrays that hold the same numbers, float64, bool or int64; one of each tensor."""
    alike = {id(t): (t.double() if t.is_floating_point() else t).cpu().numpy().copy() for t in tensors.values()}
    return {name: alike[id(t)] for name, t in tensors.items()}


def arguments(case: Case) -> dict[str, Any]:
    """Return what is not a tensor but goes to a reference: forms of options, choices of the mechanism, settings."""
    known = mechanisms()[case.mechanism]
    brought = option_tensors(case)
    forms = {
        name: form
        for name, form in case.options.items()
        if name in known.choices or (name not in brought and OPTIONS[name].in_formula)
    }
    return forms | {keyword: case.sizes[axis] for keyword, axis in known.settings.items()}


def codes(case: Case) -> Codes | None:
    """Return how tensors of a case are handed over as codes, or None."""
    coded = ((OPTIONS[name].codes, form) for name, form in case.options.items() if name in OPTIONS)
    return next((codes_of(form) for codes_of, form in coded if codes_of is not None), None)


def option_tensors(case: Case) -> dict[str, Tensor]:
    """Return the declarations of the tensors that a case's options bring, by their names in a call."""
    found: dict[str, Tensor] = {}
    for name, form in case.options.items():
        found |= OPTIONS[name].brings_all(form) if name in OPTIONS else {}
    return found


def option_axes(case: Case) -> dict[str, tuple[str, ...]]:
    """Return the axes of the tensors that a case's options bring."""
    scores, found = mechanisms()[case.mechanism].scores, dict[str, tuple[str, ...]]()
    for name, form in case.options.items():
        brought = OPTIONS[name].brings_all(form) if name in OPTIONS else {}
        found |= {one: tensor.axes(form, scores) for one, tensor in brought.items()}
    return found


def option_shapes(case: Case) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the tensors that a case's options bring."""
    return {name: shape_of(axes, case.sizes) for name, axes in option_axes(case).items()}


def option_values(case: Case, arrays: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a case as `visible_keys` takes them: the array where there is one, else the form."""
    return {name: arrays.get(name, form) for name, form in case.options.items() if name in OPTIONS}


# --- their numbers


def drawn(case: Case, name: str, shape: tuple[int, ...]) -> Array:
    """Return normal numbers that the caller may change: an upstream gradient, a direction."""
    return streams.normal(case, name, shape).copy()


def _input(case: Case, declared: Input) -> Array:
    shape = shape_of(declared.axes, case.sizes)
    if case.content not in DISTRIBUTIONS:
        return _fitted(case, declared.name, shape).astype(np.float64)
    numbers = streams.normal(case, declared.name, shape)
    if declared.parameter:  # so that a layer keeps the size of its input
        numbers = numbers / math.sqrt(max(shape[-1], 1)) if declared.name != "w" else 0.75 + np.abs(numbers) / 4
    numbers = distributed(case.content, declared.name, numbers, case.format)
    if declared.short:  # a direction and an order of lengths are left of each distribution
        numbers = numbers / (1 + np.linalg.norm(numbers, axis=-1, keepdims=True))
    return numbers


def _fitted(case: Case, name: str, shape: tuple[int, ...]) -> NDArray[Any]:
    """Return a tensor of a worked example or a recording, which has to have the case's sizes."""
    kind, _, of = case.content.partition(".")
    if kind == "example":
        example = mechanisms()[case.mechanism].example(of)
        array = np.asarray(example.inputs[name] if name in example.inputs else example.options[name])
    else:
        array = recorded(of, name)
    if array.shape != shape:
        raise HarnessError(f"{case.id}: {case.content} has {name} of shape {array.shape}, the sizes say {shape}")
    return array


def _option(case: Case, name: str, tensor: Tensor) -> NDArray[Any]:
    shape = option_shapes(case)[name]
    if case.content not in DISTRIBUTIONS:
        return _fitted(case, name, shape)
    return distributed(case.content, name, tensor.draw(_Draw(case, name, shape)), case.format)


@dataclass(frozen=True)
class _Draw:
    """The streams of one option's tensor: `options.Draw`."""

    case: Case
    name: str
    shape: tuple[int, ...]

    @property
    def form(self) -> Any:
        return self.case.options[self.name]

    @property
    def layout(self) -> str:
        return self.case.layout

    @property
    def queries(self) -> int:
        return self._places.queries

    @property
    def keys(self) -> int:
        return self._places.keys

    @functools.cached_property
    def flag(self) -> bool:
        return streams.flag(self.case, self.name)

    @functools.cached_property
    def seen(self) -> tuple[int, tuple[int, ...]]:
        """The first query that the options without a tensor show two keys, or else the most, and those keys."""
        if not self._places.queries:
            return 0, ()
        first, last = (column[:, 0] for column in interval(self.case.options, self._places))
        count = np.minimum(last - first + 1, 2)
        row = int(np.argmax(count))
        return row, tuple(range(int(first[row]), int(first[row] + max(count[row], 0))))

    @functools.cached_property
    def _places(self) -> Place:
        queries, keys = shape_of(mechanisms()[self.case.mechanism].scores[-2:], self.case.sizes)
        return Place(queries, keys)

    def normal(self, part: str = "") -> Array:
        return streams.normal(self.case, self._stream(part), self.shape)

    def whole_numbers(self, limit: int, part: str = "") -> NDArray[np.int64]:
        return streams.whole_numbers(self.case, self._stream(part), self.shape, limit)

    def _stream(self, part: str) -> str:
        return f"{self.name}.{part}" if part else self.name
