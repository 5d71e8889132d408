"""What judges a family of mutants that the suite has not seen: rules alone, and none of the family's own levels."""

from __future__ import annotations

from attention_harness.cases.distributions import DISTRIBUTIONS
from attention_harness.cases.layouts import LAYOUTS
from attention_harness.cases.matrix import listed, matrix
from attention_harness.cases.rows import LIST, Row, rows
from attention_harness.model.mutation_results import Outcome, count
from attention_harness.mutation import families
from attention_harness.mutation.campaign import plan_generalisation
from attention_harness.mutation.catalogue import mutants
from attention_harness.mutation.declared import Suite, levels
from attention_harness.report.content.mutation import generalisation_lines


def test_families_and_levels_are_those_that_there_are():
    """A name that is misspelt would leave nothing out."""
    assert families.levels_of().keys() <= {mutant.kind for mutant in mutants()}
    known = {f"content={name}" for name in DISTRIBUTIONS} | {f"layout={name}" for name in LAYOUTS}
    assert {level for of_family in families.levels_of().values() for level in of_family} <= known
    assert all(families.levels_of().values())


def test_rows_that_say_why_are_left_out():
    """Of both lists; a row without a reason stays, and every pair of levels is still covered by those."""
    by_rule, every = rows(by_hand=False), rows()
    lines = [line for line in LIST.read_text().splitlines() if not line.startswith("#")]
    reasoned = [Row.from_line(line.partition("#")[0]) for line in lines if "#" in line]
    assert reasoned
    assert len(every) == len(by_rule) + len(reasoned)
    assert set(listed(by_hand=False)) < set(listed())
    assert set(matrix(by_hand=False)) < set(matrix())


def test_a_family_is_judged_without_its_levels():
    """No case has one of them; other families keep them; none has a length that only rows by hand have."""
    whole = set(Suite().cases("masked_softmax"))
    fill, mask = (set(families.without(Suite(), kind).cases("masked_softmax")) for kind in ("fill", "mask"))
    assert fill < mask < whole
    assert not any("content=sunken" in levels(case) for case in fill)
    assert any("content=sunken" in levels(case) for case in mask)
    assert max(case.sizes["Lk"] for case in whole) > max(case.sizes["Lk"] for case in mask)


def test_the_campaign_gives_each_mutant_its_suite():
    """By the family of each; equivalent variants are no part of it."""
    campaign = plan_generalisation(["mask polarity", "fill with -50", "sum by einsum"], "default")
    assert ["mask polarity", "fill with -50"] == [mutant.name for mutant in campaign.mutants]
    assert () == campaign.variants
    assert [(), families.levels_of()["fill"]] == [campaign.suite_for(mutant).without for mutant in campaign.mutants]


def test_the_figure_names_what_survives_unseen():
    """By family and in total, with the part that is killed."""
    outcomes = [Outcome(name, "mask", "", {}, (), 3) for name in ("seen", "survivor")]
    text = "\n".join(generalisation_lines(count(outcomes, [])))
    assert "mask              0 of    2 killed unseen,    0.0%" in text
    assert "SURVIVED UNSEEN survivor" in text
    assert "killed 0 of 2 mutants, 0.0%" in text
