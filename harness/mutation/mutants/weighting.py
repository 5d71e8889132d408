"""Mutants of the softmax and of the weighted sum: normalisation, blocks, tails, values, precision."""

from attention_harness.mutation.mutant import Mutant, mutants

_PLAIN = "        return scores.softmax(-1)\n"
_BOTH = "scores.softmax(-1)"
_ATTEND = "    weights = softmax(scores, **visibility)\n    return weights @ value, weights"
_FULL = """\
    if bias is not None:
        scores = scores + bias.masked_fill(bias == -math.inf, 0.0)
    seen = visible_keys(scores, mask, bias, valid_lens, causal)
    scores = scores if seen is None else scores.masked_fill(~seen, -math.inf)
"""
_START = "    if bias is not None:\n        scores = scores + bias\n"


def _own_attend(body: str) -> str:
    """Return code that takes the softmax over on masked scores; a fully masked row is zero."""
    return _FULL + "    import torch\n" + body


def _online(body: str, block: int = 16) -> str:
    """Return an online softmax over blocks of keys whose update is the body; it leaves `peak` and `total`."""
    return _own_attend(
        f"    peak, total = scores.new_full((*scores.shape[:-1], 1), -math.inf), scores.new_zeros((*scores.shape[:-1], 1))\n"
        f"    for part in scores.split({block}, -1) if scores.shape[-1] else ():\n"
        f"        higher = torch.maximum(peak, part.amax(-1, keepdim=True))\n"
        f"        safe = higher.masked_fill(higher == -math.inf, 0.0)\n"
        + body
        + "    peak = peak.masked_fill(peak == -math.inf, 0.0)\n"
        "    return (scores - peak).exp() / total.masked_fill(total == 0, 1.0)\n"
    )


_SUM = (
    "        total = total * (peak - safe).exp() + (part - safe).exp().sum(-1, keepdim=True)\n        peak = higher\n"
)
_SAFE = "    peak = scores.amax(-1, keepdim=True) if scores.shape[-1] else scores.sum(-1, keepdim=True)\n    peak = peak.masked_fill(peak == -math.inf, 0.0)\n    weights = (scores - peak).exp()\n    total = weights.sum(-1, keepdim=True)\n"

SOFTMAX = mutants(
    "softmax",
    [
        ("softmax over the queries", _BOTH, "scores.softmax(-2)"),
        ("softmax over the whole matrix", _BOTH, "scores.flatten(-2).softmax(-1).unflatten(-1, scores.shape[-2:])"),
        ("softmax twice", _BOTH, "scores.softmax(-1).softmax(-1)"),
        ("softmax at temperature 1.01", _BOTH, "(scores / 1.01).softmax(-1)"),
        ("softmax at temperature 2", _BOTH, "(scores / 2).softmax(-1)"),
        (
            "softmax of negated scores",
            "        return scores.softmax(-1)\n    empty",
            "        return (-scores).softmax(-1)\n    empty",
        ),
        ("softmax of absolute scores", _START, _START + "    scores = scores.abs()\n"),
        ("softmax of rectified scores", _START, _START + "    scores = scores.relu()\n"),
        ("softmax capped at 30", _START, "    scores = 5 * (scores / 5).tanh()\n" + _START),
        ("softmax with a sink", _START, _own_attend(_SAFE + "    return weights / (total + (-peak).exp())\n")),
        (
            "softmax without its maximum",
            _START,
            _own_attend(
                "    weights = scores.exp()\n    total = weights.sum(-1, keepdim=True)\n    return weights / total.masked_fill(total == 0, 1.0)\n"
            ),
        ),
        (
            "softmax with the maximum of the whole matrix",
            _START,
            _own_attend(
                "    peak = scores.max() if scores.numel() else 0.0\n    peak = torch.where(torch.as_tensor(peak) == -math.inf, torch.zeros_like(torch.as_tensor(peak)), torch.as_tensor(peak))\n    weights = (scores - peak - 60).exp()\n    total = weights.sum(-1, keepdim=True)\n    return weights / total.masked_fill(total == 0, 1.0)\n"
            ),
        ),
        (
            "maximum of a row at least -1e4",
            _START,
            _own_attend(
                _SAFE.replace("    weights =", "    peak = peak.clamp_min(-1e4)\n    weights =")
                + "    return weights / total.masked_fill(total == 0, 1.0)\n"
            ),
        ),
        ("scores centred over the batch", _START, "    scores = scores - scores.mean(0, keepdim=True)\n" + _START),
        ("eps of 1e-5 in the denominator", _START, _own_attend(_SAFE + "    return weights / (total + 1e-5)\n")),
        ("eps of 1e-3 in the denominator", _START, _own_attend(_SAFE + "    return weights / (total + 1e-3)\n")),
        (
            "base two without log2(e)",
            _START,
            _own_attend(
                _SAFE.replace("(scores - peak).exp()", "(scores - peak).exp2()")
                + "    return weights / total.masked_fill(total == 0, 1.0)\n"
            ),
        ),
        (
            "log2(e) as 1.4427",
            _START,
            _own_attend(
                _SAFE.replace("(scores - peak).exp()", "((scores - peak) * 1.4427).exp2()")
                + "    return weights / total.masked_fill(total == 0, 1.0)\n"
            ),
        ),
        (
            "log2(e) as 1.44",
            _START,
            _own_attend(
                _SAFE.replace("(scores - peak).exp()", "((scores - peak) * 1.44).exp2()")
                + "    return weights / total.masked_fill(total == 0, 1.0)\n"
            ),
        ),
        (
            "exponential by a cubic polynomial",
            _START,
            _own_attend(
                _SAFE.replace(
                    "(scores - peak).exp()",
                    "(lambda z: torch.where(z > -1, 1 + z + z**2 / 2 + z**3 / 6, z.exp()))(scores - peak)",
                )
                + "    return weights / total.masked_fill(total == 0, 1.0)\n"
            ),
        ),
        ("sigmoid instead of softmax", _START, _own_attend("    return scores.sigmoid()\n")),
        (
            "only the largest counts",
            _START,
            _own_attend(
                _SAFE
                + "    top = (weights == 1.0).to(weights.dtype)\n    return top / top.sum(-1, keepdim=True).clamp_min(1)\n"
            ),
        ),
        (
            "only the eight largest count",
            _START,
            _own_attend(
                _SAFE
                + "    edge = weights.topk(min(8, weights.shape[-1]), -1).values[..., -1:]\n    weights = weights * (weights >= edge)\n    total = weights.sum(-1, keepdim=True)\n    return weights / total.masked_fill(total == 0, 1.0)\n"
            ),
        ),
        (
            "weights below a thousandth dropped",
            _START,
            _own_attend(
                _SAFE
                + "    weights = weights / total.masked_fill(total == 0, 1.0)\n    return weights * (weights > 1e-3)\n"
            ),
        ),
        (
            "weights never below 1e-4",
            _START,
            _own_attend(
                _SAFE + "    return (weights / total.masked_fill(total == 0, 1.0)).clamp_min(1e-4) * (total > 0)\n"
            ),
        ),
        ("not normalised", _START, _own_attend(_SAFE + "    return weights\n")),
        (
            "normalised by the root of the squares",
            _START,
            _own_attend(
                _SAFE
                + "    total = (weights * weights).sum(-1, keepdim=True).sqrt()\n    return weights / total.masked_fill(total == 0, 1.0)\n"
            ),
        ),
        (
            "normalised over hidden keys too",
            _START,
            _FULL.replace(
                "scores = scores if seen is None else scores.masked_fill(~seen, -math.inf)",
                "whole = scores.softmax(-1)\n    return whole if seen is None else whole * seen",
            ),
        ),
    ],
)

BLOCKS = mutants(
    "blocks",
    [
        ("online: sum not rescaled", _START, _online(_SUM.replace("total * (peak - safe).exp()", "total"))),
        (
            "online: rescaled the wrong way",
            _START,
            _online(_SUM.replace("(peak - safe).exp()", "(safe - peak).exp().nan_to_num(0.0, 0.0)")),
        ),
        (
            "online: maximum of the last block",
            _START,
            _online(_SUM.replace("peak = higher", "peak = part.amax(-1, keepdim=True)")),
        ),
        (
            "online: dead first block is NaN",
            _START,
            _online(_SUM.replace("- safe", "- higher"), 4),
        ),
        (
            "online: maximum starts at zero",
            _START,
            _online(_SUM)
            .replace("-math.inf), scores.new_zeros", "0.0), scores.new_zeros")
            .replace("higher.masked_fill", "(higher + 90).masked_fill"),
        ),
        (
            "online: maximum starts at -5e4",
            _START,
            _online(_SUM).replace("-math.inf), scores.new_zeros", "-5e4), scores.new_zeros"),
        ),
        (
            "online: last block counted twice",
            _START,
            _online(_SUM).replace(
                "    peak = peak.masked_fill",
                "    total = total + (part - higher).exp().nan_to_num(0.0).sum(-1, keepdim=True) if scores.shape[-1] else total\n    peak = peak.masked_fill",
            ),
        ),
        *(
            (
                f"tail dropped after blocks of {block}",
                _ATTEND,
                _ATTEND.replace(
                    "return weights @ value",
                    f"kept = scores.shape[-1] // {block} * {block} or scores.shape[-1]\n    return weights[..., :kept] @ value[..., :kept, :]",
                ),
            )
            for block in (4, 16, 32, 64)
        ),
        *(
            (
                f"tail padded to {block} with zero scores",
                _START,
                _own_attend(
                    _SAFE
                    + f"    return weights / (total + (-scores.shape[-1] % {block}) * (-peak).exp()).masked_fill(total == 0, 1.0)\n"
                ),
            )
            for block in (8, 16, 64)
        ),
        (
            "first block of 16 ignored",
            _ATTEND,
            _ATTEND.replace(
                "return weights @ value",
                "first = 16 if scores.shape[-1] > 16 else 0\n    return weights[..., first:] @ value[..., first:, :]",
            ),
        ),
        (
            "queries past 32 see the block before",
            _ATTEND,
            _ATTEND.replace(
                "return weights @ value",
                "import torch\n    weights = torch.cat([weights[..., :32, :], weights[..., 31:-1, :]], -2) if weights.shape[-2] > 32 else weights\n    return weights @ value",
            ),
        ),
        (
            "halves of the keys averaged, not merged",
            _ATTEND,
            _ATTEND.replace(
                "return weights @ value",
                "half = scores.shape[-1] // 2\n    a, b = weights[..., :half], weights[..., half:]\n    s, t = a.sum(-1, keepdim=True), b.sum(-1, keepdim=True)\n    weights = weights if half == 0 else __import__('torch').cat([a / s.masked_fill(s == 0, 1.0), b / t.masked_fill(t == 0, 1.0)], -1) / 2\n    return weights @ value",
            ),
        ),
        (
            "no more than 64 keys",
            _ATTEND,
            _ATTEND.replace("return weights @ value", "return weights[..., :64] @ value[..., :64, :]"),
        ),
    ],
)

SUMS = mutants(
    "sum",
    [
        (name, _ATTEND, _ATTEND.replace("return weights @ value", code))
        for name, code in (
            ("last key dropped", "return weights[..., :-1] @ value[..., :-1, :]"),
            ("first key dropped", "return weights[..., 1:] @ value[..., 1:, :]"),
            ("first key counted twice", "return weights @ value + weights[..., :1] @ value[..., :1, :]"),
            ("mean of the values", "return weights.sum(-1, keepdim=True) * value.mean(-2, keepdim=True)"),
            ("values shifted by one key", "return weights @ value.roll(1, -2)"),
            ("values in the opposite order", "return weights @ value.flip(-2)"),
            ("value channels reversed", "return weights @ value.flip(-1)"),
            ("last value channel zero", "value = value.clone()\n    value[..., -1] = 0\n    return weights @ value"),
            ("values of the first batch for all", "return weights @ value[:1].expand_as(value)"),
            ("values of the next batch", "return weights @ value.roll(1, 0)"),
            ("weights of the next query", "return weights.roll(1, -2) @ value"),
            (
                "weights transposed where they are square",
                "weights = weights.mT if weights.shape[-1] == weights.shape[-2] else weights\n    return weights @ value",
            ),
            ("output a thousandth too large", "return weights @ value * 1.001"),
            ("output off by 1e-4", "return weights @ value + 1e-4"),
            ("output clipped to 8", "return (weights @ value).clamp(-8, 8)"),
            ("output in absolute value", "return (weights @ value).abs()"),
            (
                "output of the last query repeated",
                "out = weights @ value\n    return out[..., -1:, :].expand_as(out).clone()",
            ),
            (
                "sum left without the smallest weight",
                "weights = weights.masked_fill(weights == weights.amin(-1, keepdim=True) if weights.shape[-1] > 1 else weights < 0, 0.0)\n    return weights @ value",
            ),
        )
    ],
)

PRECISION = mutants(
    "precision",
    [
        (
            "scores in bfloat16",
            _ATTEND,
            _ATTEND.replace("softmax(scores,", "softmax(scores.bfloat16().to(scores.dtype),"),
        ),
        ("scores in float16", _ATTEND, _ATTEND.replace("softmax(scores,", "softmax(scores.half().to(scores.dtype),")),
        (
            "scores stored in float16 before the scale",
            "    scores = query @ key.mT\n",
            "    scores = (query @ key.mT).half().to(query.dtype)\n",
        ),
        (
            "scores in float32 where float64 is asked",
            _ATTEND,
            _ATTEND.replace("softmax(scores,", "softmax(scores.float().to(scores.dtype),"),
            "ONNX Runtime 1.31.1: FusedMatMul keeps its alpha in float32",
        ),
        (
            "weights in bfloat16",
            _ATTEND,
            _ATTEND.replace("return weights @", "return weights.bfloat16().to(value.dtype) @"),
        ),
        ("weights in float16", _ATTEND, _ATTEND.replace("return weights @", "return weights.half().to(value.dtype) @")),
        (
            "weights in eight bits",
            _ATTEND,
            _ATTEND.replace("return weights @", "return (weights * 255).round() / 255 @"),
        ),
        ("values in bfloat16", _ATTEND, _ATTEND.replace("@ value,", "@ value.bfloat16().to(value.dtype),")),
        (
            "output in bfloat16",
            _ATTEND,
            _ATTEND.replace("return weights @ value,", "return (weights @ value).bfloat16().to(value.dtype),"),
        ),
        (
            "output in float16",
            _ATTEND,
            _ATTEND.replace("return weights @ value,", "return (weights @ value).half().to(value.dtype),"),
        ),
        (
            "factors in TF32",
            "    scores = query @ key.mT\n",
            "    cut = lambda x: x if x.element_size() < 4 else (x.float().view(__import__('torch').int32) & -8192).view(__import__('torch').float32).to(x.dtype)\n    scores = cut(query) @ cut(key).mT\n",
        ),
        ("keys in bfloat16", "    scores = query @ key.mT\n", "    scores = query @ key.bfloat16().to(key.dtype).mT\n"),
        (
            "projections in bfloat16",
            "return torch.nn.functional.linear(x, weight, bias)",
            "return torch.nn.functional.linear(x, weight, bias).bfloat16().to(x.dtype)",
        ),
        (
            "projections in float16",
            "return torch.nn.functional.linear(x, weight, bias)",
            "return torch.nn.functional.linear(x, weight, bias).half().to(x.dtype)",
        ),
        (
            "sum saturates in float16",
            _ATTEND,
            _ATTEND.replace(
                "return weights @ value,",
                "total = 0\n    for j in range(value.shape[-2]):\n        total = (total + weights[..., j : j + 1] * value[..., j : j + 1, :]).half().to(value.dtype)\n    return total + 0 * (weights @ value),",
            ),
        ),
        (
            "angles in bfloat16",
            "device=sequence.device, dtype=dtype)[:, None] * rate",
            "device=sequence.device, dtype=dtype)[:, None] * rate.bfloat16()",
        ),
        ("angles in float16", "angle = torch.arange(length", "rate = rate.half()\n    angle = torch.arange(length"),
    ],
)

_RETURN = "    return attend(scores, value, **visibility)\n"

WIDTHS = mutants(
    "width",
    [
        (
            "output as wide as the query",
            _RETURN,
            "    output, weights = attend(scores, value, **visibility)\n    return torch.nn.functional.pad(output, (0, query.shape[-1] - output.shape[-1])), weights\n",
        ),
        (
            "value columns past the width of the query zero",
            _RETURN,
            "    output, weights = attend(scores, value, **visibility)\n    return output * (torch.arange(output.shape[-1]) < query.shape[-1]), weights\n",
        ),
    ],
)

MUTANTS: tuple[Mutant, ...] = WIDTHS + SOFTMAX + BLOCKS + SUMS + PRECISION
