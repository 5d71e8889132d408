"""Options of the benchmark's own tests."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--campaigns", action="store_true", help="run the tests that measure for minutes")


@pytest.fixture
def campaigns(request: pytest.FixtureRequest) -> None:
    """Skip what measures for minutes unless it is asked for."""
    if not request.config.getoption("campaigns", default=False):
        pytest.skip("measures for a minute or more: `tox -e bench`, or `pytest tests/benchmark --campaigns`")
