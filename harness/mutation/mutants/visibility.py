"""Mutants of what a query sees: causality, mask, bias, valid lengths, fills, fully masked rows."""

from attention_harness.mutation.mutant import Mutant, mutants

_CORNERS = '{"top_left": 0, "bottom_right": keys - queries}[causal]'
_SEEN = "position <= last[:, None]"
_MASK = "conditions = [] if mask is None else [mask]"
_LENS = "lens = valid_lens if valid_lens.ndim == 2 else valid_lens[:, None]"
_LENGTH = "position < (lens"
_BIAS = "scores = scores + bias\n"
_HIDES = "conditions.append(bias != -math.inf)"
_FILL = "masked_fill(~visible, -math.inf)"
_EMPTY = ".masked_fill(empty, 0.0)\n    return scores.softmax(-1).masked_fill(empty, 0.0)"
_ALL = "functools.reduce(torch.logical_and, conditions)"
_VISIBLE = "    visible = visible_keys(scores, mask, bias, valid_lens, causal)\n"

CAUSALITY = mutants(
    "causality",
    [
        ("causal off by one, too strict", _SEEN, "position < last[:, None]"),
        ("causal sees one key of the future", _SEEN, "position <= last[:, None] + 1"),
        ("causal corners swapped", _CORNERS, '{"bottom_right": 0, "top_left": keys - queries}[causal]'),
        ("causal always top left", _CORNERS, "0"),
        ("causal always bottom right", _CORNERS, "(keys - queries)"),
        ("causal mirrored: only the future", _SEEN, "position >= last[:, None]"),
        ("causal ignored", "if causal is not None:", "if False:"),
        ("causal ignored without a mask", "if causal is not None:", "if causal is not None and mask is not None:"),
        ("causal ignored beside a mask", "if causal is not None:", "if causal is not None and mask is None:"),
        ("causal ignored beside lengths", "if causal is not None:", "if causal is not None and valid_lens is None:"),
        ("causal ignored beside a bias", "if causal is not None:", "if causal is not None and bias is None:"),
        ("causal ignored where lengths differ", "if causal is not None:", "if causal is not None and queries == keys:"),
        ("causal by blocks of 16", _SEEN, "position // 16 <= last[:, None] // 16"),
        ("causal by blocks of 4", _SEEN, "position // 4 <= last[:, None] // 4"),
        ("causal always sees the first key", _SEEN, "(position <= last[:, None]) | (position == 0)"),
        ("causal hides the first key", _SEEN, "(position <= last[:, None]) & (position > 0)"),
        (
            "causal corner by the absolute difference",
            _CORNERS,
            '{"top_left": 0, "bottom_right": abs(keys - queries)}[causal]',
        ),
        (
            "causal last query sees all",
            _SEEN,
            "(position <= last[:, None]) | (last == last.max())[:, None]",
            "ONNX Runtime 1.31.1, contrib MultiHeadAttention, unidirectional",
        ),
    ],
)

MASK = mutants(
    "mask",
    [
        ("mask polarity", _MASK, "conditions = [] if mask is None else [~mask]"),
        ("mask ignored", _MASK, "conditions = []"),
        (
            "mask ignored for a batch of one",
            _MASK,
            "conditions = [] if mask is None or scores.shape[0] == 1 else [mask]",
        ),
        (
            "mask of a batch read as a head's",
            _MASK,
            "conditions = [] if mask is None else [mask.transpose(0, 1) if mask.ndim == 4 and mask.shape[1] == 1 and mask.shape[0] == scores.shape[1] else mask]",
        ),
        (
            "mask of the keys hides queries",
            _MASK,
            "conditions = [] if mask is None else [mask.mT if mask.shape[-2] == 1 and queries == keys else mask]",
        ),
        (
            "mask of all batches joined",
            _MASK,
            "conditions = [] if mask is None else [mask.all(0, keepdim=True) if mask.ndim > 2 else mask]",
        ),
        ("mask ignored beside lengths", _MASK, "conditions = [] if mask is None or valid_lens is not None else [mask]"),
        ("mask ignored beside causality", _MASK, "conditions = [] if mask is None or causal is not None else [mask]"),
        ("conditions joined by or", _ALL, "functools.reduce(torch.logical_or, conditions)"),
        ("only the last condition counts", _ALL, "conditions[-1]"),
        ("only the first condition counts", _ALL, "conditions[0]"),
        (
            "mask of the first batch for all",
            _MASK,
            "conditions = [] if mask is None else [mask[:1] if mask.ndim > 2 else mask]",
        ),
        ("mask of the first query for all", _MASK, "conditions = [] if mask is None else [mask[..., :1, :]]"),
        (
            "mask of the first head for all",
            _MASK,
            "conditions = [] if mask is None else [mask[:, :1] if mask.ndim == 4 else mask]",
        ),
        (
            "mask of the next head",
            _MASK,
            "conditions = [] if mask is None else [mask.roll(1, 1) if mask.ndim == 4 else mask]",
        ),
        (
            "mask of the next batch",
            _MASK,
            "conditions = [] if mask is None else [mask.roll(1, 0) if mask.ndim > 2 else mask]",
        ),
        ("mask shifted by one key", _MASK, "conditions = [] if mask is None else [mask.roll(1, -1)]"),
        ("mask shifted by one query", _MASK, "conditions = [] if mask is None else [mask.roll(1, -2)]"),
        (
            "mask never hides the last key",
            _MASK,
            "conditions = [] if mask is None else [mask | (position == keys - 1)]",
        ),
        ("mask never hides the first key", _MASK, "conditions = [] if mask is None else [mask | (position == 0)]"),
        ("mask hides the last key too", _MASK, "conditions = [] if mask is None else [mask & (position < keys - 1)]"),
        (
            "mask applied after the softmax",
            _VISIBLE,
            _VISIBLE + "    if visible is not None:\n        return scores.softmax(-1) * visible\n",
        ),
        (
            "mask multiplies the scores",
            _VISIBLE,
            "    if mask is not None:\n        scores = scores * mask\n    visible = visible_keys(scores, None, bias, valid_lens, causal)\n",
        ),
        (
            "mask added as numbers",
            _VISIBLE,
            "    if mask is not None:\n        scores = scores + mask.to(scores.dtype)\n    visible = visible_keys(scores, None, bias, valid_lens, causal)\n",
            "ONNX Runtime 1.31.1, Attention: an int64 mask is added",
        ),
    ],
)

LENGTHS = mutants(
    "valid lengths",
    [
        (
            "valid length of the neighbouring batch",
            _LENS,
            _LENS.replace("lens = valid_lens if", "valid_lens = valid_lens.roll(1, 0)\n        lens = valid_lens if"),
        ),
        ("valid length inclusive", _LENGTH, "position <= (lens"),
        ("valid length one short", _LENGTH, "position + 1 < (lens"),
        ("valid lengths ignored", "if valid_lens is not None:", "if False:"),
        (
            "valid lengths ignored beside a mask",
            "if valid_lens is not None:",
            "if valid_lens is not None and mask is None:",
        ),
        (
            "valid lengths of the first query for all",
            _LENS,
            "lens = valid_lens[:, :1] if valid_lens.ndim == 2 else valid_lens[:, None]",
        ),
        (
            "valid length of the first batch for all",
            _LENS,
            "lens = (valid_lens if valid_lens.ndim == 2 else valid_lens[:, None])[:1]",
        ),
        (
            "longest valid length for all",
            _LENS,
            "lens = valid_lens.amax(0, keepdim=True) if valid_lens.ndim == 2 else valid_lens.amax(0)[None, None]",
        ),
        ("valid length at least one", _LENGTH, "position < 1e-9 + (lens.clamp_min(1)"),
        (
            "valid length zero means all",
            _LENGTH,
            "position < 1e-9 + (lens + (lens == 0) * keys",
            "ONNX Runtime 1.31.1, contrib MultiHeadAttention, no valid key",
        ),
        ("valid length from the end", _LENGTH, "keys - 1 - position < (lens"),
        (
            "valid lengths of queries shifted",
            _LENS,
            "lens = valid_lens.roll(1, 1) if valid_lens.ndim == 2 else valid_lens[:, None]",
        ),
        (
            "valid length never hides the last key",
            "conditions.append(position < (lens if scores.ndim == 3 else lens[:, None])[..., None])",
            "conditions.append((position < (lens if scores.ndim == 3 else lens[:, None])[..., None]) | (position == keys - 1))",
        ),
    ],
)

BIAS = mutants(
    "bias",
    [
        ("bias ignored", _BIAS, "pass\n"),
        ("bias subtracted", _BIAS, "scores = scores - bias.masked_fill(bias == -math.inf, 0.0)\n"),
        ("bias counted twice", _BIAS, "scores = scores + bias + bias\n"),
        ("bias of the first batch for all", _BIAS, "scores = scores + (bias[:1] if bias.ndim > 2 else bias)\n"),
        ("bias of the first query for all", _BIAS, "scores = scores + bias[..., :1, :]\n"),
        ("bias shifted by one key", _BIAS, "scores = scores + bias.roll(1, -1)\n"),
        ("bias rounded to bfloat16", _BIAS, "scores = scores + bias.bfloat16().to(scores.dtype)\n"),
        ("bias clipped to one", _BIAS, "scores = scores + bias.clamp(max=1)\n"),
        ("bias divided by the root of the keys", _BIAS, "scores = scores + bias / math.sqrt(scores.shape[-1])\n"),
        (
            "bias of minus infinity clipped to -30",
            _BIAS,
            "scores = scores + bias.clamp_min(-30)\n    bias = None\n".replace("    bias", "        bias"),
        ),
        ("minus infinity in the bias empties no row", _HIDES, "scores = scores"),
    ],
)

FILLS = mutants(
    "fill",
    [
        ("fill with -50", _FILL, "masked_fill(~visible, -50.0)"),
        ("fill with -100", _FILL, "masked_fill(~visible, -100.0)"),
        ("fill with zero", _FILL, "masked_fill(~visible, 0.0)"),
        (
            "hidden scores lowered by 20",
            _FILL.replace("masked_fill", "scores.masked_fill"),
            "(scores - 20.0 * ~visible)",
        ),
        ("fill with -1e-9", _FILL, "masked_fill(~visible, -1e-9)"),
        ("fill with -1e4", _FILL, "masked_fill(~visible, -1e4)"),
        ("fill with -1e6", _FILL, "masked_fill(~visible, max(-1e6, torch.finfo(scores.dtype).min))"),
        ("fill with -1e9 in every format", _FILL, "masked_fill(~visible, -1e9)", "ahrefs/ocannl#548"),
        ("fill with plus infinity", _FILL, "masked_fill(~visible, math.inf)"),
        (
            "the least float added, fully masked rows left",
            "scores = scores." + _FILL + _EMPTY,
            "return (scores + torch.finfo(scores.dtype).min * ~visible).softmax(-1)",
        ),
        (
            "the least float added for each condition",
            "scores = scores." + _FILL + _EMPTY,
            "return (scores + 2 * torch.finfo(scores.dtype).min * ~visible).softmax(-1)",
        ),
        ("fully masked rows are NaN", _EMPTY, "\n    return scores.softmax(-1)"),
        (
            "fully masked rows are the mean of the values",
            _EMPTY,
            ".masked_fill(empty, 0.0)\n    return scores.softmax(-1)",
        ),
        (
            "fully masked rows attend to the first key",
            _EMPTY,
            ".masked_fill(empty, 0.0)\n    import torch\n    first = torch.arange(scores.shape[-1]) == 0\n    return torch.where(empty, first.to(scores.dtype), scores.softmax(-1))",
        ),
        (
            "fully masked rows attend without a mask",
            "scores = scores.masked_fill(~visible, -math.inf)" + _EMPTY,
            "import torch\n    kept = torch.where(empty, scores, scores.masked_fill(~visible, -math.inf))\n    return kept.softmax(-1)",
            "ONNX Runtime 1.31.1, contrib MultiHeadAttention, -10000 added",
        ),
    ],
)

MUTANTS: tuple[Mutant, ...] = CAUSALITY + MASK + LENGTHS + BIAS + FILLS
