"""Scaled dot product with a backward pass written out, as a kernel's author writes it, and an author's mutants."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import torch

from attention_harness import Arithmetic, Capabilities, registry
from attention_harness.execution.plan import plan_items
from attention_harness.execution.run import run_checks
from attention_harness.implementations import _eager_options, eager
from attention_harness.model.verdict import NONCONFORMING, NOT_CHECKED, Verdict
from attention_harness.mutation.patched import source_of_eager

MUTANTS = (
    "row constant missing",
    "scale missing in the gradient of query",
    "key from the wrong side",
    "bias not summed over what it is broadcast to",
    "gradients of grouped keys not summed",
    "weights not transposed for value",
    "upstream taken for contiguous",
)


class Attention(torch.autograd.Function):
    """O = P V; backwards dV = P^T dO and dS = P (dO V^T - D), where D = sum of dO O takes the stored output."""

    @staticmethod
    def forward(ctx, query, key, value, bias, visible, scale, mutant):
        wide = [x if x.dtype == torch.float64 else x.float() for x in (query, key, value)]
        groups = query.shape[1] // key.shape[1]
        q, k, v = wide[0], *(x.repeat_interleave(groups, 1) for x in wide[1:])
        scores = q @ k.mT * scale
        if bias is not None:
            scores = scores + bias.masked_fill(bias == -math.inf, 0.0)
        weights = _softmax(scores, visible)
        out = (weights @ v).to(query.dtype)
        ctx.save_for_backward(query, key, value, bias, visible, out)
        ctx.scale, ctx.mutant, ctx.groups, ctx.weights, ctx.wide = scale, mutant, groups, weights, (q, k, v)
        return out

    @staticmethod
    def backward(ctx, upstream):
        query, key, value, bias, _, out = ctx.saved_tensors
        (q, k, v), weights, mutant = ctx.wide, ctx.weights, ctx.mutant
        if mutant == "upstream taken for contiguous":
            upstream = upstream.as_strided(upstream.shape, torch.empty(upstream.shape).stride())
        d_out = upstream.to(q.dtype)
        d_value = (weights if mutant == "weights not transposed for value" and _square(weights) else weights.mT) @ d_out
        constant = (d_out * out.to(q.dtype)).sum(-1, keepdim=True)
        if mutant == "row constant missing":
            constant = torch.zeros_like(constant)
        d_scores = weights * (d_out @ v.mT - constant)
        d_query = d_scores @ k * (1.0 if mutant == "scale missing in the gradient of query" else ctx.scale)
        wrong_side = mutant == "key from the wrong side" and _square(weights)
        d_key = (d_scores if wrong_side else d_scores.mT) @ q * ctx.scale
        d_bias = None
        if bias is not None:
            d_bias = d_scores.sum_to_size(bias.shape).to(bias.dtype)
            if mutant == "bias not summed over what it is broadcast to":
                d_bias = d_scores[tuple(slice(0, n) for n in (1,) * (4 - bias.ndim) + bias.shape)]
                d_bias = d_bias.reshape(bias.shape).to(bias.dtype)
        own = [d_query.to(query.dtype)]
        for x, like in ((d_key, key), (d_value, value)):
            grouped = x.unflatten(1, (like.shape[1], ctx.groups))
            kept = grouped[:, :, 0] if mutant == "gradients of grouped keys not summed" else grouped.sum(2)
            own.append(kept.to(like.dtype))
        return *own, d_bias, None, None, None


def _square(weights):
    return weights.shape[-1] == weights.shape[-2]


def _softmax(scores, visible):
    empty = ~visible.any(-1, keepdim=True)
    return scores.masked_fill(~visible, -math.inf).masked_fill(empty, 0.0).softmax(-1).masked_fill(empty, 0.0)


def kernel(mutant: str = "", error: float = 0.0) -> registry.Implementation:
    """Return the kernel as an implementation; `error` is a relative error of the gradient of query, a planted one."""

    def prepare(case):
        def attend(query, key, value, bias=None, mask=None, valid_lens=None):
            scores = query.new_empty(*query.shape[:-1], key.shape[-2])
            seen = _eager_options.visible_keys(scores, mask, bias, valid_lens, case.options.get("causal"))
            seen = torch.ones_like(scores, dtype=torch.bool) if seen is None else seen.expand(scores.shape)
            scale = case.options.get("scale", 1 / math.sqrt(query.shape[-1]))
            query = query if not error else _Scaled.apply(query, 1 + error)
            return Attention.apply(query, key, value, bias, seen, scale, mutant)

        return attend

    options = ("mask", "bias", "valid_lens", "causal_top_left", "causal_bottom_right", "scale", "grouped_heads")
    fused = Arithmetic(rounded_scores=False, stored_probabilities=False)
    return made(
        "kernel",
        prepare,
        Capabilities(
            ("scaled_dot_product",), eager.CAPABILITIES.dtypes, options=options, gradients=True, arithmetic=fused
        ),
    )


class _Scaled(torch.autograd.Function):
    """The identity, whose gradient is a little wrong; in float64, so that the error is the planted one alone."""

    @staticmethod
    def forward(ctx, x, factor):
        ctx.factor = factor
        return x.clone()

    @staticmethod
    def backward(ctx, upstream):
        return (upstream.double() * ctx.factor).to(upstream.dtype), None


def made(name, prepare, capabilities) -> registry.Implementation:
    """Return an implementation that is written here."""
    module = ModuleType(name)
    module.CAPABILITIES, module.prepare = capabilities, prepare
    return registry.Implementation(name, module, Path(__file__))


def patched(stands: str, put: str) -> registry.Implementation:
    """Return eager with a piece of its source replaced, wherever it stands."""
    source = source_of_eager()
    assert stands in source
    module = ModuleType("patched")
    exec(compile(source.replace(stands, put), "<eager, patched>", "exec"), module.__dict__)
    return registry.Implementation("patched", module, Path(eager.__file__))


def asked(implementation, cases, checks=("gradient",)) -> list[Verdict]:
    """Return the verdicts of some checks on the cases that the implementation takes."""
    items = [item for item in plan_items([implementation], cases) if item.skip is None]
    chosen = (replace(item, checks=tuple(c for c in item.checks if c.name in checks)) for item in items)
    return [verdict for item in chosen for verdict in run_checks(item)]


def accused(implementation, cases, checks=("gradient",)) -> list[str]:
    """Return the verdicts that do not conform, told."""
    found = [verdict for verdict in asked(implementation, cases, checks) if verdict.status not in NOT_CHECKED]
    assert found, "nothing was asked"
    return [f"{v.check} {v.case}: {v.reason}" for v in found if v.status in NONCONFORMING]
