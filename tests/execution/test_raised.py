"""What code in a worker raises comes back as what it is: never as the harness's own time limit or Ctrl-C."""

from __future__ import annotations

import pytest

from attention_harness import registry
from attention_harness.cases.ids import parse
from attention_harness.execution import pool
from attention_harness.execution.limits import Limits
from attention_harness.execution.plan import plan_items
from attention_harness.execution.runner import check_imports, item_worker
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
    with pytest.raises(KeyboardInterrupt):
        check_imports([path])
