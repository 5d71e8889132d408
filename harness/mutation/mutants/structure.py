"""Mutants of what stands around the attention: heads, projections, positions, residual."""

from attention_harness.mutation.mutant import Mutant, mutants

_REPEAT = "x.repeat_interleave(query.shape[-3] // x.shape[-3], dim=-3)"
_SPLIT = "x.unflatten(-1, (heads, -1)).transpose(1, 2)"
_MERGE = "x.transpose(1, 2).flatten(2)"
_MANY = "projections = ((query, W_q), (key, W_k), (value, W_v))"
_OUT = "return linear(merge_heads(output), W_o), weights"
_LINEAR = "return torch.nn.functional.linear(x, weight, bias)"
_PROJECTED = "known[score](linear(query, W_q), linear(key, W_k), linear(value, W_v), **visibility)"
_CROSS = "linear(sequence, W_q), linear(context, W_k), linear(context, W_v)"
_COMBINE = "return linear(query, W_c[:, :size]) + linear(context, W_c[:, size:], b_c), weights"
_LOCATE = "scores = linear(query, W[:, :size]) + linear(key, W[:, size:], b)"
_ENCODED = "return sequence + torch.where(column % 2 == 0, angle.sin(), angle.cos()).to(sequence.dtype)"
_RATE = "rate = 10000.0 ** -(column // 2 * 2 / torch.full_like(column, width, dtype=dtype))"
_POSITION = "angle = torch.arange(length, device=sequence.device, dtype=dtype)[:, None] * rate"
_ADDED = "        sequence = positional_encoding(sequence)\n"

HEADS = mutants(
    "heads",
    [
        (
            "grouped heads tiled",
            _REPEAT,
            "x.repeat(1, query.shape[-3] // x.shape[-3], 1, 1)",
        ),
        (
            "grouped heads all use the first",
            _REPEAT,
            "x[..., :1, :, :].expand(*x.shape[:-3], query.shape[-3], *x.shape[-2:])",
        ),
        ("grouped heads in reverse", _REPEAT, _REPEAT + ".flip(-3)"),
        ("grouped heads shifted by one", _REPEAT, _REPEAT + ".roll(1, -3)"),
        ("heads mixed with the sequence", _SPLIT, "x.reshape(x.shape[0], heads, x.shape[1], -1)"),
        ("heads interleaved in the width", _SPLIT, "x.unflatten(-1, (-1, heads)).movedim(-1, 1)"),
        ("heads in reverse when split", _SPLIT, _SPLIT + ".flip(1)"),
        ("heads merged without moving them back", _MERGE, "x.reshape(x.shape[0], x.shape[2], -1)"),
        ("heads merged in reverse", _MERGE, "x.flip(1).transpose(1, 2).flatten(2)"),
        ("heads merged as the mean", _MERGE, "x.mean(1, keepdim=True).expand_as(x).transpose(1, 2).flatten(2)"),
        ("first head for all", _MERGE, "x[:, :1].expand_as(x).transpose(1, 2).flatten(2)"),
        (
            "last head zero",
            _MERGE,
            "(x * (x.new_tensor(range(x.shape[1], 0, -1)) > 1)[:, None, None]).transpose(1, 2).flatten(2)",
        ),
    ],
)

PROJECTION = mutants(
    "projection",
    [
        (
            "multi-head: query weights for the key",
            _MANY,
            _MANY.replace("(key, W_k)", "(key, W_q if W_q.shape == W_k.shape else W_k.flip(0))"),
        ),
        ("multi-head: value weights reversed", _MANY, _MANY.replace("(value, W_v)", "(value, W_v.flip(0))")),
        (
            "multi-head: no output projection",
            _OUT,
            "return linear(merge_heads(output), W_o * (W_o.abs() > 0.1)), weights",
        ),
        ("multi-head: output weights by columns", _OUT, "return linear(merge_heads(output).flip(-1), W_o), weights"),
        (
            "weights transposed where square",
            _LINEAR,
            "return torch.nn.functional.linear(x, weight.mT if weight.shape[0] == weight.shape[1] else weight, bias)",
        ),
        ("layer without its bias", _LINEAR, "return torch.nn.functional.linear(x, weight)"),
        (
            "layer's bias counted twice",
            _LINEAR,
            "return torch.nn.functional.linear(x, weight, bias) + (0 if bias is None else bias)",
        ),
        (
            "layer leaves out its last input",
            _LINEAR,
            "return torch.nn.functional.linear(x[..., :-1], weight[..., :-1], bias)",
        ),
        (
            "projected: value not projected",
            _PROJECTED,
            _PROJECTED.replace("linear(value, W_v)", "linear(value, W_v.roll(1, 0))"),
        ),
        ("projected: key weights reversed", _PROJECTED, _PROJECTED.replace("W_k)", "W_k.flip(0))")),
        (
            "projected: always scaled",
            '"dot_product": dot_product, "cosine"',
            '"dot_product": scaled_dot_product, "cosine"',
        ),
        ("projected: never scaled", '"scaled_dot_product": scaled_dot_product}', '"scaled_dot_product": dot_product}'),
        ("projected: cosine is a dot product", '"cosine": cosine', '"cosine": dot_product'),
        ("cross: residual missing", "return sequence + change", "return change"),
        ("cross: the change added to itself", "return sequence + change", "return change + change"),
        ("cross: residual twice", "return sequence + change", "return 2 * sequence + change"),
        ("cross: change subtracted", "return sequence + change", "return sequence - change"),
        (
            "cross: asks itself",
            _CROSS,
            "linear(sequence, W_q), linear(sequence, W_k) if sequence.shape == context.shape else linear(context, W_k), linear(context, W_v)",
        ),
        ("cross: values not projected", _CROSS, "linear(sequence, W_q), linear(context, W_k), context"),
        (
            "cross: weights of query and key exchanged",
            _CROSS,
            "linear(sequence, W_k), linear(context, W_q), linear(context, W_v.mT)",
        ),
        (
            "location: parts of the score exchanged",
            _LOCATE,
            "scores = linear(query, W[:, -size:]) + linear(key, W[:, :-size], b)",
        ),
        (
            "location: score without the key",
            _LOCATE,
            "scores = linear(query, W[:, :size], b) + 0 * linear(key, W[:, size:])",
        ),
        ("location: combined without the query", _COMBINE, "return linear(context, W_c[:, size:], b_c), weights"),
        ("location: combined without the context", _COMBINE, "return linear(query, W_c[:, :size], b_c), weights"),
        ("location: combined without its bias", _COMBINE, _COMBINE.replace(", b_c)", ")")),
        (
            "location: combined by a tanh",
            _COMBINE,
            _COMBINE.replace(
                "return linear(query, W_c[:, :size]) + linear(context, W_c[:, size:], b_c)",
                "return (linear(query, W_c[:, :size]) + linear(context, W_c[:, size:], b_c)).tanh()",
            ),
        ),
    ],
)

POSITIONS = mutants(
    "positions",
    [
        (
            "encoding shifted by one position",
            _POSITION,
            _POSITION.replace("torch.arange(length", "torch.arange(1, length + 1"),
        ),
        ("encoding counted from the end", _POSITION, _POSITION.replace("[:, None]", ".flip(0)[:, None]")),
        ("encoding stops at position 8", _POSITION, _POSITION.replace("[:, None]", ".clamp(max=8)[:, None]")),
        ("encoding wraps at 32 positions", _POSITION, _POSITION.replace("[:, None]", "[:, None] % 32")),
        (
            "sine and cosine exchanged",
            _ENCODED,
            _ENCODED.replace("angle.sin(), angle.cos()", "angle.cos(), angle.sin()"),
        ),
        ("sines alone", _ENCODED, _ENCODED.replace("angle.cos()", "angle.sin()")),
        ("base 1000", _RATE, _RATE.replace("10000.0", "1000.0")),
        ("exponent of each column", _RATE, _RATE.replace("column // 2 * 2", "column")),
        ("exponent over the width less one", _RATE, _RATE.replace("column, width,", "column, max(width - 1, 1),")),
        (
            "sines before cosines",
            _ENCODED,
            "order = torch.cat([column[::2], column[1::2]])\n    table = torch.where(column % 2 == 0, angle.sin(), angle.cos())[:, order]\n    return sequence + table.to(sequence.dtype)",
        ),
        ("encoding replaces the sequence", _ENCODED, _ENCODED.replace("sequence + torch", "0 * sequence + torch")),
        (
            "sequence scaled by the root of the width",
            _ENCODED,
            _ENCODED.replace("sequence + torch", "sequence * math.sqrt(width) + torch"),
        ),
        ("encoding subtracted", _ENCODED, _ENCODED.replace("sequence + torch", "sequence - torch")),
        (
            "odd last column left out",
            _ENCODED,
            "table = torch.where(column % 2 == 0, angle.sin(), angle.cos())\n    table = table * (column < width - width % 2)\n    return sequence + table.to(sequence.dtype)",
        ),
        (
            "encoding of the first batch alone",
            _ENCODED,
            "table = torch.where(column % 2 == 0, angle.sin(), angle.cos()).to(sequence.dtype)\n    first = (torch.arange(sequence.shape[0]) == 0).to(sequence.dtype)[:, None, None]\n    return sequence + table * first",
        ),
        (
            "exponent floored by precedence",
            _RATE,
            "rate = (column // 2 * 2 * (-math.log(10000.0) / width // 2)).to(dtype).exp()",
        ),
        (
            "odd width raises",
            _ENCODED,
            "if width % 2:\n        raise RuntimeError('shape mismatch')\n    " + _ENCODED,
        ),
        (
            "positions counted along the batch",
            _POSITION,
            "angle = torch.arange(sequence.shape[0], dtype=dtype)[:, None, None] * rate",
        ),
        ("positions forgotten", _ADDED, "        pass\n"),
        ("positions added twice", _ADDED, _ADDED + _ADDED),
        ("positions always added", '    if positions == "sinusoidal":', "    if True:"),
    ],
)

MUTANTS: tuple[Mutant, ...] = HEADS + PROJECTION + POSITIONS
