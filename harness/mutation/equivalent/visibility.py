"""Other ways to hide keys."""

from __future__ import annotations

from attention_harness.mutation.equivalent.variant import EquivalentVariant

_MASKED = "scores = scores.masked_fill(~visible, -math.inf).masked_fill(empty, 0.0)"

_NEAR = "near = (distance >= -left) & (distance <= right)"

VARIANTS = (
    EquivalentVariant(
        "window by two triangles",
        (
            (
                _NEAR,
                "near = torch.ones_like(distance, dtype=torch.bool)\n"
                "    first = int(place[0]) if queries else 0\n"
                "    near = near.tril(first + right) & near.triu(first - left)",
            ),
        ),
    ),
    EquivalentVariant(
        "window by the distance from its middle",
        ((_NEAR, "near = (2 * distance - right + left).abs() <= right + left"),),
    ),
    EquivalentVariant(
        "mask added as minus infinity",
        (
            (
                _MASKED,
                "scores = (scores + torch.zeros_like(scores).masked_fill(~visible, -math.inf)).masked_fill(empty, 0.0)",
            ),
        ),
    ),
    EquivalentVariant(
        "mask chosen by where",
        ((_MASKED, "scores = torch.where(visible, scores, -math.inf)\n    scores = torch.where(empty, 0.0, scores)"),),
    ),
    EquivalentVariant(
        "conditions multiplied as numbers",
        (
            (
                "functools.reduce(torch.logical_and, conditions)",
                "math.prod(condition.to(torch.int64) for condition in conditions).to(torch.bool)",
            ),
        ),
    ),
    EquivalentVariant(
        "causality by a lower triangle",
        (
            (
                "conditions.append(position <= last[:, None])",
                "conditions.append(torch.ones(queries, keys, dtype=torch.bool, device=scores.device).tril(int(last[0]) if queries else 0))",
            ),
        ),
    ),
    EquivalentVariant(
        "lengths by counting keys",
        (
            (
                "conditions.append(position < (lens if scores.ndim == 3 else lens[:, None])[..., None])",
                "counted = torch.ones_like(position).cumsum(0)\n"
                "        conditions.append(~(counted > (lens if scores.ndim == 3 else lens[:, None])[..., None]))",
            ),
        ),
    ),
)
