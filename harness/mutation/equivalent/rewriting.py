"""Patches that put another computation in the place of one of eager's."""

from __future__ import annotations

from attention_harness.mutation.patching import Patches

_SHARED = "# --- what they share\n"
_HELPERS = """
def wide(x):
    return x if x.dtype == torch.float64 else x.float()


def finished(scores, *, mask=None, bias=None, valid_lens=None, causal=None, softcap=None, window=None):
    # The scores in float32 or better, -inf where a key is hidden.
    if softcap is not None:
        scores = softcap * (scores / softcap).tanh()
    if window is not None:
        mask = windowed(mask, scores, window, causal)
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
WITH_HELPERS = (_SHARED, _SHARED + _HELPERS)
"""Adds functions that the replacements use."""
_ATTEND = "    weights = softmax(scores, **visibility)\n    return weights @ value, weights"
_START = "    if bias is not None:\n        scores = scores + bias\n"
_DOT = "attend(query @ key.mT, value"
SCORES = "    scores = query @ key.mT\n"


def attend_of(body: str) -> Patches:
    """Return an `attend` whose `output` is the body's, from finished scores `s`; the weights are the usual ones."""
    lines = "".join(
        f"    {line}\n" for line in ("s, v = finished(scores, **visibility), wide(value)", *body.split("\n"))
    )
    put = lines + "    return output.to(value.dtype), softmax(scores, **visibility)"
    return (WITH_HELPERS, (_ATTEND, put))


def weighted_sum_of(expression: str) -> Patches:
    """Return an `attend` whose weighted sum is the expression."""
    helpers = (WITH_HELPERS,) if "wide(" in expression else ()
    return (*helpers, (_ATTEND, _ATTEND.replace("weights @ value", expression)))


def softmax_of(body: str) -> Patches:
    """Return a `softmax` whose `weights` are the body's, from finished scores `s`."""
    first = "s = finished(scores, mask=mask, bias=bias, valid_lens=valid_lens, causal=causal)"
    lines = "".join(f"    {line}\n" for line in (first, *body.split("\n"), "return weights.to(scores.dtype)"))
    return (WITH_HELPERS, (_START, lines))


def wider(expression: str, one: str, other: str) -> str:
    """Return the expression of `a` and `b` in float32 or better, rounded once, and so are their gradients."""
    return f"(lambda a, b: {expression})(wide({one}), wide({other})).to({one}.dtype)"


def scores_of(expression: str) -> Patches:
    """Return scores of the two products by another expression of query and key."""
    helpers = (WITH_HELPERS,) if "wide(" in expression else ()
    return (*helpers, (SCORES, f"    scores = {expression}\n"), (_DOT, f"attend({expression}, value"))
