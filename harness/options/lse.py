r"""The log-sum-exp of each row as a further result: $\operatorname{lse}_i = \log \sum_j e^{S_{ij}}$ over the seen keys.

The logarithm is the natural one, of the softmax's whole denominator, sinks too; the scores are those that the softmax
gets. It is $-\infty$ in a row that sees no key, so that parts of the keys merge by it.
"""

from __future__ import annotations

from attention_harness.options.option import Group, Option, Stage

_FORM = "natural"

OPTION = Option(
    name="lse",
    summary="a further result (B, H, Lq): the natural logarithm of the softmax's denominator, -inf without a key",
    capability=lambda form: "lse",
    capabilities=("lse",),
    group=Group.NAMED,  # the mechanism hands on what its softmax found
    stage=Stage.SOFTMAX,
    forms=(_FORM,),
    accepts=lambda form: form == _FORM,
    expected=_FORM,
    returned=True,
    argument=_FORM,
)
