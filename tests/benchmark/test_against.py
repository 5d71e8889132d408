"""`bench against`: two versions of an implementation are arms of one run."""

from __future__ import annotations

import importlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import attention_harness.implementations
from attention_harness import registry
from attention_harness.benchmark import campaign, renamed, versions
from attention_harness.commands import bench_against, gating
from attention_harness.model.errors import HarnessError
from attention_harness.store.reading import pass_records
from tests.report.compare.conftest import measured

KERNEL = '''"""Additive scores."""

from attention_harness import Capabilities

CAPABILITIES = Capabilities(mechanisms=("additive",))


def prepare(case):
    def attend(query, key, value, W_q, W_k, w_v):
        features = (query @ W_q.mT).unsqueeze(-2) + (key @ W_k.mT).unsqueeze(-3)
        return (features.tanh() @ w_v).softmax(-1) @ value

    return TIMES
'''
ONCE, TWICE = "attend", "lambda **given: [attend(**given) for _ in range(2)][0]"
WRONG = "lambda **given: attend(**given) * 2"


def git(folder: Path, *arguments: str) -> None:
    """Run git in a folder, as somebody."""
    who = ["-c", "user.name=somebody", "-c", "user.email=somebody@example.org"]
    subprocess.run(["git", "-C", str(folder), *who, *arguments], check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Return a repository with a kernel in a folder: computed twice at first, wrong then, once in the end."""
    file = tmp_path / "checkout" / "kernels" / "kernel.py"
    file.parent.mkdir(parents=True)
    git(tmp_path, "init", "-q", str(tmp_path / "checkout"))
    for tag, times in (("twice", TWICE), ("wrong", WRONG), ("once", ONCE)):
        file.write_text(KERNEL.replace("TIMES", times))
        git(file.parent, "add", "-A")
        git(file.parent, "commit", "-qm", tag)
        git(file.parent, "tag", tag)
    return file


def test_twice_the_work_is_found_with_its_size(harness, repository, monkeypatch):
    """It takes about half of the revision that did everything twice; nothing is left in the repository."""
    monkeypatch.setattr(campaign, "PASSES", 3)
    answer = harness("bench", "against", "twice", "--load", repository, "--workload", "additive_note", "--json")
    document = json.loads(answer.out)
    [row] = [row for row in document["measurements"] if row["implementation"] == "kernel"]
    assert (0, 0) == (answer.status, document["slower"])
    assert row["answer"] in ("faster", "inconclusive", "unreliable")  # a crowded machine may leave it open
    assert 0.3 < row["ratio"] < 0.8
    assert row["baseline"].startswith("kernel@")
    assert document["noise"]["line"].startswith("noise: load")
    status = subprocess.run(["git", "-C", str(repository.parent), "status", "--porcelain"], capture_output=True)
    assert b"" == status.stdout


def test_a_revision_that_was_wrong_is_no_baseline(harness, repository, monkeypatch):
    """It is refused with its verdict, nothing is compared with it, and today's is not accused."""
    monkeypatch.setattr(campaign, "PASSES", 2)
    monkeypatch.setattr(campaign, "TIME_PER_ARM", 0.01)
    answer = harness("bench", "against", "wrong", "--load", repository, "--workload", "additive_note", "--json")
    rows = {row["implementation"]: row for row in json.loads(answer.out)["measurements"]}
    [old] = [row for name, row in rows.items() if name.startswith("kernel@")]
    assert "refused" == old["status"]
    assert ("measured", None, 0) == (rows["kernel"]["status"], rows["kernel"]["ratio"], answer.status)


def test_slower_and_newly_wrong_are_status_1(capsys):
    """Either is enough; what was refused before as well is not newly wrong."""
    old, bad = "kernel@1", {"status": "refused", "reason": "wrong"}
    blank = dict.fromkeys(("wall_s", "cpu_s"), ()) | {"calls_per_sample": 0, "baseline": "", "clock": "", "answer": ""}
    blank |= dict.fromkeys(("minor_faults_per_call", "preempted", "peak_bytes", "ratio", "low", "high", "level"), None)
    blank |= {"sentinel_ratio": None}
    base = measured(1.0, name=old, baseline=old, answer="baseline")
    options = type("Options", (), {"json": False, "out": None})()
    version = versions.Version("1", "revision 1", Path(), None)
    refused = {name: type(base)(name, "dot_product", "small", base.case, 1, **bad) for name in ("kernel", old)}
    for status, rows in (
        (1, []),
        (0, [base, measured(1.0, baseline=old, answer="same")]),
        (1, [base, measured(1.5, baseline=old, answer="slower")]),
        (1, [base, refused["kernel"]]),
    ):
        assert status == bench_against._told(rows, [("kernel", old)], version, options, 1)
    assert "newly wrong: kernel on small: wrong" in (told := capsys.readouterr().out)
    assert told.startswith("nothing was timed against revision 1")
    assert 1 == bench_against._told([refused[old], refused["kernel"]], [("kernel", old)], version, options, 1)
    assert "0 newly wrong" in capsys.readouterr().out
    assert 0 == bench_against._told([], [], version, options, 0)
    assert "no implementation file differs" in capsys.readouterr().out


def test_an_implementation_that_is_unavailable_is_not_the_same(harness, repository):
    """It was asked for by name and not timed: no success, and not because nothing differs."""
    repository.write_text(repository.read_text() + "\n\ndef unavailable():\n    return 'no such device'\n")
    answer = harness("bench", "against", "once", "kernel", "--load", repository)
    assert 1 == answer.status
    assert "kernel is unavailable here: no such device" in answer.err
    assert "nothing was timed against" in answer.out


def test_passes_are_kept_and_the_limit_on_memory_holds(harness, repository, monkeypatch, tmp_path):
    """In the gate and in the passes; an interruption leaves the records, and no way to go on."""
    asked = []

    def run(*_, **method):
        method["kept"].add(0, 1, {"event": "ready"})
        asked.append(method["memory"])
        raise KeyboardInterrupt
        yield

    monkeypatch.setattr(campaign, "run", run)
    monkeypatch.setattr(gating, "ask", lambda *given: asked.append(given[-1]))
    command = ("bench", "against", "twice", "--load", repository, "--workload", "additive_note", "--memory", "3GiB")
    answer = harness(*command, "--out", tmp_path / "run")
    assert [3 * 2**30] * 2 == asked
    assert answer.err.endswith("interrupted; what was finished is kept\n")
    assert ["ready"] == [one["event"] for one in pass_records(tmp_path / "run")]


def test_what_names_no_version_is_a_mistake(mistake, repository, tmp_path):
    """An unknown revision, a file outside a checkout, and a version without the file."""
    loose = shutil.copy(repository, tmp_path / "loose.py")
    assert "is neither a revision" in mistake("bench", "against", "nowhere", "--load", repository)
    assert "in no git checkout" in mistake("bench", "against", "HEAD", "--load", loose)
    (tmp_path / "empty").mkdir()
    eager = registry.implementations()["eager"]
    version = versions.Version("empty", "an empty folder", tmp_path / "empty", None)
    line = harness_error(lambda: versions.arm(eager, version, tmp_path))
    assert "has no eager (implementations/eager.py)" in line


def harness_error(call) -> str:
    """Return the message of the mistake that a call must be."""
    with pytest.raises(HarnessError) as found:
        call()
    return str(found.value)


def test_the_shipped_implementations_of_a_folder(tmp_path):
    """A folder's eager and all that it imports of its package are the folder's; today's stay as they are."""
    folder = shutil.copytree(attention_harness.implementations.__path__[0], tmp_path / "old" / "implementations").parent
    upstream = folder / "implementations" / "_upstream.py"
    upstream.write_text(upstream.read_text().replace("return {f", "return {'here': 'old'} or {f"))
    upstream.write_text(upstream.read_text().replace("return {}", "return {'here': 'old'}"))
    known = registry.implementations()
    version = versions.Version("old", "the old ones", folder, None)
    path = versions.arm(known["compiled"], version, tmp_path)
    old = versions.loaded([path], version, ())["compiled@old"]
    eager = importlib.import_module("implementations_at_old.eager")
    assert {"here": "old"} == eager.KNOWN_FAILURES
    assert old.module._module.eager is eager
    assert "implementations.eager" in sys.modules
    assert known["eager"].module.KNOWN_FAILURES != eager.KNOWN_FAILURES
    assert versions.differs(known["compiled"], version)
    assert not versions.differs(known["numpy_reference"], version)


@pytest.mark.parametrize(
    "line",
    [
        "from pack import part",
        "from pack.part import WHO",
        "import pack.part as part",
        "import pack.part\npart = pack.part",
    ],
)
def test_every_way_to_import_ones_own_package(tmp_path, line, request):
    """Whichever way the module imports, at the top or in a function, it gets the other version's part."""
    alias = f"pack_at_{request.node.callspec.indices['line']}"
    for root, who in (("new", "new"), ("old", "old")):
        folder = tmp_path / root / "pack"
        folder.mkdir(parents=True)
        (folder / "__init__.py").write_text("")
        (folder / "part.py").write_text(f"WHO = {who!r}\n")
        late = "\n    ".join(line.split("\n"))
        (folder / "user.py").write_text(f"{line}\n\n\ndef late():\n    {late}\n    return locals()\n")
    module = renamed.load(tmp_path / "old", "pack", alias, "pack.user")
    for found in (vars(module), module.late()):
        assert "old" == (found["WHO"] if "WHO" in found else found["part"].WHO)


def test_compiled_modules_are_refused(tmp_path):
    """Two versions of those cannot be told apart in one process: said at once."""
    folder = shutil.copytree(attention_harness.implementations.__path__[0], tmp_path / "implementations").parent
    (tmp_path / "implementations" / "fast.so").write_bytes(b"")
    version = versions.Version("old", "the old ones", folder, None)
    assert "compiled modules" in harness_error(
        lambda: versions.arm(registry.implementations()["eager"], version, folder)
    )
