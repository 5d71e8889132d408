"""Mutants of what stands between the score and the softmax: cap and window, and their places in the pipeline."""

from attention_harness.mutation.mutant import Mutant, mutants

_CAP = "        scores = softcap * (scores / softcap).tanh()\n"
_CAPPED = "    if softcap is not None:\n" + _CAP
_ADDED = "    if bias is not None:\n        scores = scores + bias\n"
_LATE = "scores = scores if softcap is None else softcap * (scores / softcap).tanh()\n"
_EARLY = (
    "(scores if visibility.get('softcap') is None"
    " else visibility['softcap'] * (scores / visibility.pop('softcap')).tanh())"
)
_HIDDEN = "scores = scores.masked_fill(~visible, -math.inf)"

SOFTCAP = mutants(
    "softcap",
    [
        ("softcap ignored", "if softcap is not None:", "if False:"),
        ("softcap without scaling back", _CAP, "        scores = (scores / softcap).tanh()\n"),
        ("softcap without the division", _CAP, "        scores = softcap * scores.tanh()\n"),
        ("softcap clips", _CAP, "        scores = scores.clamp(-softcap, softcap)\n"),
        ("softcap divides twice", _CAP, "        scores = softcap * (scores / softcap**2).tanh()\n"),
        ("softcap by arctan", _CAP, "        scores = softcap * (scores / softcap).atan()\n"),
        ("softcap after the bias", _CAPPED + _ADDED, _ADDED + _CAPPED),
        ("softcap before the scale", "scores / math.sqrt(query.shape[-1])", f"{_EARLY} / math.sqrt(query.shape[-1])"),
    ],
)

AFTER_THE_MASK = Mutant(
    "softcap after the mask",
    "softcap",
    (
        (_CAPPED, ""),
        ("        return scores.softmax(-1)\n", f"        {_LATE}        return scores.softmax(-1)\n"),
        (_HIDDEN, f"{_HIDDEN}\n    {_LATE}    scores = scores"),
    ),
)

_NEAR = "near = (distance >= -left) & (distance <= right)"
_PLACE = '(keys - queries if causal == "bottom_right" else 0)'

WINDOW = mutants(
    "window",
    [
        ("window ignored", "if window is not None:", "if False:"),
        ("window sees one key more before", _NEAR, "near = (distance >= -left - 1) & (distance <= right)"),
        ("window sees one key less before", _NEAR, "near = (distance > -left) & (distance <= right)"),
        ("window sees one key more after", _NEAR, "near = (distance >= -left) & (distance <= right + 1)"),
        ("window sees one key less after", _NEAR, "near = (distance >= -left) & (distance < right)"),
        ("window sides exchanged", _NEAR, "near = (distance >= -right) & (distance <= left)"),
        ("window on one side alone", _NEAR, "near = distance >= -left"),
        ("window without the query's own place", _NEAR, _NEAR + " & (distance != 0)"),
        ("window always from the top left", _PLACE, "0"),
        ("window always from the bottom right", _PLACE, "(keys - queries)"),
        ("window corners swapped", _PLACE, '(0 if causal == "bottom_right" else keys - queries)'),
        ("window by blocks of 4", _NEAR, "near = (distance // 4 >= -left // 4) & (distance // 4 <= right // 4)"),
        ("window ignored beside a mask", "near if mask is None else near & mask", "near if mask is None else mask"),
        (
            "window hides no more than the mask",
            "near if mask is None else near & mask",
            "near if mask is None else near | mask",
        ),
    ],
)

MUTANTS: tuple[Mutant, ...] = (*SOFTCAP, AFTER_THE_MASK, *WINDOW)
