"""Each behaviour: the measured word is right; a declaration that it contradicts fails; no claim is not contradicted."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from msgspec import structs

from attention_harness import Arithmetic, registry
from attention_harness.cases.ids import parse
from attention_harness.checks import BY_NAME, of_kind
from attention_harness.checks.behaviour.anchor import anchor
from attention_harness.commands.check import summary
from attention_harness.execution import in_process
from attention_harness.execution.plan import Item, plan_items
from attention_harness.execution.run import run_checks
from attention_harness.model.errors import ImplementationRaised
from attention_harness.model.run_facts import RunFacts
from attention_harness.model.verdict import Status, Verdict
from attention_harness.mutation.patched import Mutant
from attention_harness.report import build
from attention_harness.store import Run
from attention_harness.store.encoding import decode, encode
from tests.checks.behaviour import made as m


@pytest.mark.parametrize(
    ("attend", "word"),
    [(m.right, "zero"), (m.nan_rows, "nan"), (m.mean_rows, "mean"), (m.last_rows, "other")],
)
@pytest.mark.parametrize("declared", ["zero", "nan", "mean"])
def test_fully_masked_rows(attend, word, declared):
    """The policy is told by its name, and fails under every other declaration."""
    judged = m.ask("fully_masked_rows", m.made(attend, fully_masked_rows=declared))
    assert (word, declared) == (judged.finding, judged.declared)
    assert (word == declared) == (judged.reason == "")
    if judged.reason:
        assert f"does: {word}; declares: {declared}" == judged.reason


def test_fully_masked_rows_differ_by_the_way_of_hiding():
    """What masks do and what lengths do is told apart."""

    def mixed(scores, value, visible):
        by_length = visible is not None and visible.shape[-2] == 1  # lengths alone broadcast over the queries
        return (m.nan_rows if by_length else m.right)(scores, value, visible)

    assert "zero (mask, bias, causal); nan (valid_lens)" == m.ask("fully_masked_rows", m.made(mixed)).finding


@pytest.mark.parametrize(
    ("shift", "option", "word"),
    [
        (lambda queries, keys: 0, "causal_top_left", ""),
        (lambda queries, keys: keys - queries, "causal_bottom_right", ""),
        (lambda queries, keys: 0, "causal_bottom_right", "top_left where bottom_right is asked"),
        (lambda queries, keys: keys - queries, "causal_top_left", "bottom_right where top_left is asked"),
        (lambda queries, keys: -1, "causal_top_left", "neither where top_left is asked"),
        (lambda queries, keys: keys, "causal_bottom_right", "neither where bottom_right is asked"),
    ],
)
def test_causal_corner(shift, option, word):
    """The corner is found from what changes; the other one, and neither, contradict the declaration."""
    judged = m.ask("causal_corner", m.made(m.corner(shift), options=(option,)))
    assert (word or option.removeprefix("causal_")) == judged.finding
    assert bool(word) == bool(judged.reason)


_FIRST = """
    if past_key is not None and visibility.get("causal"):
        import torch

        places = torch.arange(query.shape[-2])[:, None] + past_key.shape[-2]
        del visibility["causal"]
        visibility["mask"] = torch.arange(past_key.shape[-2] + key.shape[-2]) <= places
    key, value = with_past(past_key, key), with_past(past_value, value)"""


@pytest.mark.parametrize(
    ("code", "word"),
    [
        ("    key, value = with_past(past_key, key), with_past(past_value, value)", "bottom_right"),
        (_FIRST[1:], "from the first key of this call where bottom_right is asked"),
    ],
)
def test_the_corner_beside_earlier_keys(code, word):
    """Eager counts from the last key; what counts from the first key of this call is told, and contradicts."""
    patch = ("    key, value = with_past(past_key, key), with_past(past_value, value)", code)
    made = Mutant("corner", "corner", (patch,)).implementation()
    case = parse("scaled_dot_product-B2H3Hk3Lq5Lk7D16Dv8-float32-plain-ordinary-contiguous")
    judged = BY_NAME["behaviour.causal_corner"].judge(in_process.subject(made, case))
    whole, _, beside = judged.finding.partition("; ")
    assert ("top_left, bottom_right", True) == (whole, beside.endswith(f", {word} beside past=half"))
    assert bool(judged.reason) == (word != "bottom_right")


def test_parts_that_are_not_taken_are_not_asked():
    """Half of the queries against all keys is no square: nothing is measured, rather than an error told."""
    square = m.made(m.right, requires=("Lq == Lk",))
    assert "nothing to measure" == m.ask("slices", square).finding
    assert "the same bits" in m.ask("batch_invariance", square).finding


def test_behaviours_are_not_measured_at_very_many_keys():
    """Each key costs an error bound: a case of a thousand is refused rather than asked for minutes."""
    wide = m.made(m.right, requires=("Lq == Lk", "Lk % 1024 == 0"))
    assert wide.refuses(anchor(wide))


@pytest.mark.parametrize(
    "requires", [("D % 32 == 0",), ("Lq == Lk",), ("Lq >= 200", "D == Dv"), ("Lq == Lk", "D % 64 == 0", "B == 1")]
)
def test_behaviours_are_measured_at_sizes_that_are_taken(requires):
    """Where `requires` refuses the usual sizes, at others that fit; of equal lengths either corner is right."""
    one = m.made(m.corner(lambda queries, keys: keys - queries), requires=requires, options=("causal_bottom_right",))
    assert not one.refuses(anchor(one))
    judged = m.ask("causal_corner", one)
    equal = "Lq == Lk" in requires
    assert ("top_left or bottom_right" if equal else "bottom_right", "") == (judged.finding, judged.reason)
    wrong = m.made(
        m.corner(lambda queries, keys: keys - queries - 1), requires=requires, options=("causal_bottom_right",)
    )
    assert "neither where bottom_right is asked" == m.ask("causal_corner", wrong).finding


@pytest.mark.parametrize(
    ("attend", "claimed", "finding", "fails"),
    [
        (m.right, False, "leaks NaN, infinity", False),
        (m.right, True, "leaks NaN, infinity", True),
        (m.safe, False, "clean", False),
        (m.safe, True, "clean", False),
        (m.remembered, False, "leaks NaN, infinity, huge numbers", True),  # a finite number must never be seen
        (lambda s, v, seen: m.right(3 * s, v, seen), False, "leaks NaN, infinity", False),  # wrong, but no leak
    ],
)
def test_masked_nan(attend, claimed, finding, fails):
    """A leak contradicts poison_safe alone, but a leak of finite numbers the contract."""
    options = ("mask", "valid_lens", "causal_top_left")
    judged = m.ask("masked_nan", m.made(attend, poison_safe=claimed, options=options))
    assert (finding, "poison_safe" if claimed else "no claim") == (judged.finding, judged.declared)
    assert fails == bool(judged.reason)


@pytest.mark.parametrize(("cleans", "finding"), [(True, "clean"), (False, "leaks NaN, infinity into a gradient")])
def test_masked_nan_in_gradients(cleans, finding):
    """A clean output may hide a NaN in a gradient: dQ = dS K multiplies a zero by the hidden key."""

    def attend(query, key, value, mask=None):
        seen = torch.ones(key.shape[-2], dtype=torch.bool) if mask is None else mask.expand(2, 3, 5, 7).any(-2)
        key = key.masked_fill(~seen.unsqueeze(-1), 0.0) if cleans else key
        return m.safe(query @ key.mT / 4, value, mask)

    made = m.made(m.safe, gradients=True, poison_safe=True, options=("mask",))
    made.module.prepare = lambda case: attend
    judged = m.ask("masked_nan", made)
    assert finding == judged.finding
    assert cleans == (judged.reason == "")


@pytest.mark.parametrize(
    ("attend", "fails"),
    [(m.right, False), (lambda scores, value, visible: m.right(scores, value, visible).float(), True)],
)
def test_dtype(attend, fails):
    """The query's dtype comes out for every declared one, or the behaviour names where it does not."""
    judged = m.ask("dtype", m.made(attend, dtypes=("float32", "bfloat16")))
    assert ("float32 for bfloat16" if fails else "the query's") in judged.finding
    assert fails == bool(judged.reason)
    assert "beside float64 keys and values: raises RuntimeError" in judged.finding


@pytest.mark.parametrize(
    ("behaviour", "claim", "attend"),
    [("repeatability", "repeatable", m.noisy), ("batch_invariance", "batch_invariant", m.by_batch)],
)
@pytest.mark.parametrize("claimed", [False, True])
def test_claims_about_bits(behaviour, claim, attend, claimed):
    """Different bits are told in units in the last place; they contradict the claim, and nothing without one."""
    wrong = m.ask(behaviour, m.made(attend, **{claim: claimed}))
    assert wrong.finding.startswith("differs by ")
    assert wrong.finding.endswith(" units in the last place")
    assert claimed == bool(wrong.reason)
    judged = m.ask(behaviour, m.made(m.in_lanes(torch.float64), **{claim: claimed}))
    assert ("the same bits", "", claim if claimed else "no claim") == (judged.finding, judged.reason, judged.declared)


def test_the_dtype_in_which_bits_differ_is_named():
    """Half precision is asked beside single."""

    def attend(scores, value, visible):
        return (m.by_batch if scores.dtype == torch.bfloat16 else m.in_lanes(torch.float64))(scores, value, visible)

    finding = m.ask("batch_invariance", m.made(attend, dtypes=("float32", "bfloat16"))).finding
    assert finding.startswith("the same bits (float32); differs by ")
    assert finding.endswith(" units in the last place (bfloat16)")


def test_slices():
    """Parts of the queries are compared with the whole; nothing is claimed of them."""
    judged = m.ask("slices", m.made(m.by_row))
    assert judged.finding.startswith("differs by ")
    assert "" == judged.reason
    assert "the same bits" == m.ask("slices", m.made(m.in_lanes(torch.float64))).finding


FORMATS = {d: getattr(torch, d) for d in ("bfloat16", "float16", "float32", "float64")}


@pytest.mark.parametrize("way", [m.added_in, m.in_lanes])
@pytest.mark.parametrize("accumulator", FORMATS)
def test_accumulation(accumulator, way):
    """The format of the sum is found, in one lane or eight; a narrower one than declared fails."""
    attend = way(FORMATS[accumulator])
    judged = m.ask("accumulation", m.made(attend, dtypes=("float32",)))
    assert accumulator == judged.finding
    assert (accumulator in ("bfloat16", "float16")) == bool(judged.reason)
    honest = m.made(attend, dtypes=("float32",), arithmetic=Arithmetic(accumulator=accumulator))
    assert "" == m.ask("accumulation", honest).reason


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_accumulation_of_half_precision(dtype):
    """The sum's format is not the output's."""
    for accumulator in ("bfloat16", "float32"):
        judged = m.ask("accumulation", m.made(m.added_in(FORMATS[accumulator]), dtypes=(dtype,)))
        assert accumulator == judged.finding
        assert (accumulator == "bfloat16") == bool(judged.reason)


def test_a_loose_declaration_is_told():
    """Who declares a poorer accumulator than he has gets a looser error bound than he needs."""
    judged = m.ask("accumulation", m.made(m.added_in(torch.float32), arithmetic=m.LOOSE))
    assert "float32; declares bfloat16, does float32: its error bound is looser than it needs" == judged.finding
    assert "" == judged.reason


def test_a_behaviour_is_asked_once():
    """In a whole plan every implementation is asked each behaviour in one case, its anchor; one if it is declared."""
    from attention_harness.cases.matrix import matrix

    chosen = registry.select(["eager", "torch_sdpa"])
    items = [item for item in plan_items(chosen, matrix("quick")) if item.skip is None]
    asked = [
        (item.implementation.name, c.name) for item in items for c in item.checks if c.name.startswith("behaviour.")
    ]
    missing = {(one.name, check.name) for one in chosen for check in of_kind("behaviour")} - set(asked)
    assert {("torch_sdpa", f"behaviour.{one}") for one in ("forward_derivative", "log_sum_exp", "order")} == missing
    assert len(asked) == len(set(asked))


def test_a_kernel_of_whole_blocks_is_asked_at_its_lengths():
    """The anchor is the first problem that the implementation takes."""
    picky = m.made(m.right)
    picky.module.unsupported = lambda case: "" if case.sizes["Lk"] % 64 == 0 else "whole blocks of 64 keys alone"
    assert 128 == anchor(picky).sizes["Lk"]
    assert "zero" == m.ask("fully_masked_rows", picky).finding


def test_a_known_failure_is_not_asked_again():
    """A dtype whose failure is declared does not fail once more as a behaviour of another one."""

    def attend(scores, value, visible):
        if scores.dtype == torch.bfloat16:
            raise RuntimeError("no such kernel")
        return m.right(scores, value, visible)

    made = m.made(attend, dtypes=("float32", "bfloat16"))
    with pytest.raises(ImplementationRaised, match="RuntimeError: no such kernel"):
        m.ask("accumulation", made)
    made.module.KNOWN_FAILURES = {"*:*-bfloat16-*": "upstream 7"}
    assert "float32" == m.ask("accumulation", made).finding


def test_the_finding_reaches_the_table_and_the_report():
    """Verdict, JSON, table in the terminal, row of the report: measured, declared, and a contradiction marked."""
    liar = m.made(m.nan_rows)
    check = BY_NAME["behaviour.fully_masked_rows"]
    item = Item(liar, anchor(liar), (check,))
    [verdict] = run_checks(item)
    assert (Status.FAIL, "nan", "zero") == (verdict.status, verdict.finding, verdict.declared)
    again = decode(encode(verdict), Verdict)
    assert verdict == again
    assert ["made", "fully_masked_rows", "FAIL", "nan", "zero"] == summary.behaviours([again]).splitlines()[1].split()
    told = build(Run(Path("run"), RunFacts(), (again,)))
    assert (("made",), {"fully_masked_rows": {"made": again}}) == (told.measured, told.behaviours)
    unasked = structs.replace(again, status=Status.UNSUPPORTED, reason="not here", finding="", declared="")
    assert "" == summary.behaviours([unasked])
