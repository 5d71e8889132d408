"""Each relation accuses a mutant that breaks it, and not the untouched source; equivalent variants pass all."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attention_harness import Case, registry
from attention_harness.cases.ids import parse
from attention_harness.cases.matrix import matrix
from attention_harness.checks import BY_NAME, Check, of_kind
from attention_harness.checks.expected import OutOfRange
from attention_harness.execution import in_process
from attention_harness.execution.plan import plan_item, replay_command
from attention_harness.execution.run import run_checks
from attention_harness.model.verdict import NONCONFORMING
from attention_harness.mutation.campaign import select
from attention_harness.mutation.patched import Mutant
from tests.checks.relations.strategies import PROFILE, cases
from tests.checks.relations.test_relations import assert_holds, assert_no_drawn_case_breaks

_DOT = "scaled_dot_product-B2H3Hk3Lq5Lk7D16Dv8-float32-{}-ordinary-contiguous"
_MANY = "multi_head-B2H3Lq5Lk7E48Eq18Ek11Ev8O9-float32-plain-ordinary-contiguous"
_LINEAR = "linear_attention-B2H4Hk2L5D16Dv8-float32-{}-ordinary-contiguous"
_CROSS = "cross_attention-B2Lq5Lk7D16E16-float32-plain-ordinary-contiguous"
_ATTEND = "    weights = softmax(scores, **visibility)\n    return weights @ value, weights"

FINITE_FILL = Mutant("fill with -1e6", "fill", (("masked_fill(~visible, -math.inf)", "masked_fill(~visible, -1e6)"),))
LEAK = "    leak = 1e-3 * (value - value.detach()).mean(-2, keepdim=True)  # 0, but not its gradient\n"
BACKWARD_LEAK = Mutant(
    "gradient by the future", "gradient", ((_ATTEND, LEAK + _ATTEND.replace("@ value,", "@ value + leak,")),)
)
CAUGHT = {
    "relation.permuted_keys": ("values shifted by one key", _DOT.format("plain")),
    "relation.permuted_queries": ("weights of the next query", _DOT.format("plain")),
    "relation.permuted_heads": ("first head for all", _MANY),
    "relation.batch_alone": ("batch neighbours mixed in", _DOT.format("plain")),
    "relation.grouped_heads": ("grouped heads tiled", _DOT.format("plain").replace("H3Hk3", "H4Hk2")),
    "relation.added_keys": ("mask never hides the last key", _DOT.format("mask=full")),
    "relation.masked_content": ("fill with -50", _DOT.format("mask=full")),
    "relation.shifted_scores": (FINITE_FILL, _DOT.format("bias=full").replace("float32", "float64")),
    "relation.split_and_merged": ("halves of the keys averaged, not merged", _DOT.format("plain")),
    "relation.causal_future": ("causal sees one key of the future", _DOT.format("causal=top_left")),
    "relation.causal_gradient": (BACKWARD_LEAK, _DOT.format("causal=bottom_right")),
    "relation.linear_in_values": ("output clipped to 8", _DOT.format("plain")),
    "relation.hull": ("softmax with a sink", _DOT.format("plain")),
    "relation.one_key": ("eps of 1e-3 in the denominator", _DOT.format("mask=full")),
    "relation.equal_keys": ("first key counted twice", _DOT.format("plain")),
    "relation.sharp_scores": ("softmax capped at 30", _DOT.format("plain")),
    "relation.zero_values": ("cross: residual missing", _CROSS),
    "relation.cosine_scaling": (
        "cosine without the key's norm",
        "cosine-B2H3Hk3Lq5Lk7D16Dv8-float32-plain-ordinary-contiguous",
    ),
    "relation.gaussian_translation": (
        "kernel of the sum",
        "gaussian_kernel-B2H3Lq5Lk7D16Dv8-float32-plain-ordinary-contiguous",
    ),
    "relation.one_head": ("multi-head: output weights by columns", _MANY),
    "relation.position_distance": (
        "exponent of each column",
        "positional_encoding-B2L5E16-float32-plain-ordinary-contiguous",
    ),
    "relation.rotated_distance": (
        "rotary: interleaved angles on half-split pairs",
        "rotary_embedding-B2H3L5D16-float32-plain-ordinary-contiguous",
    ),
    "relation.equal_halves": (
        "differential: lambda_init of the first layer",
        "differential_attention-B2H3Hk3Lq5Lk7D16Dv8-float32-plain-ordinary-contiguous",
    ),
    "relation.prefix": ("linear attention: the state one position ahead", _LINEAR.format("decay=head")),
    "relation.unnormalised": ("linear attention: the keys scaled too", _LINEAR.format("plain")),
    "relation.cross_with_itself": ("cross: residual twice", _CROSS),
    "relation.decoded": ("causality from the first key of this call", _DOT.format("causal=bottom_right+past=before")),
    "relation.other_basis": (
        "latent: normalised once more",
        "latent_attention-B2H3Lq5Lk7D16Dv8C10R6-float32-plain-ordinary-contiguous",
    ),
}


def named(mutant: str | Mutant) -> Mutant:
    """Return a mutant, by its name where it is one of the suite's."""
    return mutant if isinstance(mutant, Mutant) else select([mutant])[0][0]


def test_every_relation_has_a_mutant():
    """No relation stands without a proof that it can fail, and the suite asks all of them."""
    assert set(CAUGHT) == {relation.name for relation in of_kind("relation")}


@pytest.mark.parametrize("name", CAUGHT)
def test_the_relation_accuses_its_mutant(name):
    """It fails by measurement on the mutant, and passes without it, on the same case."""
    mutant, text = CAUGHT[name]
    case, relation = parse(text), BY_NAME[name]
    wrong = named(mutant).implementation()
    [right] = registry.select(["eager"])
    assert relation.holds(right, case)
    assert "" == relation.judge(in_process.subject(right, case)).reason
    judged = relation.judge(in_process.subject(wrong, case))
    assert judged.error_ratio > 1
    assert "differ by" in judged.reason


def test_content_that_is_not_a_number_is_tried_where_it_is_declared_to_be_safe():
    """Eager multiplies a weight of 0 by hidden values: with poison_safe declared it fails, without it passes."""
    relation, case = BY_NAME["relation.masked_content"], parse(_DOT.format("mask=full"))
    promises = Mutant("promises", "promise", (("poison_safe=False", "poison_safe=True"),))
    assert "nan" in relation.judge(in_process.subject(promises.implementation(), case)).reason


def test_what_cannot_be_asked_is_no_pass():
    """Beside scores of 1e6 no constant can be added exactly in float32: the relation says so and does not pass."""
    [right] = registry.select(["eager"])
    case = parse("scaled_dot_product-B2H3Hk3Lq8Lk8D8Dv8-float32-bias=batch-far_below-contiguous")
    with pytest.raises(OutOfRange, match="no constant can be added exactly"):
        BY_NAME["relation.shifted_scores"].judge(in_process.subject(right, case))


def test_a_wrong_shape_is_told_as_such():
    """A relation that meets no numbers to compare says what came instead."""
    wrong = named("wrong shape: last axes exchanged").implementation()
    judged = BY_NAME["relation.hull"].judge(in_process.subject(wrong, parse(_MANY)))
    assert "output has shape" in judged.reason


def test_a_failure_shrinks_to_a_smallest_case_that_its_id_replays():
    """The message names relation, id and command, every size is at its least, and the suite asks it there."""
    wrong = named("last key dropped").implementation()
    with pytest.raises(AssertionError) as failure:
        assert_no_drawn_case_breaks(BY_NAME["relation.equal_keys"], wrong)
    text = re.search(r"relation\.equal_keys of (\S+)", str(failure.value))
    case = parse(text[1])
    assert replay_command(wrong, case) in str(failure.value)
    assert set(case.sizes.values()) == {1}
    assert ("float32", "ordinary", "contiguous") == (case.dtype, case.content, case.layout)
    item = plan_item(wrong, case)
    bad = {verdict.check for verdict in run_checks(item) if verdict.status in NONCONFORMING}
    assert "relation.equal_keys" in bad


# Other orders and places of rounding; `python -m tox -e mutants` asks the suite of every variant.
SAMPLE = (
    "scale folded into the query",
    "cosine by dividing the finished product",
    "kernel by the expanded square, one format wider",
    "mask added as minus infinity",
    "softmax in the log domain",
    "divided last",
    "online softmax in blocks of 1",
    "keys in 3 parts, merged by log-sum-exp",
    "heads one after the other",
)


@pytest.mark.parametrize("name", SAMPLE)
def test_no_relation_accuses_a_correct_variant(name):
    """Attentions computed in another way, on drawn cases of every relation of the mechanisms that they change."""
    [[], [found]] = select([name])
    variant, own = found.implementation(), found.mechanisms()
    taken = [case for case in matrix("default") if case.mechanism in own and not variant.refuses(case)]
    true = [relation for relation in of_kind("relation") if any(relation.holds(variant, case) for case in taken)]
    assert len(true) > 5
    pairs = st.sampled_from(true).flatmap(lambda relation: st.tuples(st.just(relation), cases(relation, variant, own)))

    @settings(PROFILE, max_examples=2 * PROFILE.max_examples)
    @given(pairs)
    def holds(pair: tuple[Check, Case]) -> None:
        assert_holds(pair[0], variant, pair[1])

    holds()
