"""Which features of a vector a rotary embedding rotates with each other, and at which rates.

Of r pairs in a vector of D features, pair j has the rate b^(-j/n):

- without the option, half-split: j with j + r, n = r, as GPT-NeoX and Llama in transformers;
- `interleaved`: 2j with 2j + 1, n = r, as RoFormer and GPT-J;
- `proportional`: j with j + floor(D/2), n = floor(D/2), as Gemma 4. Where all pairs are rotated it is half-split.
"""

from __future__ import annotations

from attention_harness.options.option import Group, Option, Stage

_FORMS = ("interleaved", "proportional")

OPTION = Option(
    name="pairing",
    summary="interleaved or proportional in place of half-split: which features a rotary embedding rotates together",
    capability=lambda form: f"{form}_pairing",
    capabilities=tuple(f"{form}_pairing" for form in _FORMS),
    group=Group.NAMED,  # the mechanism pairs its features by it
    stage=Stage.SCORES,
    forms=_FORMS,
    accepts=lambda form: form in _FORMS,
    expected="interleaved or proportional",
)
