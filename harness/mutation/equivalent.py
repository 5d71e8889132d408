"""Correct attentions that compute in other ways: the suite must accuse none of them.

Each is a patch of the eager implementation's source, as a mutant is, with the arithmetic that it owns up to. It is right
for every option, and autograd flows through it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from attention_harness import registry
from attention_harness.model.capabilities import Arithmetic
from attention_harness.mutation.mutant import Patches, built

_LOOSEST = Arithmetic()


@dataclass(frozen=True, slots=True)
class Variant:
    """patches: (what stands in the source, what is put there). arithmetic, fully_masked_rows: what it declares."""

    name: str
    patches: Patches
    arithmetic: Arithmetic = _LOOSEST
    fully_masked_rows: str = "zero"


def varied(variant: Variant) -> registry.Implementation:
    """Return the eager implementation computed in the variant's way; its name is `variant:NAME`."""
    found = built(f"variant:{variant.name}", variant.patches)
    found.module.__dict__["CAPABILITIES"] = replace(
        found.capabilities, arithmetic=variant.arithmetic, fully_masked_rows=variant.fully_masked_rows
    )
    return found


FUSED = Arithmetic(stored_probabilities=False)
SPLIT = Arithmetic(stored_probabilities=False, split_keys=True)

_SHARED = "# --- what they share\n"
_HELPERS = """
def wide(x):
    return x if x.dtype == torch.float64 else x.float()


def finished(scores, *, mask=None, bias=None, valid_lens=None, causal=None):
    # The scores in float32 or better, -inf where a key is hidden.
    visible = visible_keys(scores, mask, bias, valid_lens, causal)
    if bias is not None:
        scores = scores + bias.masked_fill(bias == -math.inf, 0.0)
    return wide(scores) if visible is None else wide(scores).masked_fill(~visible, -math.inf)


def largest(scores):
    # The maximum of each row, 0 where it sees no key; it cancels, so that no gradient passes.
    if scores.shape[-1] == 0:
        return scores.new_zeros(*scores.shape[:-1], 1)
    peak = scores.detach().amax(-1, keepdim=True)
    return peak.masked_fill(peak == -math.inf, 0.0)


def exponentials(scores):
    weights = (scores - largest(scores)).exp()
    return weights, filled(weights.sum(-1, keepdim=True))


def filled(total):
    return total.masked_fill(total == 0, 1.0)

"""
_ATTEND = "    weights = softmax(scores, **visibility)\n    return weights @ value, weights"
_START = "    if bias is not None:\n        scores = scores + bias\n"
_MASKED = "scores = scores.masked_fill(~visible, -math.inf).masked_fill(empty, 0.0)"
_DOT = "attend(query @ key.mT, value"
_SCORES = "    scores = query @ key.mT\n"
_SCALED = "    scores = scores / math.sqrt(query.shape[-1]) if scale is None else scores * scale\n"
_REPEAT = "x.repeat_interleave(query.shape[-3] // x.shape[-3], dim=-3)"
_LINEAR = "return torch.nn.functional.linear(x, weight, bias)"
_PREPARE = "return functools.partial(globals()[case.mechanism], **settings)"


def _output(body: str) -> Patches:
    """Return an `attend` whose `output` is the body's, from finished scores `s`; the weights are the usual ones."""
    lines = "".join(
        f"    {line}\n" for line in ("s, v = finished(scores, **visibility), wide(value)", *body.split("\n"))
    )
    put = lines + "    return output.to(value.dtype), softmax(scores, **visibility)"
    return ((_SHARED, _SHARED + _HELPERS), (_ATTEND, put))


def _sum(expression: str) -> Patches:
    """Return an `attend` whose weighted sum is the expression."""
    helpers = ((_SHARED, _SHARED + _HELPERS),) if "wide(" in expression else ()
    return (*helpers, (_ATTEND, _ATTEND.replace("weights @ value", expression)))


def _weights(body: str) -> Patches:
    """Return a `softmax` whose `weights` are the body's, from finished scores `s`."""
    first = "s = finished(scores, mask=mask, bias=bias, valid_lens=valid_lens, causal=causal)"
    lines = "".join(f"    {line}\n" for line in (first, *body.split("\n"), "return weights.to(scores.dtype)"))
    return ((_SHARED, _SHARED + _HELPERS), (_START, lines))


def _wider(expression: str, one: str, other: str) -> str:
    """Return the expression of `a` and `b` in float32 or better, rounded once, and so are their gradients."""
    return f"(lambda a, b: {expression})(wide({one}), wide({other})).to({one}.dtype)"


def _product(expression: str) -> Patches:
    """Return scores of the two products by another expression of query and key."""
    helpers = ((_SHARED, _SHARED + _HELPERS),) if "wide(" in expression else ()
    return (*helpers, (_SCORES, f"    scores = {expression}\n"), (_DOT, f"attend({expression}, value"))


def _online(block: int) -> Variant:
    """One pass over blocks of keys with a running maximum, sum and output (Milakov and Gimelshein 2018)."""
    body = f"""\
peak = s.new_full((*s.shape[:-1], 1), -math.inf)
total, output = torch.zeros_like(peak), s[..., :0] @ v[..., :0, :]
for keys in torch.arange(s.shape[-1]).split({block}) if s.shape[-1] else ():
    part = s[..., keys]
    higher = torch.maximum(peak, part.detach().amax(-1, keepdim=True))
    safe = higher.masked_fill(higher == -math.inf, 0.0)
    shrink, weights = (peak - safe).exp(), (part - safe).exp()
    total, output = total * shrink + weights.sum(-1, keepdim=True), output * shrink + weights @ v[..., keys, :]
    peak = higher
output = output / filled(total)"""
    arithmetic = replace(FUSED, block=min(block, 16))
    return Variant(f"online softmax in blocks of {block}", _output(body), arithmetic)


def _split(parts: int) -> Variant:
    """Each part of the keys on its own, merged through their log-sum-exp (split KV, ring attention)."""
    body = f"""\
outs, sums = [s[..., :0] @ v[..., :0, :]], [s.new_full((*s.shape[:-1], 1), -math.inf)]
for keys in torch.arange(s.shape[-1]).tensor_split({parts}):
    if len(keys):
        part = s[..., keys]
        weights, total = exponentials(part)
        outs.append(weights @ v[..., keys, :] / total)
        sums.append((total.log() + largest(part)).masked_fill((part == -math.inf).all(-1, keepdim=True), -math.inf))
sums = torch.stack(sums)
peak = sums.detach().amax(0)
shares = (sums - peak.masked_fill(peak == -math.inf, 0.0)).exp()
output = (shares * torch.stack(outs)).sum(0) / filled(shares.sum(0))"""
    return Variant(f"keys in {parts} parts, merged by log-sum-exp", _output(body), SPLIT)


_SCORE = (
    Variant("scores by einsum", _product('torch.einsum("...id,...jd->...ij", query, key)')),
    Variant("scores as the transposed product", _product("(key @ query.mT).mT")),
    Variant(
        "scores by blocks of queries",
        _product(_wider("torch.cat([part @ b.mT for part in a.split(4, -2)], -2)", "query", "key")),
    ),
    Variant(
        "scores by blocks of keys",
        _product(_wider("torch.cat([a @ part.mT for part in b.split(16, -2)], -1)", "query", "key")),
    ),
    Variant(
        "scores in a loop over the batch",
        _product("torch.stack([q @ k.mT for q, k in zip(query, key)]) if len(query) else query @ key.mT"),
    ),
    Variant(
        "scores in a loop over the heads",
        _product(
            "torch.stack([q @ k.mT for q, k in zip(query.unbind(-3), key.unbind(-3))], -3) if len(query) else query @ key.mT"
        ),
    ),
    Variant(
        "scale folded into the query",
        (
            (_SCORES, ""),
            (
                _SCALED,
                "    scores = (query / math.sqrt(query.shape[-1]) if scale is None else query * scale) @ key.mT\n",
            ),
        ),
        Arithmetic(scaled_inputs=True),
    ),
    Variant(
        "scale folded into the key",
        (
            (_SCORES, ""),
            (_SCALED, "    scores = query @ (key / math.sqrt(key.shape[-1]) if scale is None else key * scale).mT\n"),
        ),
        Arithmetic(scaled_inputs=True),
    ),
    Variant(
        "fourth root of the width on both sides",
        (
            (_SCORES, ""),
            (
                _SCALED,
                "    root = query.shape[-1] ** 0.25\n"
                "    scores = (query / root) @ (key / root).mT if scale is None else query @ (key * scale).mT\n",
            ),
        ),
        Arithmetic(scaled_inputs=True),
    ),
    Variant(
        "scale by a reciprocal",
        ((_SCALED, _SCALED.replace("scores / math.sqrt(query.shape[-1])", "scores * query.shape[-1] ** -0.5")),),
    ),
    Variant(
        "cosine by dividing the finished product",
        (
            (_SHARED, _SHARED + _HELPERS),
            (
                "    return dot_product(normalise(query), normalise(key), value, **visibility)",
                """\
    key, value = repeat_heads(key, query), repeat_heads(value, query)
    q, k = wide(query), wide(key)
    sizes = torch.linalg.vector_norm(q, dim=-1, keepdim=True), torch.linalg.vector_norm(k, dim=-1, keepdim=True)
    scores = q @ k.mT / filled(sizes[0]) / filled(sizes[1]).mT
    return attend(scores.to(query.dtype), value, **visibility)""",
            ),
        ),
    ),
    Variant(
        "additive over one concatenated layer",
        (
            (
                "features = linear(query, W_q).unsqueeze(-2) + linear(key, W_k).unsqueeze(-3)",
                "pairs = (*query.shape[:-1], key.shape[-2], -1)\n"
                "    joined = torch.cat([query.unsqueeze(-2).expand(pairs), key.unsqueeze(-3).expand(pairs[:-1] + key.shape[-1:])], -1)\n"
                "    features = linear(joined, torch.cat([W_q, W_k], 1))",
            ),
        ),
    ),
    Variant(
        "additive in a loop over the features",
        (
            (_SHARED, _SHARED + _HELPERS),
            (
                "return attend(features.tanh() @ w_v, value",
                "scores = sum(wide(f) * wide(w) for f, w in zip(features.tanh().unbind(-1), w_v)).to(query.dtype)\n"
                "    return attend(scores, value",
            ),
        ),
    ),
    Variant(
        "layers over concatenated inputs",
        (
            (
                "    features = linear(query, W[:, :size]).unsqueeze(-2) + linear(key, W[:, size:], b).unsqueeze(-3)",
                "    q = query.unsqueeze(-2).expand(*query.shape[:-1], key.shape[-2], size)\n"
                "    k = key.unsqueeze(-3).expand(*query.shape[:-1], *key.shape[-2:])\n"
                "    features = linear(torch.cat([q, k], -1), W, b)",
            ),
            (
                "    scores = linear(query, W[:, :size]) + linear(key, W[:, size:], b)",
                "    scores = linear(torch.cat([query, key], -1), W, b)",
            ),
            (
                "    return linear(query, W_c[:, :size]) + linear(context, W_c[:, size:], b_c), weights",
                "    return linear(torch.cat([query, context], -1), W_c, b_c), weights",
            ),
        ),
    ),
    Variant(
        "kernel by the expanded square, one format wider",
        (
            (
                "    difference = w * (query.unsqueeze(-2) - key.unsqueeze(-3))\n",
                "    if query.dtype != torch.float64:\n"
                "        q, k = query.double(), key.double()\n"
                "        square = (q * q).sum(-1, keepdim=True) - 2 * q @ k.mT + (k * k).sum(-1).unsqueeze(-2)\n"
                "        return attend((square * w.double() ** 2 * -0.5).to(query.dtype), value, **visibility)\n"
                "    difference = w * (query.unsqueeze(-2) - key.unsqueeze(-3))\n",
            ),
        ),
    ),
    Variant(
        "kernel in a loop over the width",
        (
            (_SHARED, _SHARED + _HELPERS),
            (
                "    return attend((difference * difference).sum(-1) * -0.5, value",
                "    scores = sum(wide(part) ** 2 for part in difference.unbind(-1)) * -0.5\n"
                "    return attend(scores.to(query.dtype), value",
            ),
        ),
    ),
)

_VISIBILITY = (
    Variant(
        "mask added as minus infinity",
        (
            (
                _MASKED,
                "scores = (scores + torch.zeros_like(scores).masked_fill(~visible, -math.inf)).masked_fill(empty, 0.0)",
            ),
        ),
    ),
    Variant(
        "mask chosen by where",
        ((_MASKED, "scores = torch.where(visible, scores, -math.inf)\n    scores = torch.where(empty, 0.0, scores)"),),
    ),
    Variant(
        "conditions multiplied as numbers",
        (
            (
                "functools.reduce(torch.logical_and, conditions)",
                "math.prod(condition.to(torch.int64) for condition in conditions).to(torch.bool)",
            ),
        ),
    ),
    Variant(
        "causality by a lower triangle",
        (
            (
                "conditions.append(position <= last[:, None])",
                "conditions.append(torch.ones(queries, keys, dtype=torch.bool, device=scores.device).tril(int(last[0]) if queries else 0))",
            ),
        ),
    ),
    Variant(
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

_SOFTMAX = (
    Variant(
        "softmax in float32, rounded once",
        _weights(
            "empty = (s == -math.inf).all(-1, keepdim=True)\nweights = torch.nn.functional.softmax(s.masked_fill(empty, 0.0), -1, dtype=s.dtype).masked_fill(empty, 0.0)"
        ),
    ),
    Variant("softmax in float64", _weights("weights, total = exponentials(s.double())\nweights = weights / total")),
    Variant(
        "softmax by exponentials of base two",
        _weights(
            "s = s * math.log2(math.e)\nweights = (s - largest(s)).exp2()\nweights = weights / filled(weights.sum(-1, keepdim=True))"
        ),
    ),
    Variant(
        "softmax summed key after key",
        _weights(
            "weights, _ = exponentials(s)\ntotal = sum(weights.split(1, -1) if s.shape[-1] else (), s.new_zeros(*s.shape[:-1], 1))\nweights = weights / filled(total)"
        ),
    ),
    Variant(
        "softmax by a reciprocal", _weights("weights, total = exponentials(s)\nweights = weights * total.reciprocal()")
    ),
    Variant(
        "softmax in the log domain",
        _weights("_, total = exponentials(s)\nweights = (s - (largest(s) + total.log())).exp()"),
        Arithmetic(split_keys=True),
    ),
    Variant(
        "softmax of keys out of order",
        _weights(
            "order = torch.cat([torch.arange(s.shape[-1])[::2], torch.arange(s.shape[-1])[1::2]])\nweights, total = exponentials(s[..., order])\nweights = (weights / total)[..., order.argsort()]"
        ),
    ),
    Variant(
        "softmax of the transposed scores",
        _weights(
            "empty = (s == -math.inf).all(-1, keepdim=True)\nweights = s.masked_fill(empty, 0.0).mT.contiguous().softmax(-2).mT.masked_fill(empty, 0.0)"
        ),
    ),
    Variant(
        "softmax of keys padded to a multiple of 32",
        _weights(
            "padded = torch.nn.functional.pad(s, (0, -s.shape[-1] % 32), value=-math.inf)\nweights, total = exponentials(padded)\nweights = (weights / total)[..., : s.shape[-1]]"
        ),
    ),
)

_SUM = (
    Variant("divided last", _output("weights, total = exponentials(s)\noutput = weights @ v / total"), FUSED),
    Variant(
        "base two, divided last",
        _output(
            "s = s * math.log2(math.e)\nweights = (s - largest(s)).exp2()\noutput = weights @ v / filled(weights.sum(-1, keepdim=True))"
        ),
        FUSED,
    ),
    Variant(
        "keys backwards",
        _output("weights, total = exponentials(s.flip(-1))\noutput = weights @ v.flip(-2) / total"),
        FUSED,
    ),
    Variant(
        "keys out of order",
        _output(
            "order = torch.cat([torch.arange(s.shape[-1])[::2], torch.arange(s.shape[-1])[1::2]])\nweights, total = exponentials(s[..., order])\noutput = weights @ v[..., order, :] / total"
        ),
        FUSED,
    ),
    Variant(
        "keys padded to a multiple of 16",
        _output(
            "pad = -s.shape[-1] % 16\nweights, total = exponentials(torch.nn.functional.pad(s, (0, pad), value=-math.inf))\noutput = weights @ torch.nn.functional.pad(v, (0, 0, 0, pad)) / total"
        ),
        FUSED,
    ),
    Variant(
        "key after key",
        _output(
            "weights, total = exponentials(s)\nweights, output = weights / total, s[..., :0] @ v[..., :0, :]\nfor key in range(s.shape[-1]):\n    output = output + weights[..., key : key + 1] * v[..., key : key + 1, :]"
        ),
        FUSED,
    ),
    Variant(
        "compensated sum",
        _output(
            "weights, total = exponentials(s)\noutput = lost = s[..., :0] @ v[..., :0, :]\nfor key in range(s.shape[-1]):\n    term = weights[..., key : key + 1] * v[..., key : key + 1, :] - lost\n    grown = output + term\n    output, lost = grown, ((grown - output) - term).detach()\noutput = output / total"
        ),
        FUSED,
    ),
    Variant(
        "all in float64",
        _output("weights, total = exponentials(s.double())\noutput = weights @ v.double() / total"),
        FUSED,
    ),
    Variant(
        "log domain", _output("_, total = exponentials(s)\noutput = (s - (largest(s) + total.log())).exp() @ v"), SPLIT
    ),
    *(_online(block) for block in (1, 8, 16, 64)),
    *(_split(parts) for parts in (2, 3, 5)),
    Variant(
        "value columns one by one",
        _sum(_wider("torch.cat([a @ column for column in b.split(1, -1)], -1)", "weights", "value")),
    ),
    Variant("sum by einsum", _sum('torch.einsum("...ij,...jd->...id", weights, value)')),
    Variant("sum as the transposed product", _sum("(value.mT @ weights.mT).mT")),
    Variant(
        "sum by blocks of queries",
        _sum(_wider("torch.cat([part @ b for part in a.split(4, -2)], -2)", "weights", "value")),
    ),
    Variant(
        "sum in a loop over the batch",
        _sum("(torch.stack([w @ v for w, v in zip(weights, value)]) if len(value) else weights @ value)"),
    ),
)

_AROUND = (
    Variant(
        "grouped heads by broadcasting",
        (
            (
                _REPEAT,
                "x.unsqueeze(-3).expand(*x.shape[:-2], query.shape[-3] // x.shape[-3], *x.shape[-2:]).flatten(-4, -3)",
            ),
        ),
    ),
    Variant(
        "grouped heads by index",
        ((_REPEAT, "x[..., torch.arange(query.shape[-3]) // (query.shape[-3] // x.shape[-3]), :, :]"),),
    ),
    Variant(
        "layers by einsum",
        ((_LINEAR, 'out = torch.einsum("...i,oi->...o", x, weight)\n    return out if bias is None else out + bias'),),
    ),
    Variant(
        "layers row by row",
        (
            (_SHARED, _SHARED + _HELPERS),
            (
                _LINEAR,
                "a = wide(x) * 1.0  # whose gradient is summed before it joins any other of x\n    rows = [(a * row).sum(-1) for row in wide(weight)]\n    out = torch.stack(rows, -1) if rows else a @ wide(weight).mT\n    return (out if bias is None else out + wide(bias)).to(x.dtype)",
            ),
        ),
    ),
    Variant(
        "heads split by chunks",
        (
            ("x.unflatten(-1, (heads, -1)).transpose(1, 2)", "torch.stack(x.chunk(heads, -1), 1)"),
            ("x.transpose(1, 2).flatten(2)", "torch.cat(x.unbind(1), -1)"),
        ),
    ),
    Variant(
        "heads one after the other",
        (
            (
                "    output, weights = scaled_dot_product(*(split_heads(linear(x, W), heads) for x, W in projections), **visibility)\n",
                """\
    split = [split_heads(linear(x, W), heads) for x, W in projections]
    answers = []
    for head in range(heads):
        of = lambda x: x[:, head : head + 1] if getattr(x, "ndim", 0) == 4 and x.shape[1] == heads else x
        own = {name: of(given) for name, given in visibility.items()}
        answers.append(scaled_dot_product(*map(of, split), **own))
    output, weights = (torch.cat(parts, 1) for parts in zip(*answers))
""",
            ),
        ),
    ),
    Variant(
        "encoding by complex exponentials",
        (
            (
                "torch.where(column % 2 == 0, angle.sin(), angle.cos())",
                "(lambda turn: torch.where(column % 2 == 0, turn.imag, turn.real))(torch.polar(torch.ones_like(angle), angle))",
            ),
        ),
    ),
    Variant(
        "copies of every input",
        (
            (
                _PREPARE,
                "made = functools.partial(globals()[case.mechanism], **settings)\n"
                "    copied = lambda x: x.contiguous().clone() if isinstance(x, torch.Tensor) else x\n"
                "    return lambda **given: made(**{name: copied(x) for name, x in given.items()})",
            ),
        ),
    ),
)

_ZERO = (
    "scores = scores.masked_fill(~visible, -math.inf).masked_fill(empty, 0.0)\n"
    "    return scores.softmax(-1).masked_fill(empty, 0.0)"
)
_POLICIES = (
    Variant(
        "fully masked rows are the mean, as declared",
        ((_ZERO, _ZERO.replace(".softmax(-1).masked_fill(empty, 0.0)", ".softmax(-1)")),),
        fully_masked_rows="mean",
    ),
    Variant(
        "fully masked rows are NaN, as declared",
        ((_ZERO, "return (scores + scores.new_zeros(()).masked_fill(~visible, -math.inf)).softmax(-1)"),),
        fully_masked_rows="nan",
    ),
)

VARIANTS: tuple[Variant, ...] = _SCORE + _VISIBILITY + _SOFTMAX + _SUM + _AROUND + _POLICIES
