"""The case matrix as data: a covering array over the options, and every worked example and recording.

Strength 2 means that every pair of levels of two factors occurs together in some case (a mask form with a dtype, a
distribution with a memory layout, ...), wherever a mechanism knows both. Most mutants need one or two circumstances to
show, and the array is far smaller than the product.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from attention_harness.cases import covering, inputs
from attention_harness.model.capabilities import DEVICES, Capabilities
from attention_harness.model.case import Case
from attention_harness.model.dtypes import DTYPES
from attention_harness.model.errors import HarnessError
from attention_harness.reference.specification import Mechanism
from attention_harness.registry import mechanism, mechanisms

# Lengths: either longer, 1, both sides of the blocks of 16, 32, 64 and 128, and equal to each other and to the widths.
LENGTHS = ((5, 7), (7, 5), (1, 9), (9, 1), (8, 8), (16, 17), (33, 31), (64, 15), (15, 65), (2, 129))
# Length 0 stands outside the array: whatever it is paired with would not be seen.
EMPTY_LENGTHS = ((0, 5), (5, 0))
# Widths D, Dv: either larger, 1, powers of two (1/sqrt(D) exact for 16 and 64), and equal to a length.
WIDTHS = ((8, 6), (6, 8), (16, 16), (1, 1), (64, 8), (5, 32), (8, 8))
# Batch, heads, key heads: B = H on purpose, grouped heads, one of each.
BATCHES = ((2, 3, 3), (3, 2, 2), (2, 2, 2), (1, 1, 1), (2, 4, 2), (1, 6, 2))
FACTORS: dict[str, tuple[Any, ...]] = {
    "lengths": LENGTHS,
    "widths": (*WIDTHS, None),  # None: the mechanism has no width; a pair with it is not a pair with a width
    "batches": BATCHES,
    "dtype": tuple(DTYPES),  # the first fills what no pair asks for
    "content": tuple(inputs.DISTRIBUTIONS),
    "layout": tuple(inputs.LAYOUTS),
    "mask": (None, "full", "batch", "head", "query"),
    "bias": (None, "full", "query"),
    "valid_lens": (None, "batch", "query"),
    "causal": (None, "top_left", "bottom_right"),
    "scale": (None, 0.375, "learned"),
}
# For each part of a level of these factors, the axes in which it shows.
_AXES_OF = {
    "lengths": (("Lq", "L"), ("Lk", "P")),
    "widths": (("D", "Dq", "E", "A"), ("Dv", "Dk", "Ev", "O")),
    "batches": (("B",), ("H",), ("Hk",)),
}
DROPOUT = 0.25
OPTIONAL = ("mask", "bias", "valid_lens", "causal", "scale")
_HALF_PRECISION_LENGTH = 33  # half-precision matrix products are slow on a CPU: keep these cases small
MAY_BE_EMPTY = ("B", "Lq", "Lk", "L", "P")
TIERS = ("quick", "default", "thorough")
LONGEST, MOST_ELEMENTS = 2**24, 2**40  # of an axis, and of a tensor: 8 TiB in float64


@dataclass(frozen=True)
class Variant:
    """A mechanism with one value for each of its choices: the first factor of the covering array."""

    mechanism: Mechanism
    choices: Mapping[str, str]

    @property
    def name(self) -> str:
        """Mechanism and choices."""
        return "-".join((self.mechanism.name, *self.choices.values()))

    def levels(self, factor: str) -> frozenset[Any]:
        """Return the levels of a factor that the mechanism knows; of those that look alike to it, the first."""
        return frozenset(level for level in FACTORS[factor] if self._knows(factor, level))

    def _knows(self, factor: str, level: Any) -> bool:
        options, axes = self.mechanism.options, self.mechanism.axes
        if factor in _AXES_OF:
            shown = [any(axis in axes for axis in of_part) for of_part in _AXES_OF[factor]]
            if level is None or not any(shown):
                return level is None and not any(shown)
            seen = [tuple(part for part, show in zip(other or (), shown) if show) for other in FACTORS[factor]]
            place = FACTORS[factor].index(level)
            grouped = factor == "batches" and level[1] != level[2]
            return seen.index(seen[place]) == place and (not grouped or "grouped_heads" in options)
        if factor not in OPTIONAL or level is None:
            return True
        name = {"causal": f"causal_{level}", "scale": "learned_scale" if level == "learned" else "scale"}.get(
            factor, factor
        )
        return name in options and (level != "head" or "H" in self.mechanism.scores)

    def case(self, levels: Mapping[str, Any], seed: int) -> Case:
        """Return the case of one level for every factor."""
        options = {option: levels[option] for option in OPTIONAL if levels[option] is not None} | dict(self.choices)
        sizes = _sizes(self.mechanism, levels["lengths"], levels["widths"] or WIDTHS[0], levels["batches"])
        name, dtype, content, layout = self.mechanism.name, levels["dtype"], levels["content"], levels["layout"]
        return Case(name, sizes, dtype, options, content, layout, seed)


def constraints() -> list[covering.Constraint]:
    """Return what excludes pairs of levels: (two factors, predicate on their levels)."""
    known = {(variant.name, factor): variant.levels(factor) for variant in variants() for factor in FACTORS}

    def small(lengths: tuple[int, int], dtype: str) -> bool:
        return DTYPES[dtype].single or max(lengths) <= _HALF_PRECISION_LENGTH

    own = [
        (("variant", factor), lambda variant, level, factor=factor: level in known[variant.name, factor])
        for factor in (*_AXES_OF, *OPTIONAL)
    ]
    return [*own, (("lengths", "dtype"), small)]


def _sizes(
    known: Mechanism, lengths: tuple[int, int], widths: tuple[int, int], batches: tuple[int, int, int]
) -> dict[str, int]:
    """Return a length for every axis of the mechanism; neighbouring axes differ unless the factors make them equal."""
    (queries, keys), (width, value_width), (batch, heads, key_heads) = lengths, widths, batches
    every = {
        "B": batch,
        "H": heads,
        "Hk": key_heads,
        "Lq": queries,
        "Lk": keys,
        "L": queries,
        "P": keys,
        "D": width,
        "Dv": value_width,
        "Dq": width,
        "Dk": value_width + 1,
        "A": width + 3,
        "E": heads * width if "H" in known.settings.values() else width,
        "Eq": width + 2,
        "Ek": value_width + 3,
        "Ev": value_width,
        "O": value_width + 1,
    }
    return {axis: every[axis] for axis in known.axes}


def variants() -> list[Variant]:
    """Return every mechanism with every one of its choices."""
    return [
        Variant(known, {name: value} if name else {})
        for known in mechanisms().values()
        for name, values in (known.choices or {"": ("",)}).items()
        for value in values
    ]


def _array(first: Sequence[Variant], levels: Mapping[str, Sequence[Any]] = FACTORS) -> tuple[dict[str, Any], list[Any]]:
    """Return the factors and constraints of the covering array over some variants and all other factors."""
    return {"variant": list(first)} | {name: list(own) for name, own in levels.items()}, constraints()


def _covering(first: Sequence[Variant], levels: Mapping[str, Sequence[Any]] = FACTORS) -> list[Case]:
    """Return the cases of that array. Its order is fixed: so are the seeds."""
    found = covering.rows(*_array(first, levels))
    return [row["variant"].case(row, seed) for seed, row in enumerate(found)]


def arrays() -> list[tuple[dict[str, Any], list[Any]]]:
    """Return the factors and constraints of every array that the tiers need."""
    return [_array(first) for first in (variants(), *([variant] for variant in variants()))]


_PLAIN = {"lengths": (5, 7), "widths": (16, 8), "batches": (2, 3, 3), "content": "ordinary", "layout": "contiguous"}
_PLAIN_LENGTHS = ((5, 7),)
_DROPPED = {"dtype": "float32", "batches": (4, 4, 4)}  # enough of each to see a mask that they share


def _plain(dtype: str, lengths: Iterable[tuple[int, int]]) -> list[Case]:
    """Return every variant without options at given lengths: the first thing to look at when something fails."""
    levels = dict.fromkeys(FACTORS) | _PLAIN | {"dtype": dtype}
    return [variant.case(levels | {"lengths": pair}, 0) for pair in lengths for variant in variants()]


def dropout_cases() -> list[Case]:
    """Return one case with dropout for every mechanism that takes it, and one with rows that see no key."""
    first = {v.mechanism.name: v for v in reversed(variants()) if "dropout" in v.mechanism.options}
    plain = [v.case(dict.fromkeys(FACTORS) | _PLAIN | _DROPPED, 1) for v in first.values()]
    found = [replace(case, options={**case.options, "dropout": DROPOUT}) for case in reversed(plain)]
    masked = [replace(case, options={**case.options, "mask": "full"}) for case in found]
    return [*found, *(case for case in masked if case.mechanism == "scaled_dot_product")]


def example_cases() -> list[Case]:
    """Return the worked examples of the notes, in float64 and float32."""
    found = []
    for known in mechanisms().values():
        for example in known.examples:
            sizes: dict[str, int] = {}
            for declared in known.inputs:
                shape = np.shape(example.inputs[declared.name])
                sizes |= {axis: n for axis, n in zip(declared.axes, shape, strict=True) if axis in known.axes}
            options: dict[str, Any] = {name: example.options[name] for name in known.choices}
            if "valid_lens" in example.options:
                depth = len(np.shape(example.options["valid_lens"]))
                options["valid_lens"] = "batch" if depth == 1 else "query"
            for dtype in ("float64", "float32"):
                found.append(Case(known.name, sizes, dtype, options, f"example.{example.name}"))
    return found


def recorded_cases() -> list[Case]:
    """Return the recorded real inputs: query, key, value and padding mask of a trained model."""
    found = []
    for name in inputs.recordings():
        stem, _, layer = name.partition("_")
        batch, heads, queries, width = inputs.recording(inputs.RECORDINGS / f"{stem}.npz")[f"{layer}.query"].shape
        sizes = {"B": batch, "H": heads, "Hk": heads, "Lq": queries, "Lk": queries, "D": width, "Dv": width}
        for dtype in ("float64", "float32", "bfloat16"):
            found.append(Case("scaled_dot_product", sizes, dtype, {"mask": "batch"}, f"recorded.{name}"))
    return found


# Cases outside the array that once found something: a known failure stays in sight until upstream mends it.
REMEMBERED = ("location-B1Lq5P7Dq1Dk2Dv1O2-float16-plain-large-offset-85",)
# What the array asks only where half precision hides it: these pairs see an error of an eighth (mutation.sensitivity).
SHARPER = (
    "multi_head-B2H3Lq5Lk7E48Eq18Ek11Ev8O9-bfloat16-plain-ordinary-contiguous-0",
    "multi_head-B2H3Lq5Lk7E48Eq18Ek11Ev8O9-float16-plain-ordinary-contiguous-0",
    "multi_head-B2H3Lq5Lk7E48Eq18Ek19Ev16O17-float32-mask=full-sunken-expanded-1",
    "multi_head-B2H3Lq5Lk7E48Eq18Ek19Ev16O17-float32-bias=full-outlier-transposed-1",
    "multi_head-B2H3Lq5Lk7E48Eq18Ek19Ev16O17-float32-causal=bottom_right-shifted-transposed-1",
    "cross_attention-B2Lq5Lk7D16E16-bfloat16-plain-ordinary-contiguous-0",
    "cross_attention-B2Lq5Lk7D16E16-float32-bias=full-nearly_equal-expanded-1",
    "scaled_dot_product-B2H3Hk3Lq5Lk7D16Dv16-float16-plain-sunken-contiguous-1",
)
# Simple cases of what the array combines with more than a relation can bear: one condition, ordinary numbers.
LAWFUL = (
    "cosine-B2H3Hk3Lq5Lk7D16Dv8-float32-mask=full+bias=full-ordinary-contiguous-0",
    "dot_product-B2H3Hk3Lq5Lk7D16Dv8-float32-mask=full+bias=full-ordinary-contiguous-0",
    "location-B2Lq5P7Dq16Dk9Dv8O9-float32-mask=full-ordinary-contiguous-0",
    "concat_tanh-B2H3Lq5Lk7Dq16Dk9Dv8A19-float32-bias=full-ordinary-contiguous-0",
    "self_attention-B2L5E16-float32-bias=full+positions=none-ordinary-contiguous-0",
    "scaled_dot_product-B2H3Hk3Lq5Lk7D16Dv8-float64-bias=full-ordinary-contiguous-0",
    "concat_tanh-B2H3Lq5Lk7Dq16Dk9Dv8A19-float32-causal=top_left-ordinary-contiguous-0",
    "cosine-B2H3Hk3Lq5Lk7D16Dv8-float32-causal=top_left-ordinary-contiguous-0",
    "cross_attention-B2Lq5Lk7D16E16-float32-causal=top_left-ordinary-contiguous-0",
    "gaussian_kernel-B2H3Lq5Lk7D16Dv8-float32-causal=top_left-ordinary-contiguous-0",
    "masked_softmax-B2H3Lq5Lk7-float32-causal=top_left-ordinary-contiguous-0",
    "projected-B2Lq5Lk7D16Dv8Eq18Ek11Ev8-float32-causal=top_left+score=scaled_dot_product-ordinary-contiguous-0",
)


def _shows_weights(case: Case) -> bool:
    """Whether lengths and causality let some query see two keys: with one alone no error of a score or weight shows."""
    axes = mechanism(case.mechanism).scores
    if not axes:
        return True
    queries, keys = (case.sizes[axis] for axis in axes[-2:])
    return queries > 0 and keys > 1 and not (queries == 1 and case.options.get("causal") == "top_left")


def _seen_again(rows: Sequence[Case]) -> list[Case]:
    """Return the rows in which no query sees two keys at plain lengths, where their levels meet nowhere else."""

    def pairs(case: Case) -> set[frozenset[Any]]:
        levels = [("mechanism", case.mechanism), ("dtype", case.dtype), ("content", case.content)]
        levels += [("layout", case.layout), *(("option", option) for option in case.requires)]
        return {frozenset(pair) for pair in itertools.combinations(levels, 2)}

    seen = set().union(*(pairs(case) for case in rows if _shows_weights(case)))
    again = []
    for case in rows:
        if not _shows_weights(case) and pairs(case) - seen:
            seen |= pairs(case)
            queries, keys = _PLAIN_LENGTHS[0]
            lengths = {"Lq": queries, "Lk": keys, "L": queries, "P": keys}
            again.append(replace(case, sizes={axis: lengths.get(axis, n) for axis, n in case.sizes.items()}))
    return again


def shown_cases() -> list[Case]:
    """Return the worked examples, the recordings and every variant without options: what a report draws, at no cost."""
    return [*example_cases(), *recorded_cases(), *_plain("float32", _PLAIN_LENGTHS)]


@functools.cache
def matrix(tier: str = "default") -> tuple[Case, ...]:
    """Return the cases of a tier, each once.

    quick      every level of every factor, every option of every mechanism
    default    strength 2, with the mechanism as one of the factors
    thorough   strength 2 within every mechanism
    """
    if tier not in TIERS:
        raise HarnessError(f"no tier {tier!r}; known: {', '.join(TIERS)}")
    fixed = [*shown_cases(), *dropout_cases()]
    if tier == "quick":
        return tuple(
            dict.fromkeys([*(case for case in fixed if case.dtype == "float32"), *_every_level(_covering(variants()))])
        )
    fixed += [*_plain("float64", _PLAIN_LENGTHS), *_plain("float32", EMPTY_LENGTHS)]
    fixed += map(Case.from_id, (*REMEMBERED, *SHARPER, *LAWFUL))
    first = [[variant] for variant in variants()] if tier == "thorough" else [variants()]
    rows = [case for group in first for case in _covering(group)]
    return tuple(dict.fromkeys([*fixed, *rows, *_seen_again([*fixed, *rows])]))


@functools.cache
def own(capabilities: Capabilities, tier: str = "default") -> tuple[Case, ...]:
    """Return a covering array inside a declaration that the shared matrix mostly passes by; nothing for other ones.

    The matrix combines options freely, so that a kernel which takes one of them would meet hardly any of its cases.
    """
    shared = [case for case in matrix(tier) if case.mechanism in capabilities.mechanisms]
    taken = [case for case in shared if not capabilities.refuses(case.on(capabilities.devices[0]))]
    if 2 * len(taken) >= len(shared):
        return ()
    declared = {
        option.removeprefix("causal_") if option.startswith("causal_") else option for option in capabilities.options
    }
    levels: dict[str, Sequence[Any]] = dict(FACTORS)
    levels["dtype"] = [dtype for dtype in FACTORS["dtype"] if dtype in capabilities.dtypes]
    levels["causal"] = [corner for corner in FACTORS["causal"] if corner is None or corner in declared]
    scales = {0.375: "scale", "learned": "learned_scale"}
    levels["scale"] = [None, *(scale for scale, option in scales.items() if option in declared)]
    for option in ("mask", "bias", "valid_lens"):
        levels[option] = FACTORS[option] if option in declared else (None,)
    if "grouped_heads" not in declared:
        levels["batches"] = [batches for batches in BATCHES if batches[1] == batches[2]]
    found = [variant for variant in variants() if variant.mechanism.name in capabilities.mechanisms]
    rows = [case for variant in found for case in _covering([variant], levels)]
    rows = _every_level(rows) if tier == "quick" else rows
    return tuple(case for case in dict.fromkeys(rows) if case not in set(shared))


def _every_level(rows: Iterable[Case]) -> list[Case]:
    """Return the first rows that together hold every level of every factor, and each mechanism's every option."""
    seen: set[tuple[str, str]] = set()
    kept = []
    for case in rows:
        lengths = tuple(case.sizes.get(axis) for axis in ("Lq", "Lk", "L", "P"))
        parts = {("dtype", case.dtype), ("content", case.content), ("layout", case.layout), ("lengths", str(lengths))}
        parts |= {(case.mechanism, name) for name in case.requires}
        if parts - seen:
            seen |= parts
            kept.append(case)
    return kept


def parse(text: str) -> Case:
    """Return the case of an id, checked against the mechanism's declaration."""
    case = Case.from_id(text)
    known = mechanism(case.mechanism)
    if set(case.sizes) != set(known.axes):
        raise HarnessError(f"{text}: {known.name} has the sizes {' '.join(known.axes)}, got {' '.join(case.sizes)}")
    for whole, part in known.requires:
        if case.sizes[part] == 0 or case.sizes[whole] % case.sizes[part]:
            raise HarnessError(f"{text}: {whole} must be a multiple of {part}")
    if case.dtype not in DTYPES:
        raise HarnessError(f"{text}: unknown dtype {case.dtype!r}; known: {', '.join(DTYPES)}")
    if case.layout not in inputs.LAYOUTS:
        raise HarnessError(f"{text}: unknown layout {case.layout!r}; known: {', '.join(inputs.LAYOUTS)}")
    if case.device not in DEVICES:
        raise HarnessError(f"{text}: unknown device {case.device!r}; known: {', '.join(DEVICES)}")
    for axis, length in case.sizes.items():
        if length == 0 and axis not in MAY_BE_EMPTY:
            raise HarnessError(f"{text}: {axis} must be 1 or more; only {', '.join(MAY_BE_EMPTY)} may be 0")
    _check_size(text, case, known)
    _check_options(text, case, known)
    inputs.check_content(case)
    _check_given(text, case)
    return case


def _check_size(text: str, case: Case, known: Mechanism) -> None:
    """Refuse, before anything is allocated, what no machine could hold; what this one cannot hold a verdict says."""
    for axis, length in case.sizes.items():
        if length > LONGEST:
            raise HarnessError(f"{text}: {axis} is {length}; a length is {LONGEST} at most")
    full = {axis: max(length, 1) for axis, length in case.sizes.items()}
    shapes = {declared.name: declared.axes for declared in known.inputs} | {"the output": known.output}
    for name, axes in shapes.items():
        if math.prod(inputs.shape_of(axes, full)) > MOST_ELEMENTS:
            raise HarnessError(f"{text}: {name} would have more than 2^40 elements; give smaller sizes")


def _check_given(text: str, case: Case) -> None:
    """Refuse a worked example or a recording under other sizes or options than its own."""
    if case.content in inputs.DISTRIBUTIONS:
        return
    given = [own for own in (*example_cases(), *recorded_cases()) if own.content == case.content]
    given = [own for own in given if own.mechanism == case.mechanism]
    if not given:
        raise HarnessError(f"{text}: {case.content} is not an input of {case.mechanism}")
    own = given[0]
    if own.sizes != case.sizes or own.options != case.options or case.layout == "expanded":
        raise HarnessError(f"{text}: {case.content} stands for one problem alone: {own.id}, in any dtype and device")


def _check_options(text: str, case: Case, known: Mechanism) -> None:
    levels: dict[str, Callable[[Any], bool]] = {
        "mask": lambda form: form in FACTORS["mask"],
        "bias": lambda form: form in FACTORS["mask"],
        "valid_lens": lambda form: form in FACTORS["valid_lens"],
        "causal": lambda corner: corner in FACTORS["causal"],
        "scale": lambda scale: scale == "learned" or isinstance(scale, float),
        "dropout": lambda rate: isinstance(rate, float) and 0 < rate < 1,
    } | {name: values.__contains__ for name, values in known.choices.items()}
    for name, form in case.options.items():
        if name not in levels or not levels[name](form):
            forms = known.choices.get(name) or [form for form in FACTORS.get(name, ()) if form is not None]
            hint = f"; known: {', '.join(map(str, forms))}" if name in levels else ""
            raise HarnessError(f"{text}: option {name}={form} is not known to {known.name}{hint}")
    for name in known.choices:
        if name not in case.options:
            raise HarnessError(f"{text}: {known.name} needs {name}=..., one of {', '.join(known.choices[name])}")
    for option in case.requires:
        if option not in known.options:
            raise HarnessError(f"{text}: {known.name} does not take {option}; it takes {', '.join(known.options)}")
    if "head" in (case.options.get("mask"), case.options.get("bias")) and "H" not in known.scores:
        raise HarnessError(f"{text}: {known.name} has no heads, so no mask or bias by head")
