"""`bench against`: two versions of an implementation are arms of one run."""

from __future__ import annotations

import importlib
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import attention_harness.implementations
from attention_harness import registry
from attention_harness.benchmark import campaign, versions
from attention_harness.benchmark.version_import import import_version
from attention_harness.commands import bench_against, gating
from attention_harness.model.errors import HarnessError
from attention_harness.model.measurement import Measurement
from attention_harness.model.pass_records import Ended
from attention_harness.store.reading import pass_records
from tests.benchmark.made import limit_effort
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
    limit_effort(monkeypatch, passes=3)
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
    limit_effort(monkeypatch, passes=2, time_per_arm_s=0.01)
    answer = harness("bench", "against", "wrong", "--load", repository, "--workload", "additive_note", "--json")
    rows = {row["implementation"]: row for row in json.loads(answer.out)["measurements"]}
    [old] = [row for name, row in rows.items() if name.startswith("kernel@")]
    assert "refused" == old["status"]
    assert ("measured", None, 0) == (rows["kernel"]["status"], rows["kernel"]["ratio"], answer.status)


def test_slower_and_newly_wrong_are_status_1():
    """Either is enough; what was refused before as well is not newly wrong."""
    old = "kernel@1"
    base = measured(1.0, name=old, baseline=old, answer="baseline", level=None, low=None, high=None)
    version = versions.Version("1", "revision 1", Path(), None)
    refused = {
        name: Measurement(name, base.mechanism, base.workload, base.case, 1, "refused", "wrong")
        for name in ("kernel", old)
    }

    def result(*rows: Measurement, differing: int = 1) -> bench_against.Result:
        return bench_against.Result(version, {"kernel": old}, differing, rows)

    for status, rows in (
        (1, []),
        (0, [base, measured(1.0, baseline=old, answer="same")]),
        (1, [base, measured(1.5, baseline=old, answer="slower")]),
        (1, [base, refused["kernel"]]),
    ):
        assert status == result(*rows).status
    assert "newly wrong: kernel on small: wrong" in bench_against.text(result(base, refused["kernel"]))
    assert bench_against.text(result()).startswith("nothing was timed against revision 1")
    both = result(refused[old], refused["kernel"])
    assert (1, True) == (both.status, "0 newly wrong" in bench_against.text(both))
    same = result(differing=0)
    assert (0, True) == (same.status, "no implementation file differs" in bench_against.text(same))


def test_an_implementation_that_is_unavailable_is_not_the_same(harness, repository):
    """It was asked for by name and not timed: no success, and not because nothing differs."""
    repository.write_text(repository.read_text() + "\n\ndef unavailable():\n    return 'no such device'\n")
    answer = harness("bench", "against", "once", "kernel", "--load", repository)
    assert 1 == answer.status
    assert "kernel is unavailable here: no such device" in answer.err
    assert "nothing was timed against" in answer.out


def test_passes_are_kept_and_the_limit_on_memory_holds(harness, repository, monkeypatch, tmp_path):
    """In the gate and in the passes; an interruption leaves the records, and no way to go on."""
    limits = []

    def measure(campaign, conforms, progress, records, writer):
        writer.add(Ended(number=0, threads=1, cell="a"))
        limits.append(campaign.memory)
        raise KeyboardInterrupt
        yield

    monkeypatch.setattr(campaign, "measure", measure)
    monkeypatch.setattr(gating, "check", lambda *given: limits.append(given[-1]))
    command = ("bench", "against", "twice", "--load", repository, "--workload", "additive_note", "--memory", "3GiB")
    answer = harness(*command, "--out", tmp_path / "run")
    assert [3 * 2**30] * 2 == limits
    assert answer.err.endswith("interrupted; what was finished is kept\n")
    assert [Ended(number=0, threads=1, cell="a")] == list(pass_records(tmp_path / "run"))


def test_what_names_no_version_is_a_mistake(mistake, repository, tmp_path):
    """An unknown revision, a file outside a checkout, and a version without the file."""
    loose = shutil.copy(repository, tmp_path / "loose.py")
    assert "is neither a revision" in mistake("bench", "against", "nowhere", "--load", repository)
    assert "in no git checkout" in mistake("bench", "against", "HEAD", "--load", loose)
    (tmp_path / "empty").mkdir()
    eager = registry.implementations()["eager"]
    version = versions.Version("empty", "an empty folder", tmp_path / "empty", None)
    line = harness_error(lambda: versions.write_arm(eager, version, tmp_path))
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
    upstream.write_text(upstream.read_text() + "\n\nWHO = 'old'\n")
    known = registry.implementations()
    version = versions.Version("old", "the old ones", folder, None)
    path = versions.write_arm(known["compiled"], version, tmp_path)
    old = registry.implementations([path])["compiled@old"]  # in this process, as where it is timed
    eager = importlib.import_module("attention_harness_implementations_at_old.eager")
    assert "old" == eager.onednn_tails.__globals__["WHO"]
    assert old.module._module.eager is eager
    assert known["eager"].module is sys.modules["attention_harness.implementations.eager"]
    assert "WHO" not in known["eager"].module.onednn_tails.__globals__
    assert versions.differs(known["compiled"], version)
    assert not versions.differs(known["numpy_reference"], version)


@pytest.mark.parametrize(
    "line",
    [
        "from PACK import part",
        "from PACK.part import WHO",
        "import PACK.part as part",
        "import PACK.part\npart = PACK.part",
        "from . import part",
        "from .part import WHO",
    ],
)
@pytest.mark.parametrize("pack", ["pack", "above.pack"])
def test_every_way_to_import_ones_own_package(tmp_path, monkeypatch, line, pack, request):
    """Whichever way the module imports, at the top or in a function, it gets the other version's part."""
    alias = re.sub(r"\W", "_", f"alias_{request.node.callspec.id}")
    line = line.replace("PACK", pack)
    for root, who in (("new", "new"), ("old", "old")):
        folder = tmp_path / root / pack.replace(".", "/")
        folder.mkdir(parents=True)
        (tmp_path / root / pack.split(".")[0] / "__init__.py").write_text("")
        (folder / "__init__.py").write_text("")
        (folder / "part.py").write_text(f"WHO = {who!r}\n")
        late = "\n    ".join(line.split("\n"))
        (folder / "user.py").write_text(f"{line}\n\n\ndef late():\n    {late}\n    return locals()\n")
    monkeypatch.syspath_prepend(tmp_path / "new")
    module = import_version(tmp_path / "old" / pack.replace(".", "/"), pack, alias, "user")
    for found in (vars(module), module.late()):
        assert "old" == (found["WHO"] if "WHO" in found else found["part"].WHO)
    today = importlib.import_module(f"{pack}.user")
    assert "new" == importlib.import_module(f"{pack}.part").WHO
    assert today is not module
    for name in [one for one in sys.modules if one.split(".")[0] == pack.split(".")[0]]:
        monkeypatch.delitem(sys.modules, name)


def test_the_package_above_is_todays(tmp_path, monkeypatch):
    """All of it but the other version: `from above import pack, other`."""
    for root in ("new", "old"):
        folder = tmp_path / root / "over" / "pack"
        folder.mkdir(parents=True)
        (folder.parent / "__init__.py").write_text("OTHER = 'today'\n")
        (folder / "__init__.py").write_text(f"WHO = {root!r}\n")
    (tmp_path / "old" / "over" / "pack" / "user.py").write_text("from over import OTHER, pack\n")
    monkeypatch.syspath_prepend(tmp_path / "new")
    module = import_version(tmp_path / "old" / "over" / "pack", "over.pack", "alias_over", "user")
    assert ("today", "old") == (module.OTHER, module.pack.WHO)


def test_compiled_modules_are_refused(tmp_path):
    """Two versions of those cannot be told apart in one process: said at once."""
    folder = shutil.copytree(attention_harness.implementations.__path__[0], tmp_path / "implementations").parent
    (tmp_path / "implementations" / "fast.so").write_bytes(b"")
    version = versions.Version("old", "the old ones", folder, None)
    assert "compiled modules" in harness_error(
        lambda: versions.write_arm(registry.implementations()["eager"], version, folder)
    )
