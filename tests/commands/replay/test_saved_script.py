"""A saved script reproduces the error on its own: no harness, no repository, torch and NumPy alone."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from attention_harness import registry
from attention_harness.cases.ids import parse
from attention_harness.commands.replay import script as scripts
from attention_harness.execution.plan import plan_item
from attention_harness.execution.run import run_checks
from attention_harness.model.errors import HarnessError
from tests.registry.sources import TINY, write

BLOCKED = """import importlib.abc, runpy, sys

class Blocked(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "attention_harness":
            raise ImportError(f"{name} must not be needed")

sys.meta_path.insert(0, Blocked())
runpy.run_path(sys.argv[1], run_name="__main__")
"""
OFFSET = "scaled_dot_product-B2H2Hk2Lq5Lk7D4Dv6-bfloat16-plain-ordinary-offset-draw3"
LARGE = "scaled_dot_product-B2H4Hk4Lq64Lk64D32Dv64-float32-plain-ordinary-transposed-draw5"


def run(script: Path, *, blocked: bool = True) -> subprocess.CompletedProcess[str]:
    """Run a script in isolated mode in a folder of its own, with the harness blocked."""
    folder = script.parent / "elsewhere"
    folder.mkdir(exist_ok=True)
    command = [sys.executable, "-I", *(["-c", BLOCKED] if blocked else []), str(script)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def saved(path: Path, case: str, check: str = "accuracy") -> Path:
    """Save a loaded file's case as a script."""
    [own] = registry.select([path.stem], [path])
    script = path.with_name(f"replay_{path.stem}.py")
    scripts.save(script, own, parse(case), check)
    return script


def reason(path: Path, case: str) -> str:
    """Return what the harness says of the same."""
    [own] = registry.select([path.stem], [path])
    item = plan_item(own, parse(case))
    return next(verdict.reason for verdict in run_checks(item) if verdict.check == "accuracy")


@pytest.mark.parametrize("case", [TINY, OFFSET, LARGE])
def test_a_wrong_one_is_reproduced(tmp_path, case):
    """Status 1 and the very numbers of the verdict, whatever the memory layout."""
    declared = "dtypes=('float32', 'bfloat16')"
    path = write(tmp_path / "unscaled.py", scores="query @ key.mT", declared=declared)
    script = saved(path, case)
    answer = run(script)
    assert answer.returncode == 1, answer.stderr
    told = re.search(r"\|error\| (\S+) exceeds its error bound (\S+): got (\S+), expected (\S+)", reason(path, case))
    error, error_bound, got, expected = told.groups()
    assert f"|error| {error}, error bound {error_bound}, " in answer.stdout
    assert f"got {got}, expected {expected}\n" in answer.stdout
    assert answer.stderr == ""


def test_a_right_one_passes(tmp_path):
    """Status 0: what the script judges is the implementation, not itself."""
    answer = run(saved(write(tmp_path / "right.py"), TINY))
    assert (answer.returncode, answer.stdout.splitlines()[-1]) == (0, "right")


def test_many_small_errors_are_judged_as_well(tmp_path):
    """An error that no element's error bound sees but the root mean square does makes the script fail too."""
    declared = "dtypes=('float64',)"
    scores = "query @ key.mT / query.shape[-1] ** 0.5 + 2e-15 * (query @ key.mT).sin()"
    path = write(tmp_path / "drifting.py", scores=scores, declared=declared)
    case = LARGE.replace("float32", "float64")
    told = reason(path, case)
    answer = run(saved(path, case))
    assert re.fullmatch(r"the root mean square error is .* deviations of correct arithmetic, limit .*", told)
    assert answer.returncode == 1
    assert told.replace(" is ", ": ") in answer.stdout.splitlines()


def test_a_wrong_form_is_told(tmp_path):
    """An output of another dtype ends the script with what was expected."""
    path = write(tmp_path / "double.py", scores="(query @ key.mT).double()", body="value = value.double()")
    answer = run(saved(path, TINY))
    assert answer.returncode == 1
    assert "expected a torch.float32 of (2, 2, 2, 2)" in answer.stderr


def test_what_a_script_cannot_show_is_refused(tmp_path):
    """A check of more than one call has no script, and an existing file is kept."""
    path = write(tmp_path / "right.py")
    with pytest.raises(HarnessError, match=r"purity needs more than one call.*replay"):
        saved(path, TINY, "purity")
    script = saved(path, TINY)
    before = script.read_text()
    with pytest.raises(HarnessError, match="exists already"):
        saved(path, TINY)
    assert before == script.read_text()


def test_a_file_that_imports_more_than_declarations_needs_the_harness(tmp_path):
    """It says so, and then imports the installed one."""
    path = write(tmp_path / "wrapped.py", top="from attention_harness.implementations import eager")
    script = saved(path, TINY)
    assert "Needs torch, NumPy, attention-harness." in script.read_text()
    assert run(script).returncode != 0
    answer = subprocess.run(
        [sys.executable, "-I", str(script)], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (answer.returncode, answer.stdout.splitlines()[-1]) == (0, "right"), answer.stderr


def test_a_shipped_one_says_what_it_needs(tmp_path):
    """eager is imported from the installed harness, and its answer is right."""
    [eager] = registry.select(["eager"])
    script = tmp_path / "replay_eager.py"
    scripts.save(script, eager, parse(TINY), "weights")
    assert "the package that has attention_harness.implementations.eager" in script.read_text().split('"""')[1]
    answer = subprocess.run(
        [sys.executable, "-I", str(script)], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (answer.returncode, answer.stdout.splitlines()[-1]) == (0, "right"), answer.stderr
