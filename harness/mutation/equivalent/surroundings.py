"""Other ways to compute what stands around the attention: heads, layers, the positional encoding, the inputs."""

from __future__ import annotations

from attention_harness.mutation.equivalent.rewriting import WITH_HELPERS
from attention_harness.mutation.equivalent.variant import EquivalentVariant

_REPEAT = "x.repeat_interleave(query.shape[-3] // x.shape[-3], dim=-3)"
_LINEAR = "return torch.nn.functional.linear(x, weight, bias)"
_PREPARE = "return functools.partial(globals()[case.mechanism], **settings)"

VARIANTS = (
    EquivalentVariant(
        "grouped heads by broadcasting",
        (
            (
                _REPEAT,
                "x.unsqueeze(-3).expand(*x.shape[:-2], query.shape[-3] // x.shape[-3], *x.shape[-2:]).flatten(-4, -3)",
            ),
        ),
    ),
    EquivalentVariant(
        "grouped heads by index",
        ((_REPEAT, "x[..., torch.arange(query.shape[-3]) // (query.shape[-3] // x.shape[-3]), :, :]"),),
    ),
    EquivalentVariant(
        "layers by einsum",
        ((_LINEAR, 'out = torch.einsum("...i,oi->...o", x, weight)\n    return out if bias is None else out + bias'),),
    ),
    EquivalentVariant(
        "layers row by row",
        (
            WITH_HELPERS,
            (
                _LINEAR,
                "a = wide(x) * 1.0  # whose gradient is summed before it joins any other of x\n    rows = [(a * row).sum(-1) for row in wide(weight)]\n    out = torch.stack(rows, -1) if rows else a @ wide(weight).mT\n    return (out if bias is None else out + wide(bias)).to(x.dtype)",
            ),
        ),
    ),
    EquivalentVariant(
        "heads split by chunks",
        (
            ("x.unflatten(-1, (heads, -1)).transpose(1, 2)", "torch.stack(x.chunk(heads, -1), 1)"),
            ("x.transpose(1, 2).flatten(2)", "torch.cat(x.unbind(1), -1)"),
        ),
    ),
    EquivalentVariant(
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
    EquivalentVariant(
        "encoding by complex exponentials",
        (
            (
                "torch.where(column % 2 == 0, angle.sin(), angle.cos())",
                "(lambda turn: torch.where(column % 2 == 0, turn.imag, turn.real))(torch.polar(torch.ones_like(angle), angle))",
            ),
        ),
    ),
    EquivalentVariant(
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
