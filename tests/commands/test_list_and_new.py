"""`list` tells what there is, `new` writes a file to begin with."""

from __future__ import annotations

import json

import pytest

from attention_harness import registry
from attention_harness.cases.matrix import TIERS, matrix
from attention_harness.checks import CHECKS
from attention_harness.registry import mechanisms
from tests.registry.sources import TINY, write

KINDS = ("implementations", "mechanisms", "options", "cases", "checks", "workloads")
MECHANISMS = {
    "dot_product",
    "scaled_dot_product",
    "cosine",
    "additive",
    "concat_tanh",
    "tanh_gated",
    "gaussian_kernel",
    "location",
    "projected",
    "multi_head",
    "self_attention",
    "cross_attention",
    "latent_attention",
    "masked_softmax",
    "positional_encoding",
    "rotary_embedding",
    "differential_attention",
    "linear_attention",
}


@pytest.mark.parametrize("kind", KINDS)
def test_lists_in_text_and_json(harness, kind):
    """Both exit with 0 and name the same things; piped text has headings, and every column in each line."""
    plain, data = harness("list", kind), harness("list", kind, "--json")
    assert (plain.status, data.status, plain.err, data.err) == (0, 0, "", "")
    rows = json.loads(data.out)
    names = [row.get("name") or row["id"] for row in rows]
    header, *lines = [line.split("\t") for line in plain.out.splitlines()]
    assert names == [line[0] for line in lines]
    assert {len(header)} == {len(line) for line in lines}
    assert len(names) == len(set(names)) > 3


def test_every_mechanism(harness):
    """All of them are listed, each with a formula, inputs with their axes, and a source."""
    rows = json.loads(harness("list", "mechanisms", "--json").out)
    assert {row["name"] for row in rows} == MECHANISMS
    assert all(row["formula"] and row["inputs"] and row["output"] and row["source"] for row in rows)


def test_a_list_of_no_kind_is_implementations_and_mechanisms(harness):
    """Without a kind, the two that a newcomer needs; as JSON, by kind."""
    data = json.loads(harness("list", "--json").out)
    assert list(data) == ["implementations", "mechanisms"]
    lines = harness("list").out.splitlines()
    assert len(data["implementations"]) + len(data["mechanisms"]) == len(lines) - 2


def test_lists_of_cases_follow_the_tier(harness):
    """Each tier lists its own cases, in order."""
    for tier in TIERS[:2]:
        option = [] if tier == "default" else [f"--{tier}"]
        assert [case.id for case in matrix(tier)] == harness("list", "cases", *option).out.splitlines()[1:]


def test_lists_of_checks_say_what_is_asked(harness):
    """Every check has a summary."""
    rows = json.loads(harness("list", "checks", "--json").out)
    assert [check.name for check in CHECKS] == [row["name"] for row in rows]
    assert all(row["summary"].endswith(".") for row in rows)


def test_a_loaded_file_is_listed_with_what_is_missing(harness, tmp_path):
    """The reason why something cannot run here stands in its row."""
    path = write(tmp_path / "far.py", bottom="def unavailable():\n    return 'no such chip'")
    [row] = [
        r for r in json.loads(harness("list", "--json", "implementations", "--load", path).out) if r["name"] == "far"
    ]
    assert (row["summary"], row["unavailable"]) == ("Scaled dot product of far.", "no such chip")


def test_an_unknown_kind(harness):
    """argparse's own message, and status 2."""
    answer = harness("list", "things")
    assert (answer.status, answer.out) == (2, "")
    assert "implementations" in answer.err
    assert "Traceback" not in answer.err


def test_usage(harness):
    """No verb is a mistake; help and version are not."""
    assert harness().status == 2
    assert harness("chekc").status == 2
    told = harness("--help")
    assert (0, True) == (told.status, "1 when something is not" in " ".join(told.out.split()))
    assert 0 == harness("check", "--help").status
    assert harness("--version").out.strip()[0].isdigit()


@pytest.mark.parametrize("mechanism", mechanisms())
def test_new_writes_a_file_that_loads(harness, tmp_path, mechanism):
    """For every mechanism: its inputs by name, a contract that holds, and an answer that is missing."""
    answer = harness("new", "mine", "--mechanism", mechanism, "--directory", tmp_path)
    assert (answer.status, answer.err) == (0, "")
    path = tmp_path / "mine.py"
    assert f"python -m attention_harness check --load {path}" in answer.out
    found = registry.implementations([path])["mine"]
    assert (mechanism,) == found.capabilities.mechanisms
    made = found.prepare(None)
    with pytest.raises(NotImplementedError):
        made(**{declared.name: None for declared in mechanisms()[mechanism].inputs})


def test_a_new_file_has_the_verdict_error(harness, tmp_path):
    """Until it is filled in, `check` says error and exits with 1."""
    harness("new", "mine", "--directory", tmp_path)
    answer = harness("check", "--load", tmp_path / "mine.py", "--case", TINY, "--json", "--no-diagnosis")
    assert answer.status == 1
    verdicts = json.loads(answer.out)["verdicts"]
    assert {"error"} == {verdict["status"] for verdict in verdicts}
    assert verdicts[0]["reason"].startswith("NotImplementedError: compute the output (B, H, Lq, Dv) here")


@pytest.mark.parametrize("name", ["my-kernel", "7th", "_hidden", "a b", "", "../up", "x.py"])
def test_new_refuses_names_of_no_file(mistake, tmp_path, name):
    """What Python could not import is refused."""
    assert f"{name!r} cannot name a file of Python" in mistake("new", "--directory", tmp_path, "--", name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["torch", "json", "sys", "numpy", "harness", "reference", "implementations"])
def test_new_refuses_names_of_modules(mistake, tmp_path, name):
    """A file json.py in the working directory would be imported in place of the module."""
    line = mistake("new", name, "--directory", tmp_path)
    assert f"a file {name}.py would hide the module {name} from Python; choose another name" == line
    assert list(tmp_path.iterdir()) == []


def test_new_writes_over_nothing(mistake, harness, tmp_path):
    """A file that exists is left as it is; a directory that does not is not made."""
    (tmp_path / "mine.py").write_text("precious")
    assert "exists; it is left as it is" in mistake("new", "mine", "--directory", tmp_path)
    assert (tmp_path / "mine.py").read_text() == "precious"
    assert "is not a directory" in mistake("new", "mine", "--directory", tmp_path / "absent")
    assert "Did you mean 'cosine'" in mistake("new", "his", "--directory", tmp_path, "--mechanism", "cosin")
