"""How other projects decide whether an attention is right: their published tolerance on their published inputs.

One record per project. What it accuses of our mutants, and of the equivalent variants, is set beside what we do with
them. Inputs are those that the project publishes and that a CPU finishes in seconds; where a size is smaller than
published the record says so. The references are `eager`'s: in float64, and in the case's dtype.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from attention_harness.cases import inputs
from attention_harness.checks.form import to_array, wrong_form
from attention_harness.model.case import Case
from attention_harness.model.dtypes import DTYPES
from attention_harness.mutation.patched import Patched, eager
from attention_harness.mutation.restored import state_restored
from attention_harness.registry import Implementation

if TYPE_CHECKING:
    from torch import Tensor

MECHANISM = "scaled_dot_product"
Array = NDArray[np.float64]
HALF, SINGLE = ("float16", "bfloat16"), ("float32",)


@dataclass(frozen=True, slots=True)
class Answer:
    """An output or a gradient, and what a rule knows of it.

    exact      the same in float64; textbook: in the case's dtype, one operation after the other
    magnitude  of the output: the weights times the absolute values
    """

    what: str
    case: Case
    found: Array
    exact: Array
    textbook: Array
    magnitude: Array

    def beyond_textbook(self, factor: float, least: float = 0.0, rounded: bool = False) -> bool:
        """Return whether the largest error is above a multiple of the textbook computation's.

        rounded: errors are those from the exact answer rounded to the case's dtype
        """
        right = _rounded(self.exact, self.case) if rounded else self.exact
        found, textbook = (float(np.abs(one - right).max(initial=0.0)) for one in (self.found, self.textbook))
        return found > max(least, factor * textbook)


@dataclass(frozen=True, slots=True)
class Rule:
    """A project's way to judge. accuses: whether it takes an answer for wrong; draw: a tensor from a generator."""

    name: str
    cites: str
    dtypes: tuple[str, ...]
    problems: tuple[tuple[dict[str, int], dict[str, Any]], ...]
    draw: Callable[[Any, tuple[int, ...]], Tensor]
    accuses: Callable[[Answer], bool]
    gradients: bool = False

    def cases(self) -> Iterator[Case]:
        """Yield the problems as cases."""
        for sizes, options in self.problems:
            for dtype in self.dtypes:
                yield Case(MECHANISM, sizes, dtype, options)


def accusation(rule: Rule, patched: Patched) -> str:
    """Return what a rule has against a mutant or a variant: the first answer that it takes for wrong, or ""."""
    implementation = patched.implementation()
    for case in rule.cases():
        if implementation.refuses(case):
            continue
        with state_restored():
            try:
                wrong = next((one.what for one in _compared(rule, implementation, case) if _refuted(rule, one)), "")
            except (Exception, SystemExit) as error:
                return f"{type(error).__name__} on {case}"
        if wrong:
            return f"{wrong} on {case}"
    return ""


def _refuted(rule: Rule, answer: Answer) -> bool:
    """Whether an answer is wrong: of another shape, not finite, or by the rule."""
    return answer.found.shape != answer.exact.shape or not np.isfinite(answer.found).all() or rule.accuses(answer)


def _compared(rule: Rule, implementation: Implementation, case: Case) -> Iterator[Answer]:
    """Yield the output, then the gradients where the rule compares them."""
    tensors, upstream = _tensors(rule.name, case)
    exact, textbook = _references(rule.name, case)
    found = _derived(implementation, case, tensors, upstream if rule.gradients else None)
    magnitude = exact["magnitude"]
    for name, tensor in found.items():
        yield Answer(name, case, tensor, exact[name], textbook[name], magnitude if name == "output" else np.zeros(0))


@functools.lru_cache(maxsize=64)
def _references(rule: str, case: Case) -> tuple[dict[str, Array], dict[str, Array]]:
    import torch

    gradients = RULES[rule].gradients
    tensors, upstream = _tensors(rule, case)
    wide = {name: x.double() if x.is_floating_point() else x for name, x in tensors.items()}
    widely = Case(case.mechanism, case.sizes, "float64", case.options)
    exact = _derived(eager(), widely, wide, upstream.double() if gradients else None)
    with torch.no_grad():
        exact["magnitude"] = to_array(eager().prepare(widely)(**(wide | {"value": wide["value"].abs()}))[0])
    return exact, _derived(eager(), case, tensors, upstream if gradients else None)


def _derived(
    implementation: Implementation, case: Case, tensors: dict[str, Tensor], upstream: Tensor | None
) -> dict[str, Array]:
    """Return the output, and with an upstream gradient those of query, key and value."""
    import torch

    leaves = {name: tensors[name].clone().requires_grad_(upstream is not None) for name in ("query", "key", "value")}
    answer = implementation.prepare(case)(**{name: x.clone() for name, x in tensors.items()} | leaves)
    output = answer[0] if isinstance(answer, tuple) else answer
    if wrong := wrong_form(output, case, _output_shape(case), "output"):
        raise ValueError(wrong)
    found = {"output": to_array(output)}
    if upstream is not None:
        gradients = torch.autograd.grad(output, list(leaves.values()), upstream)
        found |= {f"gradient of {name}": to_array(one) for name, one in zip(leaves, gradients, strict=True)}
    return found


@functools.lru_cache(maxsize=64)
def _tensors(rule: str, case: Case) -> tuple[dict[str, Tensor], Tensor]:
    """Return the project's inputs for a case, and an upstream gradient. Masks are ours."""
    import torch

    generator = torch.Generator().manual_seed(case.fingerprint % 2**63)
    dtype, draw = getattr(torch, case.format.torch), RULES[rule].draw
    drawn = {
        name: draw(generator, tuple(x.shape)).to(dtype) if x.is_floating_point() else x
        for name, x in inputs.tensors(case).items()
    }
    return drawn, draw(generator, _output_shape(case)).to(dtype)


def _output_shape(case: Case) -> tuple[int, ...]:
    return tuple(case.sizes[axis] for axis in ("B", "H", "Lq", "Dv"))


def _rounded(numbers: Array, case: Case) -> Array:
    """Return numbers as the case's dtype holds them."""
    import torch

    return to_array(torch.from_numpy(numbers).to(getattr(torch, case.format.torch)))


# --- inputs


def _normal(generator: Any, shape: tuple[int, ...]) -> Tensor:
    import torch

    return torch.randn(shape, generator=generator)


def _wide_normal(generator: Any, shape: tuple[int, ...]) -> Tensor:
    return 3 * _normal(generator, shape)


def _uniform(generator: Any, shape: tuple[int, ...]) -> Tensor:
    import torch

    return torch.rand(shape, generator=generator)


def _both_signs(generator: Any, shape: tuple[int, ...]) -> Tensor:
    return 2 * _uniform(generator, shape) - 1


def _sizes(batch: int, heads: int, key_heads: int, lengths: tuple[int, int], widths: tuple[int, int]) -> dict[str, int]:
    return dict(zip(("B", "H", "Hk", "Lq", "Lk", "D", "Dv"), (batch, heads, key_heads, *lengths, *widths), strict=True))


# --- tolerances


def _within(answer: Answer, expected: Array, rtol: float, atol: float) -> bool:
    return bool((np.abs(answer.found - expected) <= atol + rtol * np.abs(expected)).all())


def _flash_attention(answer: Answer) -> bool:
    return answer.beyond_textbook(2 if answer.what == "output" else 3, rounded=True)


def _torch(answer: Answer) -> bool:
    return answer.beyond_textbook(5, least=1e-5)


def _onnx(answer: Answer) -> bool:
    return not _within(answer, answer.textbook, 1e-3, 1e-7)


_XFORMERS = {  # dtype -> (rtol, atol) forward, backward
    "float32": ((2e-5, 3e-4), (1e-4, 9e-4)),
    "float16": ((4e-4, 4e-3), (2e-2, 0.2)),
    "bfloat16": ((5e-3, 2e-2), (0.1, 0.9)),
}


def _xformers(answer: Answer) -> bool:
    return not _within(answer, answer.exact, *_XFORMERS[answer.case.dtype][answer.what != "output"])


def _kernelbench(answer: Answer) -> bool:
    tolerance = 1e-4 if answer.case.dtype == "float32" else 1e-2
    return not _within(answer, answer.textbook, tolerance, tolerance)


def _tosa(answer: Answer) -> bool:
    stored, summed = answer.case.format, DTYPES[answer.case.format.accumulator]
    terms = math.ceil(answer.case.sizes["Lk"] / 2 ** ((summed.precision - stored.precision) / 2))
    unit = np.maximum(answer.magnitude * stored.roundoff, stored.smallest)
    errors = (answer.found - answer.exact) / unit
    variance = 1.6 * terms * errors.size
    return bool(
        (np.abs(errors) > 2 * terms).any()
        or (errors**2).sum() > variance
        or abs(errors.sum()) > math.sqrt(10 * variance)
    )


# --- the records

_SMALL = (4, 6), (8, 8)

RULES = {
    rule.name: rule
    for rule in (
        Rule(
            "flash_attention",
            "Dao-AILab/flash-attention@0251105a tests/test_flash_attn.py: twice the textbook's largest error, thrice "
            "for gradients; N(0, 1); batch of 4 and 6 heads, here 1 of the batch",
            HALF,
            tuple(
                (_sizes(1, 6, key_heads, lengths, (32, 32)), options)
                for lengths in ((113, 203), (128, 217), (108, 256))
                for key_heads, options in (
                    (6, {}),
                    (6, {"causal": "bottom_right"}),
                    (2, {}),
                    (6, {"window": (37, 11)}),
                    (6, {"softcap": 50.0}),
                )
            ),
            _normal,
            _flash_attention,
            gradients=True,
        ),
        Rule(
            "torch",
            "pytorch/pytorch test/test_transformers.py, check_out_and_grad: max(1e-5, 5 times the textbook's largest "
            "error); U[0, 1); lengths 4, 143, 127, 579; 4 heads of 8 or 203; causal from the top left",
            (*HALF, *SINGLE),
            tuple(
                (_sizes(1, 4, 4, lengths, (width, width)), options)
                for lengths, width in (((4, 4), 8), ((4, 127), 203), ((143, 127), 8), ((143, 579), 8))
                for options in ({}, {"causal": "top_left"}, {"bias": "full"})
            ),
            _uniform,
            _torch,
            gradients=True,
        ),
        Rule(
            "onnx",
            "onnx/onnx@f7546912 onnx/backend/test/case/node/attention.py: rtol 1e-3, atol 1e-7; U[0, 1)",
            ("float32", "float16"),
            (
                (_sizes(2, 3, 3, *_SMALL), {}),
                (_sizes(2, 9, 3, *_SMALL), {}),
                (_sizes(2, 3, 3, (4, 6), (8, 10)), {}),
                (_sizes(2, 3, 3, *_SMALL), {"scale": 0.01}),
                (_sizes(2, 3, 3, *_SMALL), {"causal": "top_left"}),
                (_sizes(2, 9, 3, *_SMALL), {"causal": "top_left"}),
                (_sizes(2, 3, 3, *_SMALL), {"bias": "full"}),
                (_sizes(2, 3, 3, *_SMALL), {"mask": "query"}),
                (_sizes(2, 3, 3, *_SMALL), {"mask": "full"}),
                (_sizes(2, 3, 3, *_SMALL), {"softcap": 2.0}),
            ),
            _uniform,
            _onnx,
        ),
        Rule(
            "xformers",
            "facebookresearch/xformers@ca6d2aa0 xformers/ops/fmha/common.py, ERROR_ATOL and ERROR_RTOL; 3 N(0, 1); "
            "shapes of tests/test_mem_eff_attention.py with batch 1, causal from the top left",
            (*SINGLE, *HALF),
            tuple(
                (_sizes(1, heads, heads, lengths, widths), options)
                for heads, lengths, widths in (
                    (1, (32, 32), (32, 32)),
                    (1, (32, 64), (128, 128)),
                    (1, (256, 3), (32, 32)),
                    (1, (15, 128), (32, 32)),
                    (1, (256, 128), (34, 34)),
                    (1, (256, 128), (32, 36)),
                    (3, (256, 128), (32, 32)),
                )
                for options in ({}, {"causal": "top_left"}, {"bias": "full"})
            ),
            _wide_normal,
            _xformers,
            gradients=True,
        ),
        Rule(
            "kernelbench",
            "ScalingIntelligence/KernelBench@423217d9 src/kernelbench/eval.py, level 1 problem 97: 1e-4 in float32, "
            "1e-2 in half formats; U[0, 1); length 512 and width 1,024, here 2 of 32 x 32 heads",
            (*SINGLE, *HALF),
            ((_sizes(1, 2, 2, (512, 512), (1024, 1024)), {}),),
            _uniform,
            _kernelbench,
        ),
        Rule(
            "tosa",
            "TOSA reference model @9131f8a verify/verify_dot_product.cc: each error within 2 ksb units, their "
            "squares and their sum within what rounding explains, of the sum over values alone; it publishes no "
            "attention: U(-1, 1)",
            (*SINGLE, *HALF),
            tuple((_sizes(2, 4, 4, lengths, (16, 16)), {}) for lengths in ((16, 16), (33, 127), (64, 256))),
            _both_signs,
            _tosa,
        ),
    )
}
