"""The published schema is that of the values; every field of every file is checked when it is read, and bounded."""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Iterator
from typing import Any

import fastjsonschema
import msgspec
import pytest

from attention_harness import store
from attention_harness.cases.heatmaps import heatmaps
from attention_harness.model.run_facts import RunFacts
from attention_harness.store.encoding import decode, document, encode
from attention_harness.store.layout import DOCUMENTS, HEATMAPS, LINES, PASSES
from attention_harness.store.schema import schema
from tests.conftest import ROOT
from tests.untrusted.made import everything, verdicts

PUBLISHED = ROOT / "docs" / "run-directory.schema.json"
WRONG = (None, True, "", "x", -1, 0.5, 2**53 + 1, 10**400, [], [None], {}, {"a": 1}, [[]])
LARGE = ("x" * 1_000_001, [0] * 1_000_001, {str(n): 0 for n in range(1_001)}, [{}] * 100_001)


def test_the_published_schema_is_that_of_the_types():
    """To write it anew: python -m attention_harness.store.schema > docs/run-directory.schema.json."""
    assert document(schema()) + "\n" == PUBLISHED.read_text("utf-8")


def inner(part: Any) -> Iterator[dict[str, Any]]:
    """Yield a schema and every schema in it."""
    if isinstance(part, dict):
        yield part
        for item in part.values():
            yield from inner(item)
    elif isinstance(part, list):
        for item in part:
            yield from inner(item)


def test_everything_is_bounded():
    """No text, list or object without a longest length, no integer without a largest: nothing fills the memory."""
    bounds = {"string": ("maxLength",), "array": ("maxItems",), "integer": ("maximum", "minimum")}
    for part in inner(schema()):
        assert all(bound in part for bound in bounds.get(part.get("type", ""), ())), part
        closed = part.get("additionalProperties") is False or "maxProperties" in part
        assert closed or part.get("type") != "object" or "$schema" in part, part


@pytest.fixture(scope="module")
def content(tmp_path_factory) -> dict[str, list[Any]]:
    """Return by file the values that a run with everything in it holds, one for each line."""
    run = everything(tmp_path_factory.mktemp("runs") / "run")
    lines = {name: (run / name).read_bytes().splitlines() for name in LINES}
    documents = {name: [(run / name).read_bytes()] for name in DOCUMENTS}
    return {name: [json.loads(text) for text in texts] for name, texts in (lines | documents).items()}


def test_what_is_written_is_as_the_schema_says(content):
    """By a validator that knows nothing of our types."""
    published = json.loads(PUBLISHED.read_text("utf-8"))
    valid = fastjsonschema.compile(published)
    assert set(content) == set(published["properties"])
    for name, values in content.items():
        assert values
        for value in values:
            valid({name: value})
    with pytest.raises(fastjsonschema.JsonSchemaValueException):
        valid({"verdicts.jsonl": content["verdicts.jsonl"][0] | {"status": "fine"}})


def places(data: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield every place in a value."""
    for key, item in data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ():
        yield (*path, key)
        yield from places(item, (*path, key))


def changed(data: Any, path: tuple[Any, ...], value: Any) -> Any:
    """Return a copy with another value in one place."""
    data = copy.deepcopy(data)
    parent = data
    for key in path[:-1]:
        parent = parent[key]
    parent[path[-1]] = value
    return data


def dropped(data: Any, path: tuple[Any, ...]) -> Any:
    data = copy.deepcopy(data)
    parent = data
    for key in path[:-1]:
        parent = parent[key]
    del parent[path[-1]]
    return data


def refused(data: Any, kind: Any) -> str:
    """Return why a value is refused, in a line, or "": then what was read is written as it was read."""
    try:
        value = decode(msgspec.json.encode(data), kind)
    except ValueError as error:
        return str(error)
    assert value == decode(encode(value), kind)
    return ""


@pytest.mark.parametrize("name", [*LINES, *DOCUMENTS])
def test_every_field_dropped_renamed_or_retyped_is_refused_or_another_value(content, name):
    """In a line that says where; and each field is refused for some change: there is none that nobody looks at."""
    kind = (LINES | DOCUMENTS)[name]
    for data in content[name][:4] if name != PASSES else content[name]:
        assert not refused(data, kind)
        for path in places(data):
            without = dropped(data, path)
            refused(without, kind)
            if isinstance(path[-1], str) and not free(path, name):
                assert path[-1] == "event" or "unknown field `colour`" in refused(
                    changed(without, (*path[:-1], "colour"), 1), kind
                ), path
            complaints = [refused(changed(data, path, value), kind) for value in WRONG]
            assert any(complaints), path
            assert all(len(text) <= 201 and "\n" not in text for text in complaints)
            assert any(" - at `$" in text for text in complaints), complaints


def free(path: tuple[Any, ...], name: str) -> bool:
    """Whether the last key of a path is a name of the run's own, and no field."""
    owner = name if len(path) == 1 else path[-2]
    return owner in (HEATMAPS, "packages", "implementations", "mechanisms", "shares", "caches", "witnesses", "checks")


@pytest.mark.parametrize("name", [*LINES, *DOCUMENTS])
def test_nothing_is_larger_than_its_bound(content, name):
    """A text, a list or an object without end is refused in every field."""
    kind = (LINES | DOCUMENTS)[name]
    data = content[name][0]
    for path in [path for path in places(data) if not any(isinstance(key, int) and key for key in path)]:
        for value in LARGE:
            assert refused(changed(data, path, value), kind), (path, type(value))


@pytest.mark.parametrize("text", ["", "any text; ünïcode \n"])
def test_what_is_written_comes_back(tmp_path, text):
    """Every kind of file, with the same values."""
    run = store.load(everything(tmp_path / "run", text))
    assert verdicts(text) == list(run.verdicts)
    assert (3, 2, 1, 1) == tuple(map(len, (run.measurements, run.outcomes, run.equivalence, run.sensitivity)))
    assert (2, 1, 1, 1) == tuple(map(len, (run.diagnosis, run.reliability, run.node_cases, run.heatmaps)))
    assert len(run.targets) == 1


def test_the_heatmaps_of_every_mechanism_are_valid(no_work):
    """NumPy's numbers are written as numbers."""
    drawn = heatmaps()
    assert len(drawn) > 5
    assert {name: tuple(panels) for name, panels in drawn.items()} == decode(encode(drawn), DOCUMENTS[HEATMAPS])


def test_half_a_surrogate_pair_is_replaced(tmp_path):
    """A text of an implementation may hold what no file of text can: it would end the run."""
    lone = verdicts("a\ud800b")
    store.Writer.start(tmp_path, RunFacts(command="\udfff")).add(*lone, *verdicts("\U0001f600"))
    run = store.load(tmp_path)
    assert "a\ufffdb" == run.verdicts[0].reason
    assert "\U0001f600" == run.verdicts[-1].reason
    assert "\ufffd" == run.facts.command


def test_verdicts_load_as_fast_as_json(tmp_path):
    """Reading, building and checking costs no more than the standard library's parsing alone, side by side."""
    many = (verdicts() * 1112)[:10_000]
    store.Writer.start(tmp_path, RunFacts()).add(*many)
    lines = (tmp_path / "verdicts.jsonl").read_bytes().splitlines()
    began = time.process_time()
    rows = [json.loads(line) for line in lines]
    parsing, began = time.process_time() - began, time.process_time()
    loaded = store.load(tmp_path).verdicts
    loading = time.process_time() - began
    assert rows == json.loads(encode(loaded))
    assert loading < 1.5 * parsing
