"""The published schemas say what the values of the harness are: neither more nor less is written or read."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import fields
from typing import Any

import pytest

from attention_harness.cases import recordings
from attention_harness.cases.heatmaps import heatmaps
from attention_harness.model import measurement
from attention_harness.model.measurement import ANSWERS, CLOCKS, STATUSES, Measurement
from attention_harness.model.mutation_results import Outcome, Trial
from attention_harness.model.verdict import Status, Verdict
from attention_harness.mutation.diagnosis import Diagnosis, Match
from attention_harness.mutation.sensitivity import Sensitivity
from attention_harness.report.reliability import Survived
from attention_harness.store import results, schema
from tests.untrusted.made import everything, verdicts

PUBLISHED = {path.stem: json.loads(path.read_text("utf-8")) for path in schema.SCHEMAS.glob("*.json")}
OLDER = {"finding", "declared", *measurement._LATER}  # rows from before these were measured lack them


def inner(schema: Any) -> Iterator[dict[str, Any]]:
    """Yield a schema and every schema in it."""
    if isinstance(schema, dict):
        yield schema
        for item in schema.values():
            yield from inner(item)


@pytest.mark.parametrize(
    ("name", "place", "kind"),
    [
        ("verdict", (), Verdict),
        ("measurement", (), Measurement),
        ("outcome", (), Outcome),
        ("trial", (), Trial),
        ("diagnosis", ("items",), Diagnosis),
        ("diagnosis", ("items", "properties", "matches", "items"), Match),
        ("sensitivity", (), Sensitivity),
        ("reliability", ("items",), Survived),
    ],
)
def test_every_field_is_in_the_schema(name, place, kind):
    """And nothing else is; all but what older rows lack is required."""
    found = PUBLISHED[name]
    for key in place:
        found = found[key]
    own = {field.name for field in fields(kind)}
    assert own == set(found["properties"])
    assert own - OLDER == set(found["required"])
    assert found["additionalProperties"] is False


def test_names_that_are_listed_agree():
    """Statuses, answers and clocks."""
    assert [*Status] == PUBLISHED["verdict"]["properties"]["status"]["enum"]
    measurement = PUBLISHED["measurement"]["properties"]
    assert [*STATUSES] == measurement["status"]["enum"]
    assert ["", *ANSWERS] == measurement["answer"]["enum"]
    assert ["", *CLOCKS] == measurement["clock"]["enum"]


def test_one_verdict_is_described_once():
    """Where a schema holds verdicts, it describes them as `verdict.json` does."""
    own = {key: value for key, value in PUBLISHED["verdict"].items() if key not in ("$schema", "title", "description")}
    holders = [one["definitions"]["verdict"] for one in PUBLISHED.values() if "verdict" in one.get("definitions", {})]
    assert [own] * 3 == holders


@pytest.mark.parametrize("name", PUBLISHED)
def test_everything_is_bounded(name):
    """No text, list or object without a longest length, no number without a largest: draft 7, with a title."""
    assert PUBLISHED[name]["$schema"] == "http://json-schema.org/draft-07/schema#"
    assert PUBLISHED[name]["title"]
    for one in inner(PUBLISHED[name]):
        kinds = one.get("type", [])
        kinds = [kinds] if isinstance(kinds, str) else kinds
        bounds = {"string": ["maxLength"], "array": ["maxItems", "items"], "number": ["maximum", "minimum"]}
        bounds["integer"] = bounds["number"]
        assert all(bound in one for kind in kinds for bound in bounds.get(kind, [])), one
        closed = one.get("additionalProperties") is False or "maxProperties" in one
        assert closed or "object" not in kinds, one


@pytest.mark.parametrize("text", ["", "any text; ünïcode \n"])
def test_what_is_written_is_valid_and_comes_back(tmp_path, text):
    """Every file that the harness writes is as its schema says, and reads as the same values."""
    run = results.load(everything(tmp_path / "run", text))
    assert verdicts(text) == list(run.verdicts)
    assert (3, 2, 1) == (len(run.measurements), len(run.outcomes), len(run.trials))
    for name in ("run", "heatmaps", "diagnosis", "reliability"):
        schema.validated(name, schema.document(tmp_path / "run" / f"{name}.json"))


def test_the_real_files_are_valid(no_work):
    """The heatmaps of every mechanism, and the provenance of the recordings."""
    assert schema.validated("heatmaps", json.loads(json.dumps(heatmaps())))
    for path in recordings.RECORDINGS.glob("*.json"):
        assert schema.validated("recording", schema.document(path))


def test_half_a_surrogate_pair_is_replaced(tmp_path):
    """JSON can spell what no file of text can hold; it would end the report."""
    lone = verdicts("a\ud800b")
    results.Writer.start(tmp_path, {}).add(*lone, *verdicts("\U0001f600"))
    found = results.load(tmp_path).verdicts
    assert "a\ufffdb" == found[0].reason
    assert "\U0001f600" == found[-1].reason


def test_a_hundred_thousand_verdicts_load_in_seconds(tmp_path):
    """Validation costs no more than a few times what reading JSON costs; the times are of one process side by side."""
    many = (verdicts() * 1112)[:10_000]
    results.Writer.start(tmp_path, {}).add(*many)
    content = (tmp_path / "verdicts.jsonl").read_bytes().splitlines()
    begun = time.process_time()
    rows = [Verdict.from_json(json.loads(line)) for line in content]
    plain, begun = time.process_time() - begun, time.process_time()
    assert rows == list(results.load(tmp_path).verdicts)
    assert time.process_time() - begun < 5 * plain
