"""What a run directory says of the command and the files that it began with."""

from __future__ import annotations

import argparse
import hashlib

import pytest

from attention_harness import registry, store
from attention_harness.commands.run_setup import implementation_facts, mechanism_facts, writer_of
from tests.registry.sources import write


def test_a_file_is_known_by_its_digest(tmp_path):
    """The one that `sha256sum` prints."""
    path = write(tmp_path / "mine.py")
    [own] = registry.select(["mine"], [path])
    assert hashlib.sha256(path.read_bytes()).hexdigest() == implementation_facts(own).sha256


@pytest.mark.parametrize(
    ("arguments", "tier"),
    [
        ({"quick": True, "full": False}, "quick"),
        ({"quick": False, "full": True}, "full"),
        ({"quick": False, "full": False}, "default"),
        ({"tier": "thorough"}, "thorough"),
    ],
)
def test_its_size_is_kept(tmp_path, monkeypatch, arguments, tier):
    """That of a check, and that of a benchmark."""
    monkeypatch.setattr("attention_harness.cases.heatmaps.heatmaps", dict)
    writer, _ = writer_of(argparse.Namespace(out=tmp_path, **arguments), [], [])
    writer.close()
    assert tier == store.load(tmp_path).facts.tier


def test_its_mechanisms_are_described():
    """As their references declare them, so that a report needs no registry; in its order, whatever the plan's."""
    found = mechanism_facts(["dot_product", "cosine", "dot_product", "of somebody else"])
    known = registry.mechanisms()
    assert [name for name in known if name in ("cosine", "dot_product")] == list(found)
    for name, facts in found.items():
        assert (known[name].formula, known[name].source) == (facts.formula, facts.source)
        assert [(e.source, e.says, e.right, e.shown_by) for e in known[name].errata] == [
            (e.source, e.says, e.right, e.shown_by) for e in facts.errata
        ]
        assert facts.summary.endswith(".")
