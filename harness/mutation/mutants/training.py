"""Mutants that show in training: dropout and gradients. The plain output of most of them is right, bit for bit."""

from attention_harness.mutation.mutant import Mutant, mutants

_DROPPED = "torch.nn.functional.dropout(softmax(scores, **visibility), dropout)"
_TRAINING = "    if training:\n"
_ALIKE = "(lambda w: w * torch.nn.functional.dropout(torch.ones_like(w[{}]), dropout))(softmax(scores, **visibility))"

DROPOUT = mutants(
    "dropout",
    [
        ("dropout in evaluation too", _TRAINING, "    if dropout:\n"),
        ("dropout ignored in training", _TRAINING, "    if False:\n"),
        ("dropout: survivors not scaled", _DROPPED, f"{_DROPPED} * (1 - dropout)"),
        ("dropout: survivors scaled by the rate", _DROPPED, f"{_DROPPED} * (1 - dropout) * dropout"),
        ("dropout: survivors divided by the rate", _DROPPED, f"{_DROPPED} * (1 - dropout) / dropout"),
        ("dropout: survivors scaled twice", _DROPPED, f"{_DROPPED} / (1 - dropout)"),
        ("dropout: keep and drop exchanged", _DROPPED, _DROPPED.replace(", dropout)", ", 1 - dropout)")),
        ("dropout: rate too large by a tenth", _DROPPED, _DROPPED.replace(", dropout)", ", 1.1 * dropout)")),
        ("dropout twice", _DROPPED, f"torch.nn.functional.dropout({_DROPPED}, dropout)"),
        (
            "dropout of the scores",
            _DROPPED,
            "softmax(torch.nn.functional.dropout(scores, dropout), **visibility)",
        ),
        (
            "dropout before the normalisation",
            _DROPPED,
            f"(lambda w: w / w.sum(-1, keepdim=True).clamp_min(1e-9))({_DROPPED})",
        ),
        (
            "dropout of the output",
            f"weights = {_DROPPED}\n        return weights @ value, weights",
            "weights = softmax(scores, **visibility)\n        return torch.nn.functional.dropout(weights @ value, dropout), weights",
        ),
        (
            "dropout of the values",
            f"weights = {_DROPPED}\n        return weights @ value, weights",
            "weights = softmax(scores, **visibility)\n        return weights @ torch.nn.functional.dropout(value, dropout), weights",
        ),
        ("dropout alike in all batches", _DROPPED, _ALIKE.format(":1")),
        ("dropout alike in all heads", _DROPPED, _ALIKE.format("..., :1, :, :")),
        ("dropout alike for all queries", _DROPPED, _ALIKE.format("..., :1, :")),
        ("dropout alike for all keys", _DROPPED, _ALIKE.format("..., :1")),
        (
            "dropout alike in every call",
            _DROPPED,
            "(lambda w: w * (torch.rand(w.shape, generator=torch.Generator().manual_seed(7)) >= dropout) / (1 - dropout))(softmax(scores, **visibility)).to(value.dtype)",
        ),
    ],
)

_SHARED = "# --- what they share\n"
_CLASSES = '''
class Passing(torch.autograd.Function):
    """The same numbers; the gradient is what `change` makes of it."""

    @staticmethod
    def forward(ctx, x, change):
        ctx.change = change
        return x.clone()

    @staticmethod
    def backward(ctx, grad):
        return ctx.change(grad), None


class Softmax(torch.autograd.Function):
    """A softmax whose gradient is what `change` makes of the weights and the upstream one."""

    @staticmethod
    def forward(ctx, scores, change):
        weights = scores.softmax(-1)
        ctx.save_for_backward(weights)
        ctx.change = change
        return weights

    @staticmethod
    def backward(ctx, grad):
        return ctx.change(ctx.saved_tensors[0], grad), None


class Tanh(torch.autograd.Function):
    """A tanh without its derivative."""

    @staticmethod
    def forward(ctx, x):
        return x.tanh()

    @staticmethod
    def backward(ctx, grad):
        return grad


'''
_ATTEND = "    weights = softmax(scores, **visibility)\n    return weights @ value, weights"
_SCORES = "    scores = query @ key.mT\n"
_SCALE = "scores * scale"
_BIAS = "        scores = scores + bias\n"
_HIDDEN = "scores = scores.masked_fill(~visible, -math.inf).masked_fill(empty, 0.0)\n    return scores.softmax(-1).masked_fill(empty, 0.0)"
_LINEAR = "return torch.nn.functional.linear(x, weight, bias)"
_KERNEL = "difference = w * ("
_REPEAT = "x.repeat_interleave(query.shape[-3] // x.shape[-3], dim=-3)"


def _sum(expression: str) -> str:
    return _ATTEND.replace("weights @ value", expression)


def _passing(name: str, change: str) -> str:
    return f"Passing.apply({name}, lambda g: {change})"


_MISREAD = "torch.as_strided(g, g.shape, torch.empty(g.shape).stride())"

GRADIENTS = tuple(
    Mutant(name, "gradient", ((stands, put), *(((_SHARED, _SHARED + _CLASSES),) if ".apply(" in put else ())))
    for name, stands, put in (
        ("gradient stops at the weights", _ATTEND, _sum("weights.detach() @ value")),
        ("gradient of the values missing", _ATTEND, _sum("weights @ value.detach()")),
        ("gradient of the values twice", _ATTEND, _sum(f"weights @ {_passing('value', '2 * g')}")),
        (
            "gradient of the values in bfloat16",
            _ATTEND,
            _sum(f"weights @ {_passing('value', 'g.bfloat16().to(g.dtype)')}"),
        ),
        (
            "gradient of the weights in bfloat16",
            _ATTEND,
            _sum(f"{_passing('weights', 'g.bfloat16().to(g.dtype)')} @ value"),
        ),
        ("gradient of the weights off by a thousandth", _ATTEND, _sum(f"{_passing('weights', 'g * 1.001')} @ value")),
        ("upstream gradient misread as contiguous", _ATTEND, _sum(_passing("weights @ value", _MISREAD))),
        (
            "upstream gradient of the first batch for all",
            _ATTEND,
            _sum(_passing("weights @ value", "g[:1].expand_as(g)")),
        ),
        (
            "upstream gradient of the last query lost",
            _ATTEND,
            _sum(_passing("weights @ value", "torch.cat([g[..., :-1, :], 0 * g[..., -1:, :]], -2)")),
        ),
        ("upstream gradient clipped", _ATTEND, _sum(_passing("weights @ value", "g.clamp(-0.5, 0.5)"))),
        ("gradient of the query missing", _SCORES, "    scores = query.detach() @ key.mT\n"),
        ("gradient of the keys missing", _SCORES, "    scores = query @ key.detach().mT\n"),
        ("gradient of the keys with the wrong sign", _SCORES, f"    scores = query @ {_passing('key', '-g')}.mT\n"),
        (
            "gradient of the query without the scale",
            _SCORES,
            f"    scores = {_passing('query', 'g * query.shape[-1] ** 0.5')} @ key.mT\n",
        ),
        (
            "gradient of the keys scaled twice",
            _SCORES,
            f"    scores = query @ {_passing('key', 'g * query.shape[-1] ** -0.5')}.mT\n",
        ),
        (
            "gradient of the keys of the next batch",
            _SCORES,
            f"    scores = query @ {_passing('key', 'g.roll(1, 0)')}.mT\n",
        ),
        (
            "gradient of large scores stopped",
            _SCORES,
            _SCORES + "    scores = torch.where(scores.abs() > 3, scores.detach(), scores)\n",
        ),
        (
            "gradient of a learned scale missing",
            _SCALE,
            "scores * (scale.detach() if isinstance(scale, torch.Tensor) else scale)",
        ),
        ("gradient of the bias missing", _BIAS, "        scores = scores + bias.detach()\n"),
        ("gradient of the bias twice", _BIAS, f"        scores = scores + {_passing('bias', '2 * g')}\n"),
        (
            "gradient of the bias from the first batch alone",
            _BIAS,
            "        own = torch.cat([bias.expand_as(scores)[:1], bias.detach().expand_as(scores)[1:]])\n        scores = scores + own\n",
        ),
        (
            "gradient NaN where a row is empty",
            _HIDDEN,
            "weights = (scores + torch.zeros_like(scores).masked_fill(~visible, -math.inf)).softmax(-1)\n    return torch.where(empty, 0.0, weights)",
        ),
        (
            "gradient reaches hidden scores",
            _HIDDEN,
            "weights = scores.masked_fill(~visible, -math.inf).masked_fill(empty, 0.0).softmax(-1).masked_fill(empty, 0.0)\n    return weights + 1e-3 * (scores - scores.detach()).nan_to_num(0.0)",
        ),
        ("gradient of the softmax is its upstream", "scores.softmax(-1)", "Softmax.apply(scores, lambda w, g: g)"),
        (
            "gradient of the softmax without its row sum",
            "scores.softmax(-1)",
            "Softmax.apply(scores, lambda w, g: w * g)",
        ),
        (
            "gradient of the softmax from rounded weights",
            "scores.softmax(-1)",
            "Softmax.apply(scores, lambda w, g: (lambda v: v * (g - (v * g).sum(-1, keepdim=True)))(w.bfloat16().to(w.dtype)))",
        ),
        (
            "second derivative: gradient of the weights held constant",
            _ATTEND,
            _sum(f"{_passing('weights', 'g.detach()')} @ value"),
        ),
        (
            "second derivative: softmax held constant",
            "scores.softmax(-1)",
            "Softmax.apply(scores, lambda w, g: (lambda v: v * (g - (v * g).sum(-1, keepdim=True)))(w.detach()))",
        ),
        ("gradient of tanh left out", "features.tanh()", "Tanh.apply(features)"),
        ("gradient of the gate left out", "linear(key, W).tanh().mT", "Tanh.apply(linear(key, W)).mT"),
        ("gradient of w_v missing", "features.tanh() @ w_v", "features.tanh() @ w_v.detach()"),
        ("gradient of w halved", _KERNEL, f"difference = {_passing('w', 'g / 2')} * ("),
        (
            "gradient of w of the first query alone",
            _KERNEL,
            "difference = torch.cat([w.expand(1), w.detach().expand(max(query.shape[-2] - 1, 0))])[: query.shape[-2], None, None] * (",
        ),
        (
            "gradient of a layer's bias missing",
            _LINEAR,
            "return torch.nn.functional.linear(x, weight, None if bias is None else bias.detach())",
        ),
        (
            "gradient of a layer averaged over the batch",
            _LINEAR,
            f"return torch.nn.functional.linear(x, {_passing('weight', 'g / max(x.shape[0], 1)')}, bias)",
        ),
        ("gradient of a layer's input missing", _LINEAR, "return torch.nn.functional.linear(x.detach(), weight, bias)"),
        ("gradient of a norm left out", "keepdim=True).clamp_min(1)", "keepdim=True).clamp_min(1).detach()"),
        (
            "gradient of grouped heads from the first alone",
            _REPEAT,
            f"(lambda r, n: torch.where((torch.arange(r.shape[-3]) % n == 0)[:, None, None], r, r.detach()))({_REPEAT}, query.shape[-3] // x.shape[-3])",
        ),
        (
            "gradient of the sequence not through the keys",
            "scaled_dot_product(sequence, sequence, sequence",
            "scaled_dot_product(sequence, sequence.detach(), sequence",
        ),
        ("gradient of the residual missing", "return sequence + change", "return sequence.detach() + change"),
        ("gradient of the encoded sequence missing", "return sequence + torch", "return sequence.detach() + torch"),
        ("gradient of the combined query missing", "return linear(query, W_c", "return linear(query.detach(), W_c"),
    )
)

MUTANTS: tuple[Mutant, ...] = DROPOUT + GRADIENTS
