"""What the report says of verdicts: nothing that was not run may look as if it had been."""

from __future__ import annotations

from dataclasses import replace

import pytest

from attention_harness.model.run_facts import ImplementationFacts, RunFacts
from attention_harness.model.verdict import NONCONFORMING, Status
from attention_harness.report import build, markdown, page, words
from attention_harness.report.content import settled


def cell(told, mechanism="cosine", implementation="eager"):
    """Return one cell of the matrix."""
    return next(found for found in dict(told.matrix.rows)[mechanism] if found.implementation == implementation)


def test_a_cell_without_a_verdict_says_not_run(run, verdict):
    """In the content, in Markdown and on the page: with no word of passing."""
    told = build(run([verdict()], implementations={"eager": ImplementationFacts(), "absent": ImplementationFacts()}))
    assert (cell(told, implementation="absent").text, cell(told, implementation="absent").state) == ("not run", "none")
    assert cell(told, mechanism="additive").text == "not run"
    assert "| `additive` | not run | not run |" in markdown.render(told)
    assert 'aria-label="additive on eager: not run"' in page.render(told)
    assert next(total.word for total in told.totals if total.implementation == "absent") == "not run"


def test_every_mechanism_has_a_row_even_in_an_empty_run(run):
    """The matrix is over what exists, not over what was asked."""
    assert {"cosine", "additive", "multi_head"} <= dict(build(run()).matrix.rows).keys()


def test_an_empty_run_shows_nothing_to_conform(run):
    """No verdict is no proof; every format is still written."""
    told = build(run())
    assert told.headline.word == "Nothing was checked"
    assert "None, since nothing was checked." in markdown.render(told)
    assert "None, since nothing was checked." in page.render(told)
    assert "No measurement was made in this run." in page.render(told)


def test_a_run_without_any_fact_can_be_told(run):
    """A report of half a run is better than a traceback."""
    told = build(replace(run(), facts=RunFacts()))
    assert len(told.headline.warnings) == 2
    assert "The command was not recorded." in page.render(told)


def test_a_whole_run_without_failures_conforms(run, verdict):
    """Its sum adds up to the plan, and there is no warning."""
    told = build(run([verdict(), verdict(), verdict(Status.UNSUPPORTED), verdict(Status.UNAVAILABLE)]))
    assert (told.headline.word, told.headline.warnings) == ("Conforms", ())
    assert told.headline.sum == "2 checked + 1 unsupported + 1 unavailable = 4 planned"


@pytest.mark.parametrize("status", NONCONFORMING)
def test_one_verdict_that_does_not_conform_decides(run, verdict, status):
    """The headline, the implementation, the cell and the failures all name it."""
    told = build(run([verdict()] * 1 + [verdict(status)] + [verdict() for _ in range(20)]))
    assert told.headline.word == "Does not conform"
    assert told.totals[0].word == "does not conform"
    assert f"{status.replace('_', ' ')} (1)" == cell(told).text
    assert [status] == [group.worst.status for group in told.failures]


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"planned": 5}, "3 of 5 planned verdicts are missing"),
        ({"planned": 1}, "but 1 were planned"),
        ({"planned": None}, "does not say how many verdicts were planned"),
        ({"finished": None}, "has not recorded its end"),
    ],
)
def test_a_run_that_is_not_whole_is_announced(run, verdict, facts, said):
    """Loudly, in both formats, and it is never said to conform."""
    told = build(run([verdict(), verdict()], **facts))
    assert (told.headline.word, told.headline.tone) == ("Incomplete", "open")
    assert told.totals[0].word == "none wrong so far"
    assert said in markdown.render(told)
    assert said in page.render(told)
    assert '<p class="warning">' in page.render(told)


def test_an_answer_given_twice_does_not_hide_one_never_asked(run, verdict):
    """Two of two planned lines are there, but they answer one question: one is missing, and the worst counts."""
    twice = [verdict(case="a"), verdict(Status.FAIL, case="a")]
    assert ([twice[1]], 1) == settled(twice)
    told = build(run(twice, planned=2))
    assert any("1 of 2 planned verdicts are missing" in warning for warning in told.headline.warnings)
    assert any("ran twice, with different verdicts" in warning for warning in told.headline.warnings)


def test_a_whole_run_that_answers_twice_still_conforms(run, verdict):
    """What a benchmark asks again is no warning, and the headline and the implementation say the same."""
    told = build(run([verdict(case="a"), verdict(case="a")], planned=1))
    assert (told.headline.word, told.totals[0].word) == ("Conforms", "conforms")
    assert told.headline.warnings == ()


def test_only_skipped_checks_are_nothing_checked(run, verdict):
    """What is unavailable does not conform by being absent."""
    told = build(run([verdict(Status.UNAVAILABLE), verdict(Status.UNSUPPORTED)]))
    assert told.headline.word == "Nothing was checked"
    assert told.totals[0].word == "not checked"
    assert (cell(told).text, cell(told).extras) == ("unavailable (1)", ("1 unsupported",))


def test_a_partly_unsupported_cell_says_both(run, verdict):
    """The share is the worst of those that passed; the reasons are numbered notes with their counts."""
    skipped = [verdict(Status.UNSUPPORTED, reason="no float16") for _ in range(12)]
    told = build(run([verdict(error_ratio=0.63), verdict(error_ratio=0.1), *skipped]))
    assert (cell(told).text, cell(told).extras) == ("pass 0.63", ("12 unsupported",))
    assert [(note.reason, note.checks) for note in told.matrix.notes] == [("no float16", 12)]
    assert "pass 0.63, 12 unsupported [1]" in markdown.render(told)
    assert '<li id="note1"' in page.render(told)


def test_a_reason_is_one_note_for_all_mechanisms(run, verdict):
    """It is numbered once, with the mechanisms that it concerns."""
    skipped = [
        verdict(Status.UNSUPPORTED, mechanism=mechanism, reason=reason)
        for mechanism, reason in (("cosine", "no mask"), ("additive", "no mask"), ("additive", "no float16"))
    ]
    told = build(run(skipped))
    assert [note.mechanisms for note in told.matrix.notes] == [("cosine", "additive"), ("additive",)]
    assert (cell(told).notes, cell(told, mechanism="additive").notes) == ((1,), (1, 2))


def test_a_failure_without_a_number_is_the_worst(run, verdict):
    """An output that is not finite has no error ratio: it is told before any number, with its reason."""
    told = build(
        run(
            [
                verdict(Status.FAIL, error_ratio=1e300),
                verdict(Status.FAIL, error_ratio=None, reason="nan where 0.5 is right"),
                verdict(),
            ]
        )
    )
    assert [(words.NOTHING, 1), ("1.0e+300", 1)] == [(found.error_ratio, found.count) for found in told.failures]
    assert "nan where 0.5 is right" == told.failures[0].worst.reason
    assert "1.0e+300" == told.totals[0].worst
    assert all("nan where 0.5 is right" in text for text in (markdown.render(told), page.render(told)))


def test_a_failure_just_above_its_bound_does_not_read_as_one(run, verdict):
    """1.0001 is shown as more than 1."""
    assert build(run([verdict(Status.FAIL, error_ratio=1.0001)])).failures[0].error_ratio == "1.01"


def test_a_failure_tells_where_how_much_and_how_to_replay(run, verdict):
    """The error bound is the error over its share; the replay command stands in a code block."""
    replay = "python -m attention_harness check eager --case c"
    wrong = verdict(Status.FAIL, error_ratio=4.0, error=2.0, where=(0, 1), replay=replay, reason="|error| too large")
    told = build(run([wrong]))
    found = told.failures[0]
    assert (found.error, found.error_bound, found.where, found.error_ratio) == ("2", "0.5", "output[0, 1]", "4.00")
    assert f"```sh\n{replay}\n```" in markdown.render(told)
    assert f"<pre><code>{replay}</code></pre>" in page.render(told)


def test_every_failure_of_a_kind_is_counted(run, verdict):
    """A hundred of one kind are one entry: the worst in full, a dozen by name, the others by number."""
    found = build(run([verdict(Status.FAIL, error_ratio=float(2 + i)) for i in range(100)])).failures
    assert [(g.count, g.error_ratio, len(g.others), g.unnamed) for g in found] == [(100, "1.0e+02", 12, 87)]


def test_a_known_failure_is_told_but_does_not_decide(run, verdict):
    """It stands apart from the failures, with its upstream reason."""
    told = build(run([verdict(), verdict(Status.KNOWN_FAILURE, reason="upstream issue 7")]))
    assert (told.headline.word, told.failures, len(told.known)) == ("Conforms", (), 1)
    assert "upstream issue 7" in page.render(told)


def test_the_share_of_a_passing_cell_is_of_what_passed(run, verdict):
    """A known failure beyond its error bound does not become the share of a pass."""
    told = build(run([verdict(error_ratio=0.5), verdict(Status.KNOWN_FAILURE, error_ratio=7.0)]))
    assert (cell(told).text, cell(told).extras) == ("pass 0.50", ("1 known failure",))


def test_what_was_not_asked_is_no_proof(run, verdict):
    """Neither the headline nor the implementation conforms, and the note says why."""
    told = build(run([verdict(), verdict(Status.NOT_ASKED, reason="window is declared, and no case asks for it")]))
    assert (told.headline.word, told.headline.tone) == ("Not all was asked", "open")
    assert told.headline.sum == "1 checked + 0 unsupported + 0 unavailable + 1 not asked = 2 planned"
    assert ("not all asked", "open") == (told.totals[0].word, told.totals[0].tone)
    for text in (markdown.render(told), page.render(told)):
        assert "window is declared, and no case asks for it" in text
