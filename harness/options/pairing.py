"""Which features of a vector a rotary embedding turns with each other."""

from __future__ import annotations

from attention_harness.options.option import Group, Option, Stage

_FORMS = ("interleaved", "proportional")

OPTION = Option(
    name="pairing",
    summary="interleaved (2j with 2j + 1) or proportional (j with j + D/2, some pairs left out), in place of halves",
    capability=lambda form: f"{form}_pairing",
    capabilities=tuple(f"{form}_pairing" for form in _FORMS),
    group=Group.NAMED,  # the mechanism pairs its features by it
    stage=Stage.SCORES,
    forms=_FORMS,
    accepts=lambda form: form in _FORMS,
    expected="interleaved or proportional",
)
