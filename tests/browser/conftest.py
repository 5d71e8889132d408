"""Pages in headless Chromium, as a reader opens them: from a file, with no network."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from attention_harness import report, store
from attention_harness.store import Run
from tests.browser import runs

FLAGS = ("--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update")


def pytest_collection_modifyitems(config, items):
    """Skip these tests, with the reason, where there is no browser; tox -e browser brings one."""
    if shutil.which("chromium"):
        try:
            import playwright  # noqa: F401

            return
        except ImportError:
            pass
    skip = pytest.mark.skip(reason="needs Chromium and playwright: python -m tox -e browser")
    for item in items:
        if Path(item.path).is_relative_to(Path(__file__).parent):
            item.add_marker(skip)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        started = driver.chromium.launch(
            executable_path=shutil.which("chromium"), args=list(FLAGS), chromium_sandbox=False
        )
        yield started
        started.close()


@pytest.fixture(scope="session")
def written(tmp_path_factory) -> Callable[[Run], str]:
    """Return a writer of a run's page, which answers its address."""
    made = 0

    def write(run: Run, base: Run | None = None) -> str:
        nonlocal made
        made += 1
        _, page = report.write(run, tmp_path_factory.mktemp(f"page{made}"), base=base)
        return page.as_uri()

    return write


@pytest.fixture(scope="session")
def address(written, tmp_path_factory) -> str:
    """Return the address of the page of a run with something of everything."""
    return written(store.load(runs.everything(tmp_path_factory.mktemp("run") / "run")))


class Watched:
    """A page, and what it complained of or asked for."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.complaints: list[str] = []
        self.requests: list[str] = []
        page.on("console", lambda one: self.complaints.append(one.text) if one.type in ("error", "warning") else None)
        page.on("pageerror", lambda one: self.complaints.append(str(one)))
        page.on("dialog", lambda one: (self.complaints.append(f"a dialog: {one.message}"), one.dismiss()))
        page.on("request", lambda one: self.requests.append(one.url))

    def go(self, address: str) -> Watched:
        """Open an address and wait until its scripts have run."""
        self.page.goto("about:blank")
        self.page.goto(address)
        self.page.wait_for_selector("body[data-ready=yes]", state="attached", timeout=30_000)
        return self

    def ask(self, query: str) -> None:
        """Type a query and wait for its answer."""
        self.page.fill("#query", query)
        self.page.wait_for_function("query => document.body.dataset.answered === query", arg=query)


@pytest.fixture
def opened(browser) -> Iterator[Callable[..., Watched]]:
    """Return an opener of pages. width, height: of the window; scheme: light or dark."""
    contexts = []

    def open_page(address: str, width: int = 1300, height: int = 900, scheme: str = "light") -> Watched:
        context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
        contexts.append(context)
        return Watched(context.new_page()).go(address)

    yield open_page
    for context in contexts:
        context.close()
