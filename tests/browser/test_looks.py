"""Nothing is cut, at any width, in light and dark; and it can be read without eyes, mouse or colour."""

from __future__ import annotations

import pytest

# What sticks out of the window and cannot be scrolled to, and text that its own box cuts.
CUT = """() => {
  const problems = [];
  const root = document.scrollingElement;
  if (root.scrollWidth > root.clientWidth) problems.push(`the page is ${root.scrollWidth} wide`);
  for (const one of document.querySelectorAll('body *')) {
    const style = getComputedStyle(one);
    if (!one.offsetParent || one.closest('svg')) continue;
    const box = one.getBoundingClientRect();
    let scrolls = false;
    for (let around = one; around; around = around.parentElement) {
      scrolls ||= ['auto', 'scroll'].includes(getComputedStyle(around).overflowX) && around !== root && around !== document.body;
    }
    if (!scrolls && (box.right > root.clientWidth + 1 || box.left < -1)) problems.push(`${one.tagName} ${one.className} at ${box.right}`);
    if (['hidden', 'clip'].includes(style.overflowX) && one.scrollWidth > one.clientWidth + 1 && one.clientWidth) {
      problems.push(`${one.tagName} ${one.className} cuts ${one.scrollWidth} to ${one.clientWidth}: ${one.textContent.slice(0, 40)}`);
    }
  }
  for (const one of document.querySelectorAll('svg text')) {
    const box = one.getBoundingClientRect(), around = one.closest('svg').getBoundingClientRect();
    if (box.width && (box.right > around.right + 2 || box.left < around.left - 2)) problems.push(`a label is cut: ${one.textContent}`);
  }
  return problems;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [375, 768, 1300])
def test_nothing_is_cut(address, opened, width, scheme):
    watched = opened(address, width=width, scheme=scheme)
    watched.page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
    for place in range(0, watched.page.evaluate("document.body.scrollHeight"), 800):
        watched.page.evaluate("y => window.scrollTo(0, y)", place)  # charts are drawn when they come into view
        watched.page.wait_for_timeout(30)
    watched.page.wait_for_timeout(300)
    assert watched.page.evaluate(CUT) == []
    assert watched.complaints == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_fault(address, opened, scheme):
    """Names, roles, contrast, headings, keyboard: the rules of axe-core for WCAG 2.1 A and AA, on all that is folded too."""
    from axe_playwright_python.sync_playwright import Axe

    watched = opened(address, scheme=scheme)
    watched.page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
    watched.ask("colour:red")  # so that there is a problem to be told
    found = Axe().run(watched.page, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]})
    told = [
        f"{one['id']}: {one['help']} ({len(one['nodes'])}): {one['nodes'][0]['html'][:160]}"
        for one in found.response["violations"]
    ]
    assert told == []


def test_each_drawing_says_what_it_shows(address, opened):
    """The name of a drawing is the text of its chart, not Vega's."""
    page = opened(address).page
    page.locator("figure[data-chart=ratios]").first.scroll_into_view_if_needed()
    page.locator("figure[data-chart=ratios] svg").first.wait_for()
    names = page.evaluate(
        "() => [...document.querySelectorAll('.drawing, .drawing [aria-label]')].map((one) => one.getAttribute('aria-label'))"
    )
    assert names
    assert not [name for name in names if not name or "Vega visualization" in name]


def test_without_scripts_all_tables_stand(address, browser):
    """No script: the matrix, the failures and their commands are there, and the page says that the query box is not."""
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(address)
    assert page.locator("a.cell").count() > 10
    assert page.locator("article[data-cause]").count() > 1
    assert not page.locator("#query").is_visible()
    assert "Without scripts" in page.inner_text("main")
    context.close()


def test_on_paper_what_is_folded_stands_open_and_nothing_is_cut(address, opened):
    """Printed, the page has no query box, and its tables fit."""
    watched = opened(address)
    watched.page.emulate_media(media="print")
    watched.page.set_viewport_size({"width": 700, "height": 1000})
    assert not watched.page.locator("#query").is_visible()
    closed = """() => [...document.querySelectorAll('details:not([open]) > :not(summary)')].filter((one) =>
      one.textContent.trim() && !one.getBoundingClientRect().height && !one.closest('[hidden], .search, #results')).length"""
    assert watched.page.evaluate(closed) == 0
    assert watched.page.evaluate("document.scrollingElement.scrollWidth") <= 700
    assert len(watched.page.pdf()) > 20_000
