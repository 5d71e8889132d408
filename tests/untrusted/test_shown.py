"""What a run holds is shown as text: in the page, in the Markdown and in the terminal."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from attention_harness import store
from attention_harness.commands import bench, console
from attention_harness.commands.check import summary
from attention_harness.model.diagnosis import Diagnosis
from attention_harness.model.errors import HarnessError
from attention_harness.model.printable import one_line, printable
from attention_harness.model.run_facts import RunFacts
from attention_harness.report import build, markdown, page
from attention_harness.report.page import rendering
from tests.untrusted.inside import HOSTILE, answer
from tests.untrusted.made import everything, measurements, mechanism, verdicts

FOLDER = Path(rendering.__file__).parent
STEERING = {chr(n) for n in (*range(9), *range(11, 32), *range(127, 160), 0x202E, 0x2066, 0xD800)} - {"\n", "\t"}


class Page(HTMLParser):
    """Collects a page's tags with their attributes, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_data(self, data):
        self.texts.append(data)


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """Return the content of a run in which every text is hostile, read from its files."""
    return build(store.load(everything(tmp_path_factory.mktemp("hostile") / "run", HOSTILE)))


@pytest.fixture(scope="module")
def html(told):
    return page.render(told)


def test_the_page_shows_every_text_as_text(html):
    """No element, attribute or reference comes from the run; template braces stay as they are."""
    found = Page(html)
    assert not {tag for tag, _ in found.tags} & {"iframe", "object", "embed", "link", "base", "form"}
    data = [attributes["type"] for tag, attributes in found.tags if tag == "script" and attributes]
    assert set(data) <= {"application/octet-stream", "application/json"}  # blocks of data, which no browser runs
    names = {name for _, attributes in found.tags for name in attributes}
    assert not {name for name in names if name.startswith("on")} | {"style", "srcset", "action", "formaction"} & names
    shown = " ".join(found.texts)
    for text in (
        "<script>document.title",
        "<img src=x onerror",
        "{{7*7}}{% raw %}",
        "javascript:alert(1)",
        r"\x1b[31m",
    ):
        assert shown.count(text) > 20
    assert not STEERING & set(html)


def test_the_page_loads_nothing_and_its_policy_says_so(html):
    """Each reference is a fragment or data; styles and scripts are the package's, by hash; no frame, no form."""
    found = Page(html)
    references = [
        value for _, attributes in found.tags for name, value in attributes.items() if name in ("src", "href")
    ]
    assert references
    assert all(value.startswith(("#", "data:image/svg+xml;base64,")) for value in references)
    assert all(
        value.startswith("#")
        for value in re.findall(r"url\(([^)]*)\)", "".join(re.findall(r"<style>.*?</style>", html, re.S)))
    )
    [policy] = [a["content"] for _, a in found.tags if a.get("http-equiv") == "Content-Security-Policy"]
    terms = {}
    for tag, files in (("style", rendering.STYLES), ("script", rendering.SCRIPTS)):
        held = re.findall(f"<{tag}>(.*?)</{tag}>", html, re.S)
        assert held == [(FOLDER / name).read_text("utf-8") for name in files]
        digests = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in held]
        terms[tag] = " ".join(f"'sha256-{digest}'" for digest in digests)
    expected = (
        f"default-src 'none'; style-src {terms['style']}; script-src {terms['script']}; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    assert expected == policy
    assert html.index("Content-Security-Policy") < html.index("<style>") < html.index("<title>") + 500


def test_the_markdown_shows_every_text_as_text(told):
    """Outside code blocks nothing is a tag, a link, code, a table's bar, a list or a heading of the run's own."""
    text = markdown.render(told)
    assert not STEERING & set(text)
    prose = re.sub(r"^(`{3,}).*?^\1$", "", text, flags=re.S | re.M)
    assert not re.search(r"<(?!/?(details|summary)>)", prose)
    assert not re.search(r"(?<!\\)\]\(", prose)
    assert not re.search(r"(?<!\\)`[^`\n]*javascript", prose)
    assert not [line for line in prose.splitlines() if line.startswith(("# heading", "- item", "forged"))]


@pytest.mark.parametrize(
    "text", ["- a", "+ a", "1. a", "2) a", "=== ", "--- ", "# a", "> a", "* a", "~~~", "| a", "    a"]
)
def test_a_line_of_markdown_begins_nothing(text):
    """What a paragraph may begin with is escaped there."""
    assert re.match(r"\\|\d+\\|&gt;|a", markdown.escaped(text))


def test_no_terminal_is_steered(capsys):
    """Failures, causes, tables and summaries write out what would colour, move, ring or reverse."""
    for verdict in verdicts(HOSTILE):
        console.failure(verdict)
    console.cause(Diagnosis(HOSTILE, (), HOSTILE))
    console.table("cases", [{"id": HOSTILE}], ("id",))
    print(summary.summary(verdicts(HOSTILE), 3), summary.behaviours(verdicts(HOSTILE)))
    print(bench.timings(measurements(HOSTILE), HOSTILE))
    shown = "".join(capsys.readouterr())
    assert r"\x1b[31mred\x1b]0;owned\x07 \x00 \u202eRTL\u2066" in shown
    assert not STEERING & set(shown)


def test_a_complaint_is_one_line_whatever_it_cites(tmp_path):
    """Also where the path itself is hostile."""
    given = answer("report", tmp_path / "no\x1b[31m\u202e\nsuch\rrun")
    assert given.status == 2
    assert (
        given.err
        == f"attention-harness: {tmp_path}/no\\x1b[31m\\u202e such run is no run directory: it has no run.json\n"
    )


def test_text_that_can_be_seen_stays():
    """Letters, signs and spaces of any language; lines stay lines."""
    for text in ("größer ≤ 1 · 注意 ядро", "a\n\tb", "no\u00a0break\u3000", "x\u2028y", "👍🏽", ""):
        assert text == printable(text)
    assert r"a b\x1bc" == one_line("a\n b\x1bc")


@pytest.mark.parametrize(("kind", "count"), [("implementations", 201), ("checks", 1001)])
def test_a_table_without_end_is_refused(tmp_path, kind, count):
    """A table has a cell for every pair of names; what would make too many is a line."""
    from msgspec.structs import replace

    field = {"implementations": "implementation", "checks": "check"}[kind]
    store.Writer.start(tmp_path, RunFacts()).add(*(replace(verdicts()[0], **{field: f"n{n}"}) for n in range(count)))
    with pytest.raises(HarnessError, match=f"names {count} {kind}; a report has room for {count - 1}"):
        build(store.load(tmp_path))


def test_described_mechanisms_are_bounded(tmp_path):
    """Each has a section, though nothing was run of it."""
    described = {f"n{place}": mechanism() for place in range(201)}
    store.Writer.start(tmp_path, RunFacts(mechanisms=described))
    with pytest.raises(HarnessError, match="names 201 mechanisms; a report has room for 200"):
        build(store.load(tmp_path))
