"""What code in a worker raises comes back as what it is: never as the harness's own time limit or Ctrl-C."""

from __future__ import annotations

from dataclasses import replace

import pytest

from attention_harness import registry
from attention_harness.cases.ids import parse
from attention_harness.checks.declaration import check
from attention_harness.execution import declarations, hosts, pool
from attention_harness.execution.limits import Limits
from attention_harness.execution.plan import plan_items
from attention_harness.execution.run import run_checks
from attention_harness.execution.runner import item_worker
from attention_harness.model.verdict import Status
from tests.registry.sources import TINY, write


class Needy(Exception):
    """It pickles, and cannot be rebuilt."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} and {two}")


def late() -> None:
    """Raise what a time limit raises too."""
    raise TimeoutError("the socket's")


def local() -> None:
    """Raise what no other process can be told."""
    raise type("Local", (Exception,), {})("of this place")


def needy() -> None:
    """Raise what cannot be rebuilt."""
    raise Needy(1, 2)


def interrupted() -> None:
    """Raise what Ctrl-C raises."""
    raise KeyboardInterrupt("by itself")


@pytest.fixture(scope="module")
def worker():
    """Give one worker for all."""
    with pool.open_worker(Limits(60)) as one:
        yield one


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (late, TimeoutError("the socket's")),
        (local, RuntimeError("Local: of this place")),
        (needy, RuntimeError("Needy: 1 and 2")),
        (interrupted, RuntimeError("KeyboardInterrupt: by itself")),
    ],
)
def test_what_is_raised_comes_back(worker, function, expected):
    """With its type where that travels, else by its name; what ends a process is an error like any other."""
    with pytest.raises(type(expected)) as raised:
        worker.ask(function)
    assert (type(expected), str(expected)) == (raised.type, str(raised.value))


def test_ctrl_c_is_no_answer(monkeypatch, tmp_path):
    """It ends a shrinking and a first import, as it ends everything else, where it meets the harness itself."""
    [item] = plan_items(registry.select(["eager"]), [parse(TINY)])
    path = write(tmp_path / "right.py")

    def pressed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(pool.Worker, "_await", pressed)
    with pytest.raises(KeyboardInterrupt), item_worker() as ask:
        ask(item)
    monkeypatch.setattr(hosts.Host, "ask", pressed)
    with pytest.raises(KeyboardInterrupt):
        declarations.implementations([path])


class TestTheReasonOfAnError:
    """Who raised it is told from the frames that it passed."""

    RAISES = '''
"""Raises."""
import fractions
from attention_harness import Capabilities
CAPABILITIES = Capabilities(("scaled_dot_product",))
def prepare(case):
    def attend(query, key, value):
        try:
            {}["axis"]
        except KeyError as error:
            fractions.Fraction("no number")
    return attend
'''

    def item(self, path):
        """Return an item of the file with its first check alone."""
        path.write_text(self.RAISES)
        [item] = plan_items(registry.select([path.stem], [path]), [parse(TINY)])
        return replace(item, checks=item.checks[:1])

    def test_an_implementation_s_own_line_its_library_s_and_the_cause(self, tmp_path):
        """The line in the file, the innermost frame of the library, and what was being handled."""
        [verdict] = run_checks(self.item(tmp_path / "raises.py"))
        assert Status.ERROR == verdict.status
        assert verdict.reason.startswith("ValueError: Invalid literal for Fraction: 'no number'")
        assert "(raises.py:11 in attend; fractions:" in verdict.reason
        assert verdict.reason.endswith("; caused by KeyError: 'axis'")

    def test_what_a_check_raises_is_a_fault_of_the_harness(self, tmp_path):
        """Nothing of the implementation stands between the check and the exception."""
        item = self.item(tmp_path / "blameless.py")

        @check("broken")
        def broken(subject):
            """Is broken."""
            raise ValueError("cannot reshape")

        item = replace(item, checks=(broken,))
        [verdict] = run_checks(item)
        assert Status.ERROR == verdict.status
        assert "a fault of the harness, not of blameless: ValueError: cannot reshape" in verdict.reason
        assert "in broken); please report it" in verdict.reason

    def test_a_further_case_that_is_refused_is_not_asked(self, tmp_path):
        """A check that needs another case hears the implementation's reason, and the implementation is not accused."""
        item = self.item(tmp_path / "narrow.py")
        item.implementation.module.unsupported = lambda case: "" if case == item.case else "no other length"
        other = replace(item.case, sizes={**item.case.sizes, "Lk": item.case.sizes["Lk"] + 1})

        @check("further")
        def further(subject):
            """Needs another length."""
            return subject.call(other)

        [verdict] = run_checks(replace(item, checks=(further,)))
        assert verdict.reason.endswith(": no other length")
        assert Status.UNSUPPORTED == verdict.status

    def test_a_failure_on_an_empty_problem_names_the_line_that_refuses_it(self, tmp_path):
        """And no other failure does."""
        item = self.item(tmp_path / "empty.py")
        [verdict] = run_checks(item)
        assert "requires" not in verdict.reason
        without = replace(item.case, sizes={**item.case.sizes, "Lq": 0, "Lk": 0})
        [verdict] = run_checks(replace(item, case=without))
        assert verdict.reason.endswith('requires=("Lq >= 1", "Lk >= 1",) refuses them')
