"""Markdown and the page as formats: well-formed, escaped, self-contained, and written without torch."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import parse_qs

import pytest
from msgspec.structs import replace

from attention_harness.model.errors import HarnessError
from attention_harness.model.mechanism_facts import (
    ErratumFacts,
    Given,
    InputFacts,
    Matrix,
    MechanismFacts,
    Numbers,
    Step,
    WorkedExample,
)
from attention_harness.model.run_facts import (
    CudaDevice,
    Environment,
    Heatmap,
    ImplementationFacts,
)
from attention_harness.model.verdict import Status
from attention_harness.report import build, markdown, page, write
from attention_harness.report.charts import KINDS
from attention_harness.report.page.rendering import SCRIPTS, STYLES
from attention_harness.store import Writer

HOSTILE = "<script>alert(1)</script> | a\nb `c` $d$ [e](http://f) \"g\" 'h' & _i_ "
HEATMAP = Heatmap("a", "weights", "query", "key", ((0.25, 0.75), (1.0, 0.0)))
FOLDER = Path(page.__file__).parent
VOID = {"meta", "br", "wbr", "img", "input"}


class Page(HTMLParser):
    """Collects a page's elements, and whether every one is closed in its turn."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[tuple[str | None, str]] = []
        self.feed(text)
        self.close()

    def handle_data(self, data):
        if self.open and self.open[-1] == "script":
            self.scripts.append((self.found[-1][1].get("type"), data))

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def hostile_mechanism() -> MechanismFacts:
    """Return a mechanism in which every text is hostile."""
    numbers = Numbers((2, 2), (Matrix(HOSTILE, HEATMAP.values),))
    step = Step(HOSTILE, HOSTILE, numbers, Numbers((2, 2), (Matrix(HOSTILE, ((0.5, None), (1.0, 0.0))),)))
    example = WorkedExample(
        HOSTILE, True, HOSTILE, (Given(HOSTILE, HOSTILE, numbers),), (step,), HOSTILE, remark=HOSTILE
    )
    return MechanismFacts(
        *[HOSTILE] * 3,
        errata=(ErratumFacts(*[HOSTILE] * 4),),
        kind=HOSTILE,
        specification=HOSTILE,
        inputs=(InputFacts(*[HOSTILE] * 4),),
        examples=(example, example),
        output=HOSTILE,
        weights=HOSTILE,
        notice=HOSTILE,
    )


@pytest.fixture
def hostile(run, verdict, measurement):
    """Return a run in which every text that a run can hold is hostile."""
    names = {"implementation": HOSTILE, "mechanism": HOSTILE, "case": HOSTILE, "reason": HOSTILE, "replay": HOSTILE}
    verdicts = [verdict(status, **names | {"check": f"{HOSTILE}{status}"}) for status in Status]
    other = HOSTILE + "2"
    rows = [
        measurement(HOSTILE, workload=HOSTILE, mechanism=HOSTILE, baseline=other, reason=HOSTILE),
        measurement(HOSTILE, "refused", workload=HOSTILE, mechanism=HOSTILE, reason=HOSTILE),
        measurement(
            other, baseline=other, workload=HOSTILE, mechanism=HOSTILE, ratio=1.0, low=None, high=None, level=None,
            answer="baseline",
        ),
    ]  # fmt: skip
    return run(
        verdicts,
        rows,
        {HOSTILE: [Heatmap(HOSTILE, HOSTILE, HOSTILE, HOSTILE, HEATMAP.values)]},
        command=HOSTILE,
        tier=HOSTILE,
        started=HOSTILE,
        finished=HOSTILE,
        environment=Environment(HOSTILE, HOSTILE, packages={HOSTILE: HOSTILE}, cuda=(CudaDevice(HOSTILE, 1, HOSTILE),)),
        implementations={HOSTILE: ImplementationFacts(HOSTILE, HOSTILE)},
        mechanisms={HOSTILE: hostile_mechanism()},
    )


def tables(text: str) -> list[list[str]]:
    """Return the tables of a Markdown text outside code blocks, by line."""
    found: list[list[str]] = [[]]
    fence = ""
    for line in text.splitlines():
        mark = re.match(r"`{3,}", line)
        if mark and not fence:
            fence = mark[0]
        elif fence and line == fence:
            fence = ""
        elif not fence and line.startswith("|"):
            found[-1].append(line)
        elif found[-1]:
            found.append([])
    return [table for table in found if table]


def columns(line: str) -> int:
    """Return the cells of a table's line: its bars that no backslash escapes."""
    return len(re.findall(r"(?<!\\)(?:\\\\)*\|", line)) - 1


def test_markdown_tables_stay_well_formed(hostile):
    """Whatever stands in a cell, each line has as many cells as its header."""
    found = tables(markdown.render(build(hostile)))
    assert len(found) >= 8
    for table in found:
        assert re.fullmatch(r"\|( --- \|)+", table[1])
        assert {columns(table[0])} == {columns(line) for line in table}


def test_markdown_lets_no_markup_through(hostile):
    """Outside code blocks no tag, no code and no link of the run's own is left."""
    text = re.sub(r"^(`{3,}).*?^\1$", "", markdown.render(build(hostile)), flags=re.S | re.M)
    assert "&lt;script&gt;" in text
    assert "<script" not in text
    assert "](http" not in re.sub(r"\\\]", "", text)


def test_a_code_block_cannot_be_left_from_within():
    """Its fence is longer than any in the text."""
    assert "`````\na\n````\nb\n`````" == markdown.block("a\n````\nb")


def test_the_page_escapes_every_text(hostile):
    """It has no script and no picture but its own, and its elements nest."""
    found = Page(page.render(build(hostile)))
    assert found.open == []
    assert not [tag for tag, _ in found.found if tag in ("iframe", "object", "link", "base", "form")]
    assert [(FOLDER / name).read_text("utf-8") for name in SCRIPTS] == [
        text for kind, text in found.scripts if not kind
    ]
    data = [text for kind, text in found.scripts if kind == "application/json"]
    assert len(found.scripts) - len(SCRIPTS) - 1 == len(data) > len(KINDS)
    assert any("<script>" in json.dumps(json.loads(text)) for text in data)
    assert all({"src", "alt"} == set(attributes) for tag, attributes in found.found if tag == "img")
    assert not [name for _, attributes in found.found for name in attributes if name.startswith("on")]


def test_the_page_loads_nothing(hostile, run, measurement):
    """Every reference is within the page or is data, and the policy forbids the rest."""
    for told in (
        build(hostile),
        build(run(measurements=[measurement(), measurement("b")], heatmaps={"cosine": [HEATMAP]})),
    ):
        text = page.render(told)
        found = Page(text)
        links = [v or "" for _, attributes in found.found for k, v in attributes.items() if k in ("href", "src")]
        assert len(links) > 5
        assert all(link.startswith(("#", "data:image/svg+xml;base64,", "data:image/png;base64,")) for link in links)
        assert "@import" not in text
        policy = next(a["content"] or "" for t, a in found.found if a.get("http-equiv") == "Content-Security-Policy")
        assert "default-src 'none'" in policy
        assert policy.count("'sha256-") == len(SCRIPTS) + len(STYLES)
        assert "unsafe" not in policy


def test_ids_are_unique_and_every_fragment_has_its_target(run, verdict, measurement):
    """No two elements share an id."""
    rows = [measurement(workload=w, case=f"c{w}") for w in "ab"]
    skipped = verdict(Status.UNSUPPORTED)
    found = Page(page.render(build(run([verdict(), skipped], rows, {"cosine": [HEATMAP, HEATMAP]}))))
    ids = [attributes["id"] for _, attributes in found.found if "id" in attributes]
    assert len(ids) == len(set(ids))
    targets = [(a["href"] or "")[1:] for _, a in found.found if (a.get("href") or "").startswith("#")]
    queries = [parse_qs(target) for target in targets if target.startswith("q=")]
    assert queries
    assert {one["at"][0] for one in queries if "at" in one} == {"results"}
    assert {target for target in targets if not target.startswith("q=")} | {"results"} <= set(ids)


def test_tables_and_figures_are_readable_by_name(run, verdict, measurement):
    """Every table has a caption, every header a scope, every figure a text."""
    found = Page(page.render(build(run([verdict()], [measurement()], {"cosine": [HEATMAP]})))).found
    tags = [tag for tag, _ in found]
    assert tags.count("table") == tags.count("caption") > 3
    assert all("scope" in attributes for tag, attributes in found if tag == "th")
    assert all(attributes["alt"] for tag, attributes in found if tag == "img")
    assert any("Heatmap, weights: query down, key across" in (a.get("alt") or "") for _, a in found)


def test_every_mechanism_has_its_formula_source_and_heatmap(run):
    """All our formulas are typeset; a run without heatmaps says so for each."""
    told = build(run(heatmaps={"cosine": [HEATMAP]}))
    text = page.render(told)
    assert '<pre class="formula">' not in text
    assert len(told.mechanisms) == len(re.findall(r'class="summary">.*?</p>\s*<div class="formula">', text)) > 10
    assert len(told.mechanisms) - 1 == text.count("No heatmap was stored in this run.")
    assert len(told.mechanisms) == len(re.findall('quiet">Source: (?:note|beyond the notes)', text))
    assert sum(len(m.about.errata) for m in told.mechanisms) == text.count("<b>Erratum</b>") > 3


@pytest.mark.parametrize("values", [(), ((),), ((None, 1.0),), ((0.0,),), ((-1.0, None),)])
def test_any_heatmap_can_be_told(run, values):
    """Empty, without a finite number, negative."""
    told = build(run(heatmaps={"cosine": [replace(HEATMAP, values=values)]}))
    assert "weights" in page.render(told)


def test_write_replaces_both_files_and_gives_the_same_bytes_again(run, verdict, measurement, tmp_path):
    """The same run is the same report; nothing half-written is left."""
    whole = run([verdict()], [measurement()], {"cosine": [HEATMAP]})
    paths = write(whole, tmp_path / "new")
    assert tuple(path.name for path in paths) == ("report.md", "index.html")
    first = [path.read_bytes() for path in paths]
    assert first == [path.read_bytes() for path in write(whole, tmp_path / "new")]
    assert {"report.md", "index.html"} == set(os.listdir(tmp_path / "new"))


def test_a_directory_that_cannot_be_made_is_one_line(run, tmp_path):
    """Not a traceback."""
    (tmp_path / "file").write_text("")
    with pytest.raises(HarnessError, match="cannot write the report into"):
        write(run(), tmp_path / "file")


@pytest.mark.parametrize("missing", ["vl_convert", "jinja2", "latex2mathml"])
def test_what_is_not_installed_is_named(run, verdict, monkeypatch, tmp_path, missing):
    """With the command that installs it, and before anything is written."""
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(HarnessError, match=r"pip install attention-harness\[report\]"):
        write(run([verdict()]), tmp_path)
    assert os.listdir(tmp_path) == []


def test_a_report_is_rebuilt_from_files_alone(run, verdict, measurement, tmp_path):
    """A process that loads a run directory and writes its report imports the model and the store, and no torch."""
    made = run([verdict(), verdict(Status.FAIL)], [measurement()])
    writer = Writer.start(tmp_path, made.facts)
    writer.add(*made.verdicts, *made.measurements)
    program = (
        "import sys; from pathlib import Path; from attention_harness.report import write\n"
        "from attention_harness.store import load\n"
        "write(load(Path(sys.argv[1])), Path(sys.argv[1])); print(*sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    loaded = done.stdout.split()
    assert not {"torch", "pebble", "onnx"}.intersection(loaded)
    ours = {name.split(".")[1] for name in loaded if name.startswith("attention_harness.")}
    assert {"model", "report", "store"} == ours
    assert "Does not conform" in (tmp_path / "index.html").read_text()


def test_importing_the_report_loads_no_framework():
    """Neither torch nor NumPy nor a worker pool nor what draws, which come with the first report."""
    program = "import sys, attention_harness.report; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    heavy = {"torch", "numpy", "pebble", "vl_convert", "jinja2", "latex2mathml", "attention_harness.checks"}
    assert not heavy.intersection(loaded)
