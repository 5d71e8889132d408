"""The notes, illustrated: each mechanism's formula, worked example, weights, errata and who implements it."""

from __future__ import annotations

import re

import pytest
from msgspec.structs import replace

from attention_harness import registry
from attention_harness.commands.run_setup import mechanism_facts
from attention_harness.model.mechanism_facts import Matrix, Numbers, Step
from attention_harness.model.run_facts import Heatmap
from attention_harness.model.verdict import Status
from attention_harness.report import build, markdown, page
from attention_harness.report.content import examples
from attention_harness.report.content.mechanisms import AXES, CHAPTERS

NAMES = list(registry.mechanisms())
FACTS = mechanism_facts(NAMES)


def panels(name: str) -> tuple[Heatmap, ...]:
    values = ((0.25, 0.75), (1.0, 0.0))
    kinds = ("notes", "recorded")
    return tuple(Heatmap("", f"{name} on {kind}", "query", "key", values, kind) for kind in kinds)


@pytest.fixture(scope="module")
def told():
    """Return the content of a run of all mechanisms, its page and its Markdown, by section."""
    from pathlib import Path

    from attention_harness.model.run_facts import RunFacts
    from attention_harness.store import Run

    content = build(Run(Path("run"), RunFacts(mechanisms=FACTS), heatmaps={name: panels(name) for name in NAMES}))
    html = re.findall(r'<article class="mechanism".*?</article>', page.render(content), re.S)
    text = re.split(r"^### ", markdown.render(content).split("## The notes, illustrated")[1], flags=re.M)[1:]
    names = [one.name for one in content.mechanisms]
    return content, dict(zip(names, html, strict=True)), dict(zip(names, text, strict=True))


@pytest.mark.parametrize("name", NAMES)
def test_the_page_explains_a_mechanism(told, name):
    """Summary, formula as MathML, symbols, source, errata, an open example with its steps, and both heatmaps."""
    _, html, _ = told
    own, facts = html[name], FACTS[name]
    opened = own
    while "<details>" in opened:  # from the innermost outwards
        opened = re.sub(r"<details>((?!<details>).)*?</details>", "", opened, flags=re.S)
    assert opened.index('class="summary"') < opened.index("<math") < opened.index('class="symbols"')
    assert opened.count('<li class="step">') == len(facts.examples[0].steps) > 0
    assert own.count('<li class="step">') == sum(len(example.steps) for example in facts.examples)
    assert own.count("<b>Erratum</b>") == len(facts.errata)
    assert all(f"{name} on {kind}" in opened for kind in ("notes", "recorded"))
    assert f"Source: {facts.source}" in own.replace("&#39;", "'")
    assert "<pre" not in own
    assert own.count("<dt>") == len(facts.inputs)
    assert {letter for one in facts.inputs for axis in one.axes.split() for letter in axis.split("+")} - {"1"} <= set(
        AXES
    )


@pytest.mark.parametrize("name", NAMES)
def test_the_markdown_explains_a_mechanism(told, name):
    """The formula and each step as a block that GitHub typesets, without the macro that GitHub refuses."""
    _, _, text = told
    own, facts = text[name], FACTS[name]
    blocks = re.findall(r"^```math\n(.+)\n```$", own, re.M)
    assert facts.formula.replace(r"\operatorname", r"\mathrm") == blocks[0]
    differing = sum(examples.largest_difference(step) > 0 for one in facts.examples for step in one.steps)
    assert len(blocks) == 1 + sum(1 + len(example.steps) for example in facts.examples) + differing
    assert not any(r"\operatorname" in block for block in blocks)
    assert own.count("*Erratum*") == len(facts.errata)
    assert all(f"{name} on {kind}" in own.replace("\\", "") for kind in ("notes", "recorded"))
    assert own.count("<details>") == own.count("</details>") == (len(facts.examples) > 1)


def test_chapters_go_from_the_simple_to_the_involved(told):
    """Every mechanism of ours has its chapter; the dot product comes first; links lead to each section."""
    content, *_ = told
    assert [title for title, _ in CHAPTERS.values()] == [chapter.title for chapter in content.chapters]
    assert content.mechanisms[0].name == "dot_product"
    assert [one.number for one in content.mechanisms] == list(range(1, len(NAMES) + 1))
    html = page.render(content)
    for one in content.mechanisms:
        assert html.count(f'href="#mechanism-{one.number}"') == html.count(f'id="mechanism-{one.number}"') == 1


def test_a_mechanism_says_who_implements_it(run, verdict):
    """Conforms, fails, a known failure, and who was not checked and why; a run that is not whole proves nothing."""
    statuses = {
        "a": Status.PASS,
        "b": Status.FAIL,
        "c": Status.KNOWN_FAILURE,
        "d": Status.UNSUPPORTED,
        "e": Status.CRASH,
    }
    verdicts = [verdict(status, name) for name, status in statuses.items()]
    verdicts.append(verdict(Status.PASS, "f", mechanism="additive"))
    cosine = next(one for one in build(run(verdicts)).mechanisms if one.name == "cosine")
    assert {one.name: one.word for one in cosine.implementers} == {
        "a": "conforms",
        "b": "fails",
        "c": "known failure",
        "e": "crash",
    }
    assert cosine.without == {"unsupported": ("d",), "not run": ("f",)}
    part = next(one for one in build(run(verdicts, finished=None)).mechanisms if one.name == "cosine")
    assert part.implementers[0].word == "none wrong so far"


def test_a_run_of_an_older_harness_says_what_it_lacks(run):
    """No example, no inputs, no kind: the section says so, and stands among the others."""
    facts = {"cosine": replace(FACTS["cosine"], examples=(), inputs=(), kind="", specification="")}
    content = build(run(mechanisms=facts))
    assert [chapter.title for chapter in content.chapters] == ["Others"]
    for text in (page.render(content), markdown.render(content)):
        assert "No worked example was stored in this run." in text
        assert "No heatmap was stored in this run." in text


def test_only_one_kind_of_input_is_said(run):
    """Where one of the two heatmaps is missing, it is named as missing."""
    html = page.render(build(run(mechanisms={"cosine": FACTS["cosine"]}, heatmaps={"cosine": panels("cosine")[:1]})))
    assert "cosine on notes" in html
    assert re.search(r"On real input</h6><p class=\"quiet\">None was stored in this run", html)


def test_numbers_that_differ_are_both_shown(told):
    """The note rounds 45.4999999309 to 45.5; both stand there, with the difference and its reason."""
    _, html, text = told
    for own in (html["gaussian_kernel"], text["gaussian_kernel"]):
        assert "45.4999999309" in own
        assert "45.5" in own
        assert "differ" in own
        assert "rounds the weight of the far key" in own
    assert "as the notes expect" in html["dot_product"]
    assert "differ by" not in html["dot_product"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (0.0, "0"),
        (9998.0, "9998"),
        (-0.5, "−0.5"),
        (0.3333333333, "0.3333"),
        (0.999996618665, "0.9999966"),
        (1.25549956211e-8, "1.255e−8"),
        (123456789.0, "1.235e8"),
    ],
)
def test_numbers_are_written_for_reading(value, text):
    """Four decimals, as many as tell a number from an integer, powers of ten beyond."""
    assert text == examples.number(value)


def test_a_difference_counts_beyond_the_stored_digits():
    """12 digits are stored; what has no number differs in nothing."""
    ours = Numbers((1, 3), (Matrix("", ((0.333333333333, None, 45.4999999309),)),))

    def off(*expected):
        return examples.largest_difference(Step("output", "O", ours, Numbers((1, 3), (Matrix("", (expected,)),))))

    assert off(1 / 3, 1.0, 45.4999999309) == 0
    assert off(1 / 3, None, 45.5) == pytest.approx(6.91e-8)
