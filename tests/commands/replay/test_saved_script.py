"""A saved script reproduces the error on its own: no harness, no repository, torch and NumPy alone."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from attention_harness import registry
from attention_harness.cases.ids import parse
from attention_harness.commands.replay import script as scripts
from attention_harness.execution.plan import plan_item
from attention_harness.execution.run import run_checks
from attention_harness.model.errors import HarnessError
from tests.conftest import Answer
from tests.registry.sources import TINY, write

# Runs one script after the other as a process of its own would, each in a fork: torch is imported once.
SERVER = """import importlib.abc, json, os, runpy, sys, tempfile
import numpy, torch

class Blocked(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "attention_harness":
            raise ImportError(f"{name} must not be needed")

for line in sys.stdin:
    script, blocked = json.loads(line)
    streams = [tempfile.TemporaryFile() for _ in range(2)]
    child = os.fork()
    if not child:
        os.chdir(os.path.dirname(script) + "/elsewhere")
        for number, stream in enumerate(streams, 1):
            os.dup2(stream.fileno(), number)
        if blocked:
            sys.meta_path.insert(0, Blocked())
        sys.argv[:] = [script]
        try:
            runpy.run_path(script, run_name="__main__")
        except SystemExit as left:
            sys.stdout.flush()
            if isinstance(left.code, str):
                print(left.code, file=sys.stderr, flush=True)
            os._exit(left.code if isinstance(left.code, int) else int(left.code is not None))
        except BaseException:
            sys.excepthook(*sys.exc_info())
            os._exit(1)
        sys.stdout.flush()
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    texts = [stream.seek(0) or stream.read().decode() for stream in streams]
    print(json.dumps([status, *texts]), flush=True)
"""
OFFSET = "scaled_dot_product-B2H2Hk2Lq5Lk7D4Dv6-bfloat16-plain-ordinary-offset-draw3"
LARGE = "scaled_dot_product-B2H4Hk4Lq64Lk64D32Dv64-float32-plain-ordinary-transposed-draw5"


@pytest.fixture(scope="module")
def run() -> Iterator[Callable[..., Answer]]:
    """Return a function that runs a script in isolated mode, in a folder of its own, with the harness blocked."""
    server = subprocess.Popen(
        [sys.executable, "-I", "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )

    def answer(script: Path, *, blocked: bool = True) -> Answer:
        (script.parent / "elsewhere").mkdir(exist_ok=True)
        assert server.stdin
        assert server.stdout
        print(json.dumps([str(script), blocked]), file=server.stdin, flush=True)
        return Answer(*json.loads(server.stdout.readline()))

    yield answer
    server.communicate()


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
    item = replace(item, checks=tuple(check for check in item.checks if check.name == "accuracy"))
    [verdict] = run_checks(item)
    return verdict.reason


def test_what_looks_behind_a_view_is_reproduced(run, tmp_path):
    """A kernel that reads the tensor of which its key is a view is wrong in the script too."""
    path = write(tmp_path / "behind.py", scores="query @ (key if key._base is None else 2 * key).mT")
    script = saved(path, OFFSET.replace("bfloat16", "float32"))
    answer = run(script)
    assert (1, "") == (answer.status, answer.err)
    assert answer.out.endswith("wrong\n")


@pytest.mark.parametrize("case", [TINY, OFFSET, LARGE])
def test_a_wrong_one_is_reproduced(run, tmp_path, case):
    """Status 1 and the very numbers of the verdict, whatever the memory layout."""
    declared = "dtypes=('float32', 'bfloat16')"
    path = write(tmp_path / "unscaled.py", scores="query @ key.mT", declared=declared)
    script = saved(path, case)
    answer = run(script)
    assert answer.status == 1, answer.err
    told = re.search(r"\|error\| (\S+) exceeds its error bound (\S+): got (\S+), expected (\S+)", reason(path, case))
    error, error_bound, got, expected = told.groups()
    assert f"|error| {error}, error bound {error_bound}, " in answer.out
    assert f"got {got}, expected {expected}\n" in answer.out
    assert answer.err == ""


def test_a_right_one_passes(run, tmp_path):
    """Status 0: what the script judges is the implementation, not itself."""
    answer = run(saved(write(tmp_path / "right.py"), TINY))
    assert (answer.status, answer.out.splitlines()[-1]) == (0, "right")


def test_many_small_errors_are_judged_as_well(run, tmp_path):
    """An error that no element's error bound sees but the root mean square does makes the script fail too."""
    declared = "dtypes=('float64',)"
    scores = "query @ key.mT / query.shape[-1] ** 0.5 + 2e-15 * (query @ key.mT).sin()"
    path = write(tmp_path / "drifting.py", scores=scores, declared=declared)
    case = LARGE.replace("float32", "float64")
    told = reason(path, case)
    answer = run(saved(path, case))
    assert re.fullmatch(r"the root mean square error is .* deviations of correct arithmetic, limit .*", told)
    assert answer.status == 1
    assert told.replace(" is ", ": ") in answer.out.splitlines()


def test_a_wrong_form_is_told(run, tmp_path):
    """An output of another dtype ends the script with what was expected."""
    path = write(tmp_path / "double.py", scores="(query @ key.mT).double()", body="value = value.double()")
    answer = run(saved(path, TINY))
    assert answer.status == 1
    assert "expected a torch.float32 of (2, 2, 2, 2)" in answer.err


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


def test_a_file_that_imports_more_than_declarations_needs_the_harness(run, tmp_path):
    """It says so, and then imports the installed one."""
    path = write(tmp_path / "wrapped.py", top="from attention_harness.implementations import eager")
    script = saved(path, TINY)
    assert "Needs torch, NumPy, attention-harness." in script.read_text()
    assert run(script).status != 0
    answer = run(script, blocked=False)
    assert (answer.status, answer.out.splitlines()[-1]) == (0, "right"), answer.err


def test_a_shipped_one_says_what_it_needs(run, tmp_path):
    """eager is imported from the installed harness, and its answer is right."""
    [eager] = registry.select(["eager"])
    script = tmp_path / "replay_eager.py"
    scripts.save(script, eager, parse(TINY), "weights")
    assert "the package that has attention_harness.implementations.eager" in script.read_text().split('"""')[1]
    answer = run(script, blocked=False)
    assert (answer.status, answer.out.splitlines()[-1]) == (0, "right"), answer.err
