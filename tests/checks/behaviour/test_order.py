"""Where the cap on the scores acts is named beside each option, and fails where it is not before it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from attention_harness.cases.ids import parse
from attention_harness.checks import BY_NAME
from attention_harness.checks.behaviour import order
from attention_harness.checks.behaviour.anchor import anchor
from attention_harness.execution import in_process
from attention_harness.mutation.patched import Mutant, eager
from tests.checks.behaviour import made as m

CAP = """
    if softcap is not None:
        scores = softcap * (scores / softcap).tanh()"""
BIAS = """
    if bias is not None:
        scores = scores + bias"""
VISIBLE = "    visible = visible_keys(scores, mask, bias, valid_lens, causal, segments, cache_lens)\n"
FOLDED = """
    if softcap is not None:
        seen = visible_keys(scores, {arguments})
        scores = scores if seen is None else scores.masked_fill(~seen, -math.inf)
        scores = softcap * (scores / softcap).tanh()
        {gone} = {none}
"""
TAKEN = ("softcap", "mask", "bias", "valid_lens", "causal_top_left", "alibi_full")
ALL = "mask, bias, valid_lens, alibi, causal"


def capped(*patches: tuple[str, str]):
    """Return eager with its cap in another place."""
    lacks = tuple(set(eager().capabilities.options) - set(TAKEN))
    return Mutant("cap", "cap", patches, lacks=lacks).implementation()


def folded(arguments: str, gone: str, none: str) -> tuple[tuple[str, str], ...]:
    """Return the patches that make minus infinity of what some options hide, and cap that."""
    code = FOLDED.format(arguments=arguments, gone=gone, none=none)
    return (CAP, ""), (VISIBLE, code[1:] + VISIBLE)


EVERY = folded(
    "mask, bias, valid_lens, causal, segments, cache_lens",
    "mask, bias, valid_lens, causal, segments, cache_lens",
    "None, None, None, None, None, None",
)
AS_ONNX_WAS = folded("mask, bias, None, None", "mask, bias", "None, None")


@pytest.mark.parametrize(
    ("patches", "finding"),
    [
        ((), f"softcap before {ALL}"),
        (
            ((CAP + BIAS, BIAS + CAP),),
            "softcap before mask, valid_lens, alibi, causal; softcap after bias",
        ),
        (
            EVERY,
            "softcap after mask, bias, valid_lens, causal (hidden keys weigh); softcap after alibi",
        ),
        (
            AS_ONNX_WAS,  # and as a kernel whose causality alone is after the cap
            "softcap after mask, bias (hidden keys weigh); softcap before valid_lens, causal; softcap after alibi",
        ),
    ],
    ids=["before", "after the bias", "after the mask", "after the mask, before causality"],
)
def test_the_place_of_the_cap(patches, finding):
    """It is told beside each option by itself, and contradicts where it is another than the contract's."""
    judged = m.ask("order", capped(*patches))
    assert (finding, f"softcap before {ALL}") == (judged.finding, judged.declared)
    assert bool(judged.reason) == bool(patches)


def test_another_formula_is_given_no_place():
    """A cap that clips is wrong in every place: `accuracy` accuses it, and nothing is claimed of its place."""
    judged = m.ask("order", capped((CAP, CAP.replace("softcap * (scores / softcap).tanh()", "scores.clamp(-1, 1)"))))
    assert (f"softcap in none of the known places beside {ALL}", "") == (judged.finding, judged.reason)


@pytest.mark.parametrize(("keys", "told"), [(7, order._BEFORE), (1, "")])
def test_a_case_that_tells_nothing_is_left_out(keys, told):
    """Of one key that is seen the weight is 1 in every place."""
    case = parse(f"scaled_dot_product-B2H3Hk3Lq1Lk{keys}D16Dv8-float32-mask=full+softcap=1.5-ordinary-contiguous")
    assert told == order._place(in_process.subject(capped(), case), case, "softcap", "mask")


def test_rows_that_see_no_key_are_another_behaviour():
    """Capped after the mask their keys would weigh alike; who gives them zero is given the same place."""
    case = parse("scaled_dot_product-B2H3Hk3Lq5Lk7D16Dv8-float32-mask=full+softcap=1.5-ordinary-contiguous-draw1")
    [*_, (stands, put)] = EVERY
    zero = put.replace("        mask, bias", "        empty = ~seen.any(-1, keepdim=True)\n        mask, bias")
    end = "        return scores.softmax(-1)\n"
    patches = (*EVERY[:-1], (stands, zero), (end, end.replace("(-1)", "(-1).masked_fill(empty, 0.0)")))
    assert order._SEEN == order._place(in_process.subject(capped(*patches), case), case, "softcap", "mask")


def test_what_is_built_for_seconds_is_asked_beside_one_option_of_each_stage():
    """A mask and a bias tell most; the others would be a build each."""
    one = capped()
    one.module.CAPABILITIES = replace(one.capabilities, builds=True)
    assert "softcap before mask, bias" == m.ask("order", one).finding


def test_who_takes_no_cap_is_not_asked():
    """Nothing of it is declared."""
    plain = m.made(m.right)
    assert not BY_NAME["behaviour.order"].applies(plain, anchor(plain))
