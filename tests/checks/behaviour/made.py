"""Small implementations of scaled dot product with one behaviour each, to be measured."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from attention_harness import Arithmetic, Capabilities, registry
from attention_harness.bounds.judge import Judgement
from attention_harness.checks import BY_NAME
from attention_harness.checks.behaviour.anchor import anchor
from attention_harness.execution import in_process
from attention_harness.host.loading import Facts
from attention_harness.implementations import _eager_options
from attention_harness.registry.implementations import validate as validate_facts


def made(attend: Callable[..., Any], **claims: Any) -> registry.Implementation:
    """Return an implementation of scaled dot product: attend(scores, value, visible), visible None for all keys."""
    module = ModuleType("made")
    facts: dict[str, Any] = {"options": ("mask", "bias", "valid_lens", "causal_top_left", "causal_bottom_right")}
    module.CAPABILITIES = Capabilities(mechanisms=("scaled_dot_product",), **facts | claims)

    def prepare(case):
        causal = case.options.get("causal")

        def call(query, key, value, mask=None, bias=None, valid_lens=None):
            # in float64, so that a row's scores are the same bits whatever stands beside it
            scores = (query.double() @ key.double().mT / math.sqrt(query.shape[-1])).to(query.dtype)
            visible = _eager_options.visible_keys(scores, mask, bias, valid_lens, causal)
            finite = None if bias is None else bias.masked_fill(bias == -math.inf, 0.0)
            return attend(scores if finite is None else scores + finite, value, visible)

        return call

    module.prepare = prepare
    return registry.Implementation("made", module, Path(__file__))


def ask(name: str, implementation: registry.Implementation) -> Judgement:
    """Return the judgement of a behaviour, asked where it is asked."""
    case = anchor(implementation)
    check = BY_NAME[f"behaviour.{name}"]
    assert check.applies(implementation, case)
    return check.judge(in_process.subject(implementation, case))


def weights(scores: torch.Tensor, visible: torch.Tensor | None, empty: float = 0.0) -> torch.Tensor:
    """Softmax over the visible keys; the weights of a fully masked row are all `empty`."""
    if visible is None:
        return scores.softmax(-1)
    nothing = ~visible.any(-1, keepdim=True)
    masked = scores.masked_fill(~visible, -math.inf).masked_fill(nothing, 0.0)
    return masked.softmax(-1).masked_fill(nothing, empty)


def right(scores, value, visible):
    """Attend as the contract says."""
    return weights(scores, visible) @ value


def nan_rows(scores, value, visible):
    """Leave a fully masked row to the softmax: NaN."""
    return weights(scores, visible, math.nan) @ value


def mean_rows(scores, value, visible):
    """Fill what is hidden with a large negative number: the mean of the values in a fully masked row."""
    masked = scores if visible is None else scores.masked_fill(~visible, torch.finfo(scores.dtype).min)
    return masked.softmax(-1) @ value


def last_rows(scores, value, visible):
    """Give a fully masked row the last value."""
    out = right(scores, value, visible)
    return out if visible is None else torch.where(visible.any(-1, keepdim=True), out, value[..., -1:, :])


def safe(scores, value, visible):
    """Look at nothing that is hidden from everybody."""
    if visible is None:
        return right(scores, value, visible)
    seen = visible.expand(scores.shape).any(-2)
    return right(scores.masked_fill(~visible, 0.0), value.masked_fill(~seen.unsqueeze(-1), 0.0), visible)


def remembered(scores, value, visible):
    """Add a penalty to what is hidden, as a float mask does: a huge score is still seen, and so is an infinite one."""
    penalty = 0.0 if visible is None else (~visible).to(scores.dtype) * -1e4
    return (scores + penalty).softmax(-1) @ value


def added_in(dtype: torch.dtype) -> Callable[..., torch.Tensor]:
    """Return an attention that adds its products one by one in this dtype."""

    def attend(scores, value, visible):
        products = weights(scores, visible).double().unsqueeze(-1) * value.double().unsqueeze(-3)
        total = torch.zeros(products[..., 0, :].shape, dtype=dtype)
        for key in range(products.shape[-2]):
            total = total + products[..., key, :].to(dtype)
        return total.to(value.dtype)

    return attend


def in_lanes(dtype: torch.dtype) -> Callable[..., torch.Tensor]:
    """Return an attention that adds in eight lanes, merged at the end, in this dtype."""

    def attend(scores, value, visible):
        products = weights(scores, visible).double().unsqueeze(-1) * value.double().unsqueeze(-3)
        lanes = [torch.zeros(products[..., 0, :].shape, dtype=dtype) for _ in range(8)]
        for key in range(products.shape[-2]):
            lanes[key % 8] = lanes[key % 8] + products[..., key, :].to(dtype)
        return sum(lanes[1:], lanes[0]).to(value.dtype)

    return attend


def noisy(scores, value, visible):
    """Err differently at every call, by a unit in the last place or so."""
    out = right(scores, value, visible)
    return out * (1 + torch.finfo(out.dtype).eps * (torch.rand(()) > 0.5))


def by_batch(scores, value, visible):
    """Round otherwise when the element has neighbours."""
    out = right(scores, value, visible)
    return out * (1 + torch.finfo(out.dtype).eps) if scores.shape[0] > 1 else out


def by_row(scores, value, visible):
    """Give the first query other bits than the others: parts of the queries do not agree with the whole."""
    out = right(scores, value, visible).clone()
    out[..., 0, :] *= 1 + 4 * torch.finfo(out.dtype).eps
    return out


def corner(shift: Callable[[int, int], int]) -> Callable[..., torch.Tensor]:
    """Return an attention that takes every causality for key <= query + shift(queries, keys)."""

    def attend(scores, value, visible):
        queries, keys = scores.shape[-2:]
        if visible is not None:
            visible = torch.ones(queries, keys, dtype=torch.bool).tril(shift(queries, keys))
        return right(scores, value, visible)

    return attend


LOOSE = Arithmetic(accumulator="bfloat16")


def validate(one: registry.Implementation) -> None:
    """Hold what an implementation declares against what is known, as a file's declaration is."""
    validate_facts(one.name, Facts(one.capabilities, "", {}, (), "made", str(one.path)))
