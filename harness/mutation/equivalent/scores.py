"""Other ways to compute the scores of each mechanism."""

from __future__ import annotations

from attention_harness.model.capabilities import Arithmetic
from attention_harness.mutation.equivalent.rewriting import SCORES, WITH_HELPERS, scores_of, wider
from attention_harness.mutation.equivalent.variant import EquivalentVariant

_SCALED = "    scores = scores / math.sqrt(query.shape[-1]) if scale is None else scores * scale\n"

_CAP = "        scores = softcap * (scores / softcap).tanh()\n"

VARIANTS = (
    EquivalentVariant(
        "softcap by the inverse", ((_CAP, "        scores = (scores * (1 / softcap)).tanh() * softcap\n"),)
    ),
    EquivalentVariant(
        "softcap in single precision or better",
        (WITH_HELPERS, (_CAP, "        scores = (softcap * (wide(scores) / softcap).tanh()).to(scores.dtype)\n")),
    ),
    EquivalentVariant("scores by einsum", scores_of('torch.einsum("...id,...jd->...ij", query, key)')),
    EquivalentVariant("scores as the transposed product", scores_of("(key @ query.mT).mT")),
    EquivalentVariant(
        "scores by blocks of queries",
        scores_of(wider("torch.cat([part @ b.mT for part in a.split(4, -2)], -2)", "query", "key")),
    ),
    EquivalentVariant(
        "scores by blocks of keys",
        scores_of(wider("torch.cat([a @ part.mT for part in b.split(16, -2)], -1)", "query", "key")),
    ),
    EquivalentVariant(
        "scores in a loop over the batch",
        scores_of("torch.stack([q @ k.mT for q, k in zip(query, key)]) if len(query) else query @ key.mT"),
    ),
    EquivalentVariant(
        "scores in a loop over the heads",
        scores_of(
            "torch.stack([q @ k.mT for q, k in zip(query.unbind(-3), key.unbind(-3))], -3) if len(query) else query @ key.mT"
        ),
    ),
    EquivalentVariant(
        "scale folded into the query",
        (
            (SCORES, ""),
            (
                _SCALED,
                "    scores = (query / math.sqrt(query.shape[-1]) if scale is None else query * scale) @ key.mT\n",
            ),
        ),
        Arithmetic(scaled_inputs=True),
    ),
    EquivalentVariant(
        "scale folded into the key",
        (
            (SCORES, ""),
            (_SCALED, "    scores = query @ (key / math.sqrt(key.shape[-1]) if scale is None else key * scale).mT\n"),
        ),
        Arithmetic(scaled_inputs=True),
    ),
    EquivalentVariant(
        "fourth root of the width on both sides",
        (
            (SCORES, ""),
            (
                _SCALED,
                "    root = query.shape[-1] ** 0.25\n"
                "    scores = (query / root) @ (key / root).mT if scale is None else query @ (key * scale).mT\n",
            ),
        ),
        Arithmetic(scaled_inputs=True),
    ),
    EquivalentVariant(
        "scale by a reciprocal",
        ((_SCALED, _SCALED.replace("scores / math.sqrt(query.shape[-1])", "scores * query.shape[-1] ** -0.5")),),
    ),
    EquivalentVariant(
        "cosine by dividing the finished product",
        (
            WITH_HELPERS,
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
    EquivalentVariant(
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
    EquivalentVariant(
        "additive in a loop over the features",
        (
            WITH_HELPERS,
            (
                "return attend(features.tanh() @ w_v, value",
                "scores = sum(wide(f) * wide(w) for f, w in zip(features.tanh().unbind(-1), w_v)).to(query.dtype)\n"
                "    return attend(scores, value",
            ),
        ),
    ),
    EquivalentVariant(
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
    EquivalentVariant(
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
    EquivalentVariant(
        "kernel in a loop over the width",
        (
            WITH_HELPERS,
            (
                "    return attend((difference * difference).sum(-1) * -0.5, value",
                "    scores = sum(wide(part) ** 2 for part in difference.unbind(-1)) * -0.5\n"
                "    return attend(scores.to(query.dtype), value",
            ),
        ),
    ),
)
