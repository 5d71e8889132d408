"""Copy the latest report into `reports/published/`, with a picture of its first screen, drawn by headless Chromium.

Run `python -m tox -e report` on a clean checkout before it.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

REPORTS = Path(__file__).parent.parent / "reports"
WIDTH, HEIGHT = 1200, 1000  # pixels of the picture


def main() -> int:
    """Copy and draw; 1 without a report or a browser."""
    latest, published = REPORTS / "latest", REPORTS / "published"
    browser = shutil.which("chromium")
    if not (latest / "index.html").exists() or not browser:
        print("needs reports/latest/index.html, of python -m tox -e report, and chromium", file=sys.stderr)
        return 1
    from playwright.sync_api import sync_playwright

    published.mkdir(exist_ok=True)
    for name in ("index.html", "report.md"):
        shutil.copyfile(latest / name, published / name)
    with sync_playwright() as driver:
        page = driver.chromium.launch(executable_path=browser, chromium_sandbox=False).new_page(
            viewport={"width": WIDTH, "height": HEIGHT}
        )
        page.goto((published / "index.html").as_uri())
        page.wait_for_selector("body[data-ready=yes]", state="attached")
        page.screenshot(path=published / "page.png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
