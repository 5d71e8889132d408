"""Options of the benchmark's own tests, and stand-ins that several of them use."""

from __future__ import annotations

from pathlib import Path

import pytest

HEAD = """
from attention_harness import Capabilities

CAPABILITIES = Capabilities(mechanisms=("dot_product",))


def attend(query, key, value):
    return (query @ key.mT).softmax(-1) @ value

"""
FILES = {
    "steady": "def prepare(case):\n    return attend\n",
    # the same three times over: slower on any machine
    "thrice": "def prepare(case):\n    return lambda **t: [attend(**t) for _ in range(3)][0]\n",
    "wrong": "def prepare(case):\n    open(__file__ + '.prepared', 'a').close()\n    return attend\n",
    "absent": "def unavailable():\n    return 'no such device'\ndef prepare(case):\n    return attend\n",
    "narrow": "def unsupported(case):\n    return 'one head only' if case.sizes['H'] > 1 else ''\n"
    "def prepare(case):\n    return attend\n",
    "raising": "def prepare(case):\n    raise RuntimeError('no kernel\\nat all')\n",
    # its process dies, as a crash of native code does
    "dying": "import os, signal\ndef prepare(case):\n    if case.sizes['H'] > 1:\n"
    "        os.kill(os.getpid(), signal.SIGKILL)\n    return attend\n",
    "hanging": "import time\ndef prepare(case):\n    time.sleep(3600)\n",
    # calls 2 and later are warm-up and rounds: then it is not known which arm it was
    "late": "import os, signal\ndef prepare(case):\n    calls = []\n    def call(**t):\n        calls.append(1)\n"
    "        if case.sizes['H'] > 1 and len(calls) > 1:\n            os.kill(os.getpid(), signal.SIGKILL)\n"
    "        return attend(**t)\n    return call\n",
}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--campaigns", action="store_true", help="run the tests that measure for minutes")


@pytest.fixture
def campaigns(request: pytest.FixtureRequest) -> None:
    """Skip what measures for minutes unless it is called for."""
    if not request.config.getoption("campaigns", default=False):
        pytest.skip("measures for a minute or more: `tox -e bench`, or `pytest tests/benchmark --campaigns`")


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return the implementations' files by name."""
    folder = tmp_path_factory.mktemp("implementations")
    for name, text in FILES.items():
        (folder / f"{name}.py").write_text(f'"""Stand-in."""\n{HEAD}\n{text}')
    return {name: folder / f"{name}.py" for name in FILES}
