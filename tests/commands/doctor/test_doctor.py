"""`doctor` says what is there, what is missing and what adds it, also where nothing is installed."""

from __future__ import annotations

import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable

import pytest

from attention_harness.commands.doctor import machine, packages
from attention_harness.model.run_facts import CudaDevice
from tests.conftest import ROOT

BASE = tuple(one.name for one in packages.requirements() if not one.extra)


def findings(answer) -> dict[tuple[str, str], dict[str, str]]:
    """Return the findings of a --json answer by subject and name."""
    return {(one["subject"], one["name"]): one for one in json.loads(answer.out)["findings"]}


@pytest.fixture(scope="module")
def bare(tmp_path_factory) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Return a function that runs a command of the checkout without any installed package."""
    path = tmp_path_factory.mktemp("bare")
    package = path / "attention_harness"
    package.mkdir()
    for one in (*(ROOT / "harness").iterdir(), ROOT / "reference", ROOT / "implementations"):
        (package / one.name).symlink_to(one)
    about = importlib.metadata.distribution("attention-harness")
    (path / "attention_harness-0.dist-info").symlink_to(about._path)

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-S", "-m", "attention_harness", *arguments]
        environment = {"PYTHONPATH": str(path), "PATH": os.environ["PATH"]}
        return subprocess.run(command, cwd=path, env=environment, capture_output=True, text=True, check=False)

    return run


def test_it_tells_this_machine(harness):
    """Every subject; status 0 exactly where nothing is missing; the tests' own packages are there."""
    answer = harness("doctor", "--json")
    found = findings(answer)
    subjects = {"packages", "processor", "accelerator", "compiler", "system", "implementations"}
    assert subjects == {subject for subject, _ in found}
    assert answer.status == int(any(one["state"] == "missing" for one in found.values()))
    assert json.loads(answer.out)["ready"] is (answer.status == 0)
    assert all(found["packages", name]["state"] == "ok" for name in BASE)
    assert found["packages", "numpy"]["found"] == packages.version("numpy")


def test_lines_hold_what_json_holds(harness):
    """Piped, a line of headings and one for each finding, its parts apart by tabs."""
    lines = harness("doctor").out.splitlines()
    told = findings(harness("doctor", "--json"))
    for key, one in told.items():
        parts = [one[name] for name in lines[0].split("\t")]
        changes = key in (("system", "working directory"), ("system", "temporary files"))  # others write as well
        assert "\t".join(parts) in lines or changes
    assert ["subject", "name", "state", "found", "advice"] == lines[0].split("\t")
    assert len(lines) == len(told) + 2


def test_nothing_installed(bare):
    """What is missing is named with the command that adds it; only `doctor` runs."""
    done = bare("doctor", "--json")
    assert (done.returncode, done.stderr) == (1, "")
    found = findings(type("", (), {"out": done.stdout}))
    assert {"packages"} == {subject for subject, _ in found}
    for name in BASE:
        assert found["packages", name]["state"] == "missing"
        assert found["packages", name]["advice"].endswith('python -m pip install -c constraints.txt -e "."')
    assert found["packages", "onnx"]["state"] == "absent"
    assert found["packages", "jinja2"]["found"] == "not installed; the verb report needs it"
    assert found["packages", "jinja2"]["advice"].endswith('-e ".[report]"')


def test_a_verb_without_its_package_is_a_line(bare):
    """It names the package and this command."""
    done = bare("list", "checks")
    assert done.returncode == 2
    assert done.stderr == (
        "attention-harness: No module named 'numpy'; `python -m attention_harness doctor` says what adds it\n"
    )


def test_no_framework_is_imported():
    """Torch blocked or there, it is not asked."""
    code = (
        "import sys; sys.modules['torch'] = sys.modules['onnxruntime'] = None\n"
        "from attention_harness.commands.main import main; status = main(['doctor'])\n"
        "assert not {'onnx', 'latex2mathml', 'jinja2', 'vl_convert'} & set(sys.modules); sys.exit(10 + status)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode in (10, 11), done.stderr


@pytest.fixture
def versions(monkeypatch):
    """Return versions that stand for what is installed."""
    found = dict.fromkeys(
        (*BASE, "onnx", "onnxscript", "onnxruntime", "latex2mathml", "jinja2", "vl-convert-python"), "99.0"
    )
    monkeypatch.setattr(packages, "version", lambda name: found.get(name, ""))
    monkeypatch.setattr(machine, "version", lambda name: found.get(name, ""))
    return found


def test_a_package_out_of_its_range(harness, versions):
    """What a default run needs is missing then; what an extra brings is too old."""
    versions |= {"torch": "2.5.1+cpu", "latex2mathml": "3.8.0"}
    answer = harness("doctor", "--json")
    found = findings(answer)
    assert answer.status == 1
    assert (found["packages", "torch"]["state"], found["packages", "torch"]["found"]) == (
        "missing",
        "2.5.1+cpu, not >=2.6",
    )
    assert found["packages", "latex2mathml"]["state"] == "too old"
    assert not [key for key in found if key[0] == "implementations"]  # they cannot be imported


def test_an_extra_may_be_missing(harness, versions):
    """It is named with its command, and the status does not speak of it."""
    del versions["onnx"], versions["onnxruntime"]
    found = findings(answer := harness("doctor", "--json"))
    assert found["packages", "onnx"]["state"] == found["packages", "onnxruntime"]["state"] == "absent"
    assert found["packages", "onnx"]["advice"].endswith('-e ".[onnx]"')
    assert not [key for key, one in found.items() if one["state"] == "missing" and key[0] == "packages"]
    versions["onnxruntime-gpu"] = "99.0"
    assert findings(harness("doctor", "--json"))["packages", "onnxruntime-gpu"]["state"] == "ok"
    assert "packages onnx" not in answer.out


@pytest.mark.parametrize(
    ("found", "ranged", "within"),
    [
        ("2.6", ">=2.6", True), ("2.6.0", ">=2.6", True), ("2.13.0+cpu", ">=2.6", True), ("2.5.9", ">=2.6", False),
        ("10.0", ">=9.9", True), ("3.14.0", ">=3.11,<3.14", False), ("3.13.9", ">=3.11,<3.14", True),
        ("2.6rc1", ">=2.6", True), ("1", "", True), ("unknown", ">=1", False),
    ],
)  # fmt: skip
def test_ranges(found, ranged, within):
    """Numbers are compared as numbers."""
    assert within is packages.within(found, ranged)


def test_every_range_is_understood():
    """None of the distribution holds anything but bounds, so that none is passed over."""
    for requirement in packages.requirements():
        assert __import__("re").fullmatch(r"(>=|<)[\d.]+(,(>=|<)[\d.]+)*", requirement.range), requirement


def test_outside_of_a_checkout(monkeypatch, tmp_path):
    """The command names the package."""
    monkeypatch.setattr(packages, "ROOT", tmp_path)
    assert packages.install_command("onnx") == 'python -m pip install "attention-harness[onnx]"'


@pytest.mark.parametrize(
    ("platform", "advice"), [("linux", "apt-get install g++"), ("darwin", "xcode-select"), ("win32", "Visual Studio")]
)
def test_no_compiler(harness, monkeypatch, platform, advice):
    """The advice is this system's; `compiled` and `flex` cannot run, so a default run would go wrong."""
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setattr(machine.sys, "platform", platform)
    [compiler, *_] = list(machine._compiler())
    monkeypatch.undo()
    monkeypatch.setattr(machine, "_compiler", lambda: iter([compiler]))
    answer = harness("doctor", "--json")
    affected = [findings(answer)["implementations", name] for name in ("compiled", "flex")]
    assert (1, "missing", True) == (answer.status, compiler.state, advice in compiler.advice)
    assert [("unavailable", compiler.advice)] * 2 == [(one["state"], one["advice"]) for one in affected]


def test_a_folder_that_cannot_be_written(monkeypatch):
    """It is named with the reason."""

    def refused(dir):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(machine.tempfile, "TemporaryFile", refused)
    found = machine._writable("working directory", ROOT)
    assert (found.state, found.found) == ("missing", f"{ROOT}: Permission denied")


def test_a_gpu_with_a_torch_for_cpus(monkeypatch, versions):
    """The device is told with its driver, and that this torch cannot use it."""
    versions["torch"] = "2.13.0+cpu"
    device = CudaDevice("NVIDIA H100", 80 * 2**30, "9.0")
    monkeypatch.setattr(machine.machine, "cuda_devices", lambda: [device])
    gpu, torch = machine._accelerator()
    assert gpu.found == "NVIDIA H100, 80 GiB, capability 9.0"
    assert (torch.state, torch.found) == ("note", "2.13.0+cpu, a CPU build")
