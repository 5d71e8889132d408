"""`new NAME --like LIBRARY` writes a whole file that conforms, or says that its library is not there."""

from __future__ import annotations

import argparse
import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from attention_harness.commands import new
from attention_harness.model.verdict import NONCONFORMING
from attention_harness.registry import scaffold
from tests.commands.like.model import write_model
from tests.conftest import DEEP

HERE = Path(__file__).parent

PLAIN = {
    "multi_head": "multi_head-B2H3Lq5Lk7E48Eq48Ek9Ev8O48-{dtype}-plain-ordinary-contiguous",
    "scaled_dot_product": "scaled_dot_product-B2H3Hk3Lq5Lk7D8Dv8-{dtype}-plain-ordinary-contiguous",
}
FURTHER = {
    "torch_mha": (
        "multi_head-B2H3Lq5Lk7E48Eq48Ek48Ev48O48-float64-plain-ordinary-contiguous",
        "multi_head-B2H3Lq5Lk7E48Eq48Ek9Ev8O48-float32-mask=head-ordinary-transposed",
        "multi_head-B2H3Lq5Lk7E48Eq48Ek9Ev8O48-float64-mask=batch-sunken-contiguous",
    ),
    "flash_attn": (
        "scaled_dot_product-B2H4Hk2Lq5Lk7D8Dv8-bfloat16-causal=bottom_right-ordinary-contiguous",
        "scaled_dot_product-B2H4Hk4Lq7Lk5D8Dv8-float16-causal=bottom_right+window=2,1-ordinary-contiguous",
        "scaled_dot_product-B2H4Hk2Lq7Lk7D8Dv8-bfloat16-scale=0.375+softcap=1.5+window=2,1-ordinary-contiguous",
    ),
    "keras": (
        "multi_head-B2H3Lq5Lk7E48Eq9Ek9Ev8O6-float32-causal=top_left-ordinary-contiguous",
        "multi_head-B2H3Lq5Lk7E48Eq9Ek9Ev8O6-float32-mask=batch-ordinary-transposed",
    ),
    "jax": (
        "scaled_dot_product-B2H4Hk2Lq5Lk7D8Dv8-float32-causal=top_left-ordinary-contiguous",
        "scaled_dot_product-B2H4Hk2Lq5Lk7D8Dv8-float32-bias=full+mask=batch-ordinary-transposed",
        "scaled_dot_product-B2H3Hk3Lq5Lk7D8Dv8-float32-scale=0.375-large-contiguous",
    ),
    "onnx": ("scaled_dot_product-B2H3Hk3Lq9Lk5D16Dv6-float32-plain-large-transposed",),
}
NEEDS = {"jax": "jax", "keras": "keras"}


def checked(folder: Path, *further: str) -> dict[str, Any]:
    """Return what `check` says of the file `mine.py`, in a process that also finds what stands beside this test."""
    command = [sys.executable, "-m", "attention_harness", "check", "mine", "--load", folder / "mine.py", "--json"]
    command += ["--no-diagnosis"]
    environment = {"PYTHONPATH": str(HERE), "PATH": "/usr/bin:/bin", "HOME": str(folder), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([*command, *further], capture_output=True, text=True, check=False, env=environment)
    assert done.returncode in (0, 1), done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def written(library: str, folder: Path) -> str:
    """Write the file; return its text. What stands for flash_attn runs on the CPU."""
    text = scaffold.from_library(library, "mine")
    if library == "onnx":
        write_model(folder / "mine.onnx")
    scaffold.write("mine", text.replace('devices=("cuda",)', 'devices=("cpu",)'), folder)
    return text


@pytest.mark.parametrize("library", sorted(FURTHER))
def test_it_conforms(library, tmp_path):
    """On a plain problem and on some with the options that it declares: every verdict is right, and some are asked."""
    if library in NEEDS and importlib.util.find_spec(NEEDS[library]) is None:
        pytest.skip(f"{library} is not installed here: `python -m tox -e field` runs it")
    text = written(library, tmp_path)
    mechanism = next(name for name in PLAIN if f'"{name}"' in text)
    dtype = "bfloat16" if library == "flash_attn" else "float32"
    cases = [PLAIN[mechanism].format(dtype=dtype), *FURTHER[library]]
    quick = DEEP and "builds" not in text  # of what is built the quick tier asks next to nothing
    asked = ["--quick"] if quick else [word for case in cases for word in ("--case", case)]
    verdicts = checked(tmp_path, *asked)["verdicts"]
    bad = [one for one in verdicts if one["status"] in (*NONCONFORMING, "unavailable")]
    assert [] == [f"{one['check']} on {one['case']}: {one['reason']}" for one in bad]
    passed = {one["case"] for one in verdicts if one["status"] == "pass"}
    assert len(passed) >= 10 if quick else {*cases} <= passed


def test_a_fault_in_it_is_seen(tmp_path):
    """The files are judged, not waved through: without the scale the plain problem fails."""
    text = written("flash_attn", tmp_path)
    path = tmp_path / "mine.py"
    path.write_text(path.read_text().replace('options.get("scale")', "1.0"))
    assert text != path.read_text()
    [verdict] = [
        one
        for one in checked(tmp_path, "--case", PLAIN["scaled_dot_product"].format(dtype="bfloat16"))["verdicts"]
        if one["check"] == "accuracy"
    ]
    assert "fail" == verdict["status"]


@pytest.mark.parametrize(("library", "reason"), [("flash_attn", "is not installed"), ("onnx", "there is no mine.onnx")])
def test_what_is_not_there_is_named(library, reason, tmp_path, monkeypatch):
    """A file says itself why it cannot run, before anything of its library is imported."""
    there = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "flash_attn" else there(name))
    scaffold.write("mine", scaffold.from_library(library, "mine"), tmp_path)
    module: dict[str, Any] = {"__file__": str(tmp_path / "mine.py")}
    exec((tmp_path / "mine.py").read_text(), module)
    assert reason in module["unavailable"]()


def test_the_help_names_every_library():
    parser = argparse.ArgumentParser()
    new.add_arguments(parser)
    [said] = [action.help for action in parser._actions if action.dest == "like"]
    assert said is not None
    assert all(library in said for library in scaffold.libraries())
    assert {*FURTHER} == {*scaffold.libraries()}


def test_a_library_that_is_not_there(mistake, tmp_path):
    line = mistake("new", "mine", "--directory", tmp_path, "--like", "tensorflow")
    assert "no library to start from 'tensorflow'. Known: flash_attn, jax, keras, onnx, torch_mha" == line
    assert "would hide flash_attn itself" in mistake(
        "new", "flash_attn", "--directory", tmp_path, "--like", "flash_attn"
    )


def test_the_command_writes_it(harness, tmp_path):
    answer = harness("new", "mine", "--directory", tmp_path, "--like", "torch_mha")
    assert 0 == answer.status
    assert "change what differs for yours, then: python -m attention_harness check --load" in answer.out
    assert scaffold.from_library("torch_mha", "mine") == (tmp_path / "mine.py").read_text()
