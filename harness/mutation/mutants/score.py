"""Mutants of the score: scale, similarity, kernel."""

from attention_harness.mutation.mutant import Mutant, mutants

_SCALED = "scores / math.sqrt(query.shape[-1]) if scale is None else scores * scale"
_WIDTH = "scores / math.sqrt(query.shape[-1])"
_COSINE = "dot_product(normalise(query), normalise(key), value, **visibility)"
_FEATURES = "features = linear(query, W_q).unsqueeze(-2) + linear(key, W_k).unsqueeze(-3)"
_PAIRS = "features = linear(query, W[:, :size]).unsqueeze(-2) + linear(key, W[:, size:], b).unsqueeze(-3)"
_DIFFERENCE = "difference = w * (query.unsqueeze(-2) - key.unsqueeze(-3))"
_KERNEL = "(difference * difference).sum(-1) * -0.5"
_GATE = "query @ linear(key, W).tanh().mT"

SCALE = mutants(
    "scale",
    [
        ("scale by d instead of its root", _WIDTH, "scores / query.shape[-1]"),
        ("not scaled", _SCALED, "scores if scale is None else scores * scale"),
        ("scale by the fourth root of d", _WIDTH, "scores / query.shape[-1] ** 0.25"),
        ("scale by the root of d + 1", _WIDTH, "scores / math.sqrt(query.shape[-1] + 1)"),
        ("scale by the root of the number of keys", _WIDTH, "scores / math.sqrt(max(key.shape[-2], 1))"),
        ("scale by the root of the value width", _WIDTH, "scores / math.sqrt(value.shape[-1])"),
        ("scale rounded to three digits", _WIDTH, "scores * round(1 / math.sqrt(query.shape[-1]), 3)"),
        ("scale off by a thousandth", _WIDTH, "scores / math.sqrt(query.shape[-1]) * 1.001"),
        ("scale constant for d = 64", _WIDTH, "scores / 8"),
        ("given scale ignored", _SCALED, "scores / math.sqrt(query.shape[-1])"),
        (
            "given scale applied twice",
            _SCALED,
            "scores / math.sqrt(query.shape[-1]) if scale is None else scores * scale**2",
        ),
        ("given scale divides", _SCALED, "scores / math.sqrt(query.shape[-1]) if scale is None else scores / scale"),
        (
            "given scale on top of the default",
            _SCALED,
            "scores / math.sqrt(query.shape[-1]) * (1 if scale is None else scale)",
        ),
        (
            "multi-head scaled by the whole width",
            "for x, W in projections), **visibility)",
            "for x, W in projections), scale=1 / math.sqrt(W_q.shape[0]), **visibility)",
        ),
        (
            "scale by the root of the number of heads",
            "for x, W in projections), **visibility)",
            "for x, W in projections), scale=1 / math.sqrt(heads), **visibility)",
        ),
        ("bias added before the scale", _WIDTH, "(scores + visibility.pop('bias', 0.0)) / math.sqrt(query.shape[-1])"),
    ],
)

SIMILARITY = mutants(
    "similarity",
    [
        ("cosine without the query's norm", _COSINE, "dot_product(query, normalise(key), value, **visibility)"),
        ("cosine without the key's norm", _COSINE, "dot_product(normalise(query), key, value, **visibility)"),
        (
            "cosine squared",
            _COSINE,
            "dot_product(normalise(query) * 1.0, normalise(key) * normalise(key).abs(), value, **visibility)",
        ),
        ("cosine with eps in the norm", ".clamp_min(1))", " + 1e-3)"),
        (
            "cosine with norms below one left out",
            "    wide = wide / largest.masked_fill(largest == 0, math.inf)\n",
            "    wide = wide + 0 * largest\n",
        ),
        (
            "cosine over the sequence",
            "vector_norm(wide, dim=-1, keepdim=True)",
            "vector_norm(wide, dim=-2, keepdim=True)",
        ),
        ("cosine by the L1 norm", "vector_norm(wide, dim=-1", "vector_norm(wide, ord=1, dim=-1"),
        ("additive without tanh", "attend(features.tanh() @ w_v", "attend(features @ w_v"),
        ("additive with a rectifier", "attend(features.tanh() @ w_v", "attend(features.relu() @ w_v"),
        ("additive with tanh outside", "attend(features.tanh() @ w_v", "attend((features @ w_v).tanh()"),
        ("additive without w_v", "attend(features.tanh() @ w_v", "attend(features.tanh().sum(-1)"),
        ("additive with the absolute w_v", "attend(features.tanh() @ w_v", "attend(features.tanh() @ w_v.abs()"),
        ("additive with a difference", _FEATURES, _FEATURES.replace(" + ", " - ")),
        (
            "additive ignores the query",
            _FEATURES,
            "features = linear(key, W_k).unsqueeze(-3) + 0 * query.sum(-1)[..., :, None, None]",
        ),
        (
            "concatenation in the other order",
            _PAIRS,
            _PAIRS.replace("W[:, :size]", "W[:, -size:]").replace("W[:, size:]", "W[:, :-size]"),
        ),
        ("concatenation without its bias", _PAIRS, _PAIRS.replace(", b)", ")")),
        ("concatenation with its bias twice", _PAIRS, _PAIRS.replace("W[:, :size])", "W[:, :size], b)")),
        ("concatenation averaged, not summed", "features.tanh().sum(-1)", "features.tanh().mean(-1)"),
        ("concatenation with tanh outside", "features.tanh().sum(-1)", "features.sum(-1).tanh()"),
        ("gate on the query", _GATE, "query.tanh() @ linear(key, W).mT"),
        ("gate missing", _GATE, "query @ linear(key, W).mT"),
        ("gate by a sigmoid", _GATE, "query @ linear(key, W).sigmoid().mT"),
        ("kernel without its half", _KERNEL, "(difference * difference).sum(-1) * -1.0"),
        ("kernel without its minus", _KERNEL, "(difference * difference).sum(-1) * 0.5"),
        ("kernel averaged over the width", _KERNEL, "(difference * difference).mean(-1) * -0.5"),
        ("kernel of the L1 distance", _KERNEL, "difference.abs().sum(-1) * -0.5"),
        ("kernel of the plain distance", _KERNEL, "(difference * difference).sum(-1).sqrt() * -0.5"),
        ("kernel with w unsquared", _DIFFERENCE, _DIFFERENCE.replace("w *", "w.abs().sqrt() *")),
        ("kernel with the bandwidth inverted", _DIFFERENCE, _DIFFERENCE.replace("w * (", "(1 / w) * (")),
        ("kernel without w", _DIFFERENCE, _DIFFERENCE.replace("w * (", "(")),
        ("kernel of the sum", _DIFFERENCE, _DIFFERENCE.replace(" - ", " + ")),
        (
            "kernel by the expanded square in half precision",
            _DIFFERENCE,
            _DIFFERENCE + "\n    difference = difference.bfloat16().to(query.dtype)",
        ),
        ("dot product of negated keys", "attend(query @ key.mT, value", "attend(query @ -key.mT, value"),
        (
            "dot product leaves out the last channel",
            "attend(query @ key.mT, value",
            "attend(query[..., :-1] @ key[..., :-1].mT, value",
        ),
        (
            "scaled product leaves out the last channel",
            "scores = query @ key.mT\n",
            "scores = query[..., :-1] @ key[..., :-1].mT\n",
        ),
    ],
)

MUTANTS: tuple[Mutant, ...] = SCALE + SIMILARITY
