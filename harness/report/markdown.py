"""Content as Markdown, for a repository or a build log. Every text of a run is escaped; a cell stays one line."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Sequence

from attention_harness.model.mutation_results import Power, Sensitivity
from attention_harness.model.run_facts import Harm, Noise
from attention_harness.report import mutation, reliability, words
from attention_harness.report.behaviours import Behaviours, Found
from attention_harness.report.content import Content, Described, Group, Heatmap
from attention_harness.report.growth import Front, Sweep
from attention_harness.report.matrix import Cell, Matrix
from attention_harness.report.timings import Line, Panel, Timing

SHADES = " ░▒▓█"
LARGEST = 32  # rows and columns of a heatmap in characters; a larger one is averaged down
GROWTH = ["implementation", "exponent of time", "exponent of memory", "over lengths", "slopes between neighbours"]
ABSOLUTE = (
    "They belong to this machine at that hour: compare them with no other machine's, and with no other run's. "
    "The ratios above are the result."
)


def render(content: Content) -> str:
    """Return the report."""
    sections = (
        _summary(content),
        _matrix(content.matrix, content.worst),
        _behaviours(content.behaviours),
        _power(content.power),
        _sensitivity(content.sensitivity),
        _reliability(content.reliability),
        _failures(content),
        _timing(content.timing, content.noise, content.self_check),
        _growth(content.sweeps, content.fronts),
        _mechanisms(content.mechanisms),
        _machine(content),
    )
    return "\n".join(line for section in map(list, sections) if section for line in (*section, "")).rstrip("\n") + "\n"


# --- the pieces of Markdown


def escaped(text: str) -> str:
    """Return a text on one line in which nothing is markup, at the beginning of a line neither."""
    line = " ".join(text.split())
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    line = re.sub(r"([\\`*\[\]|~$#!])", r"\\\1", line)
    line = re.sub(r"^(\d*)([-+=.)])", r"\1\\\2", line)  # a list, a rule or a heading
    return re.sub(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])", r"\\_", line)  # within a word it is no emphasis


def code(text: str) -> str:
    """Return a name as code, or escaped where code cannot hold it inside a table."""
    return (
        f"`{text}`" if re.fullmatch(r"[\w.:@+=,/ -]*\w[\w.:@+=,/ -]*", text) and text == text.strip() else escaped(text)
    )


def block(text: str, language: str = "") -> Iterator[str]:
    """Yield a code block whose fence is longer than any in the text."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    yield from (f"{fence}{language}", *text.splitlines(), fence)


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Yield a table of cells that are Markdown already."""
    yield "| " + " | ".join(header) + " |"
    yield "|" + " --- |" * len(header)
    for row in rows:
        yield "| " + " | ".join(row) + " |"


# --- the sections


def _summary(content: Content) -> Iterator[str]:
    head = content.headline
    yield from ("# Attention conformance and benchmark report", "")
    yield from (f"**{escaped(head.word)}.** {escaped(head.sentence)}", "", escaped(head.sum))
    for warning in head.warnings:
        yield from ("", f"> **{escaped(warning)}**")
    yield ""
    yield from table([status for status, _ in content.statuses], [[words.number(n) for _, n in content.statuses]])
    if content.totals:
        counted = list(content.totals[0].counts)
        header = ["implementation", "answer", *counted, "worst error ratio", "what it is"]
        rows = (
            [code(t.implementation), t.word, *map(words.number, t.counts.values()), t.worst, escaped(t.summary)]
            for t in content.totals
        )
        yield from ("", *table(header, rows))


def _matrix(found: Matrix, worst: Sequence[Cell]) -> Iterator[str]:
    yield from ("## Mechanisms by implementations", "")
    if not found.implementations:
        yield "No implementation took part in this run."
        return
    yield (
        "The number after *pass* is the largest error ratio, which is error over error bound: at most 1 passes. "
        "Numbers in brackets are the notes below. *not run*: the run holds no verdict there."
    )
    yield ""
    names = [code(name) for name in found.implementations]
    rows = ([code(row.mechanism), *(_cell(cell) for cell in row.cells)] for row in found.rows)
    yield from table(["mechanism", *names], rows)
    if found.notes:
        yield from ("", "**Not checked, and why**", "")
        for note in found.notes:
            about = f"{words.counted(note.checks, 'check')} of {words.listed([code(m) for m in note.mechanisms])}"
            yield f"- [{note.number}] {code(note.implementation)} *{note.status}*: {escaped(note.reason)} ({about})"
    if worst:
        yield from ("", "<details><summary>Where the worst error ratio of each cell lies</summary>", "")
        yield from table(["mechanism", "implementation", "error ratio", "check", "case"], map(_worst, worst))
        yield from ("", "</details>")


def _cell(cell: Cell) -> str:
    text = ", ".join((cell.text, *cell.extras))
    strong = f"**{text}**" if cell.state not in ("pass", "unsupported", "unavailable", "none") else text
    return strong + "".join(f" [{number}]" for number in cell.notes)


def _worst(cell: Cell) -> list[str]:
    verdict = cell.worst
    assert verdict is not None
    return [
        code(cell.mechanism),
        code(cell.implementation),
        cell.error_ratio,
        escaped(verdict.check),
        code(verdict.case),
    ]


def _behaviours(found: Behaviours) -> Iterator[str]:
    yield from ("## Behaviours", "")
    if not found.rows:
        yield "None was measured in this run."
        return
    yield "What each implementation was measured to do, and in brackets what it declares. What contradicts it fails."
    yield ""
    rows = ([code(name), *map(_found, cells)] for name, cells in found.rows)
    yield from table(["behaviour", *map(code, found.implementations)], rows)


def _sensitivity(found: Sequence[Sensitivity]) -> Iterator[str]:
    yield from ("## What the cases can see", "")
    if not found:
        yield (
            "Not measured in this run: `python -m attention_harness mutants sensitivity --out DIR` adds it to a run "
            "directory."
        )
        return
    yield "The smallest error that the judge accuses in an otherwise exact result: median and worst of the cases."
    yield ""
    rows = mutation.sensitivity_table(found)
    yield from table(mutation.SENSITIVITY_HEADER, ([code(d), code(c), *cells] for d, c, *cells in rows))
    if weak := [[code(one.case), escaped(one.weak)] for one in found if one.weak]:
        yield from ("", "<details><summary>Cases that see nothing useful, and why</summary>", "")
        yield from table(["case", "why"], weak)
        yield from ("", "</details>")


def _reliability(found: Sequence[Harm]) -> Iterator[str]:
    if not found:
        return
    yield from ("## Reliability", "", reliability.sentence(found), "")
    yield from table(reliability.HEADER, ([code(one.harm), *map(escaped, reliability.cells(one))] for one in found))


def _found(cell: Found) -> str:
    text = escaped(cell.measured) + (f" ({escaped(cell.declared)})" if cell.declared else "")
    return text if cell.state in ("pass", "none", "unsupported", "unavailable") else f"**{cell.state}**: {text}"


def _power(power: Power | None) -> Iterator[str]:
    if power is None:
        return
    yield from ("## Mutation score", "", mutation.score(power), "")
    rows = ([escaped(kind), *cells] for kind, *cells in mutation.score_table(power))
    yield from table(["class", "killed", *map(code, power.mechanisms)], rows)
    for what, names in mutation.gaps(power).items():
        yield from ("", f"**{what}**: {', '.join(map(escaped, names))}")


def _failures(content: Content) -> Iterator[str]:
    yield from ("## Failures", "")
    if not content.failures:
        checked = content.headline.word != "Nothing was checked"
        yield "None among the checks that were run." if checked else "None, since nothing was checked."
    for group in content.failures:
        yield from _group(group)
    for cause in content.causes:
        found = [f"matches: {match}" for match in cause.matches] or [cause.note]
        yield from (
            f"### Likely cause in {code(cause.implementation)}",
            "",
            *(f"- {escaped(one)}" for one in found),
            "",
        )
    if content.known:
        yield from (
            "",
            "## Known failures",
            "",
            "Declared with an upstream reason; they do not count against conformance.",
            "",
        )
        for group in content.known:
            yield from _group(group)


def _group(group: Group) -> Iterator[str]:
    worst = group.worst
    yield f"### {code(worst.implementation)} on {code(worst.mechanism)}: {group.status}, check {escaped(worst.check)}"
    yield from ("", escaped(worst.reason) or "It gives no reason.", "")
    yield from table(
        ["case", "where", "error", "error bound", "error ratio"],
        [[code(worst.case), code(group.where), group.error, group.error_bound, group.error_ratio]],
    )
    yield from ("", *(block(worst.replay, "sh") if worst.replay else ["No replay command was recorded."]), "")
    if group.others:
        more = f", and {group.unnamed} more in verdicts.jsonl" if group.unnamed else ""
        named = (f"{code(case)} (error ratio {error_ratio})" for case, error_ratio in group.others)
        yield f"{words.number(group.count - 1)} more of this kind: {', '.join(named)}{more}."
        yield ""


def _noise(noise: Noise | None) -> Iterator[str]:
    if noise:
        yield from (escaped(noise.line), "")
        for warning in noise.warnings:
            yield f"- **Warning**: {escaped(warning)}"
        yield ""


def _growth(sweeps: Sequence[Sweep], fronts: Sequence[Front]) -> Iterator[str]:
    for sweep in sweeps:
        yield from ("", f"### Growth with length: {escaped(sweep.title)}", "")
        yield from table(GROWTH, ([code(row[0]), *row[1:]] for row in (curve.row for curve in sweep.curves)))
    for front in fronts:
        yield from ("", f"### Speed and accuracy: {escaped(front.title)}", "")
        yield from (f"Over {words.listed([code(w) for w in front.workloads])}.", "")
        rows = (
            [
                code(s.implementation),
                words.ratio(s.ratio),
                words.error_ratio(s.error_ratio),
                "yes" if s.ahead else "no",
            ]
            for s in front.spots
        )
        yield from table(["implementation", "mean ratio", "worst error ratio", "on the front"], rows)


def _self_check(lines: Sequence[str]) -> Iterator[str]:
    if lines:
        yield from ("How often the method itself errs, measured:", "", "```text", *lines, "```", "")


def _timing(found: Timing, noise: Noise | None, self_check: Sequence[str]) -> Iterator[str]:
    yield from ("## Times relative to the baseline", "")
    yield from _self_check(self_check)
    if not found.panels:
        yield "No measurement was made in this run."
        return
    yield from _noise(noise)
    yield "Time over the baseline's, with its interval; below 1 is faster. Only what conforms is timed and ranked."
    yield ""
    rows = ([code(name), *map(words.number, counts)] for name, counts in found.tally)
    yield from table(["workloads by answer", *found.answers], rows)
    for mechanism, panels in found.groups.items():
        yield from ("", f"### {code(mechanism)}")
        for panel in panels:
            yield from _panel(panel)
    yield from ("", "<details><summary>Absolute times</summary>", "", ABSOLUTE, "")
    yield from table(
        ["workload", "", "implementation", "one call: median (range of the passes)", "cold", "samples"],
        (
            [code(panel.workload), panel.kind, code(line.implementation), line.time, line.cold, line.samples]
            for panel in found.panels
            for line in panel.lines
            if line.kind == "measured"
        ),
    )
    yield from ("", "</details>")


def _panel(panel: Panel) -> Iterator[str]:
    yield from ("", f"**{code(panel.workload)}** ({panel.kind}): {code(panel.case)}", "", escaped(panel.caption), "")
    header = [
        "implementation",
        "ratio [low, high]",
        "answer",
        "could show",
        "prepare",
        "first call",
        "peak memory",
        "of ceiling",
        "error ratio",
        "remark",
    ]
    yield from table(header, map(_line, panel.lines))


def _line(line: Line) -> list[str]:
    numbers = [line.detectable, line.prepare, line.first_call, line.peak, line.ceiling, line.error_ratio]
    return [code(line.implementation), line.ratio, escaped(line.answer), *numbers, escaped(line.remark)]


def _mechanisms(described: Sequence[Described]) -> Iterator[str]:
    yield from ("## Mechanisms", "")
    yield f"Attention weights as the float64 reference computes them. In characters: `{SHADES}` from 0 to the largest."
    for mechanism in described:
        yield from ("", f"### {code(mechanism.name)}", "", escaped(mechanism.summary))
        if mechanism.formula:
            yield from ("", *block(mechanism.formula, "math"))
        if mechanism.source:
            yield from ("", f"Source: {escaped(mechanism.source)}.")
        for erratum in mechanism.errata:
            yield from ("", f"- *Erratum*, {escaped(erratum.source)}. It says: {escaped(erratum.says)}.")
            yield f"  Right: {escaped(erratum.right)}. Shown by {code(erratum.shown_by)}."
        if not mechanism.panels:
            yield from ("", "No heatmap was stored in this run.")
        for panel in mechanism.panels:
            yield from _heatmap(panel)


def _heatmap(panel: Heatmap) -> Iterator[str]:
    step = _step(panel.values)
    means = f"; means of blocks of {step} by {step}" if step > 1 else ""
    axes = f"{escaped(panel.rows)} down, {escaped(panel.columns)} across"
    yield from ("", f"{escaped(panel.title)}; {axes}{means}; {code(panel.case)}", "")
    yield from block("\n".join(shaded(panel)), "text") if panel.values else ["The panel holds no numbers."]


def shaded(panel: Heatmap) -> Iterator[str]:
    """Yield the lines of a heatmap in characters, two for each column; a number that is none is a question mark."""
    values = _averaged(panel.values)
    peak = max((abs(v) for row in values for v in row if math.isfinite(v)), default=0.0)
    for row in values:
        yield "│" + "".join(_shade(value, peak) * 2 for value in row) + "│"


def _shade(value: float, peak: float) -> str:
    if not math.isfinite(value):
        return "?"
    return SHADES[min(len(SHADES) - 1, math.ceil(abs(value) / peak * (len(SHADES) - 1) - 1e-9))] if peak else SHADES[0]


def _averaged(values: Sequence[Sequence[float]]) -> list[list[float]]:
    """Return the values, or the means of blocks of them where there are too many."""
    step = _step(values)
    return [
        [_mean([v for row in values[i : i + step] for v in row[j : j + step]]) for j in range(0, len(values[0]), step)]
        for i in range(0, len(values), step)
    ]


def _step(values: Sequence[Sequence[float]]) -> int:
    return max(1, math.ceil(max(len(values), len(values[0]) if values else 0) / LARGEST))


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _machine(content: Content) -> Iterator[str]:
    yield from ("## Machine, versions, and how to run this again", "")
    yield from table(["", ""], ([escaped(name), escaped(text)] for name, text in (*content.dates, *content.machine)))
    yield from ("", "The whole run again:", "")
    yield from block(content.command) if content.command else ["The command was not recorded."]
    yield from ("", "One case:", "")
    yield from block("python -m attention_harness check NAME --case CASE", "sh")
