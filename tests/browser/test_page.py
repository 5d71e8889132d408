"""The real page in a real browser: it complains of nothing, asks for nothing, and answers what the files hold."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from urllib.parse import unquote_plus, urlparse

import pytest

from attention_harness import store
from attention_harness.model.verdict import NONCONFORMING
from tests.browser import runs
from tests.untrusted.inside import HOSTILE
from tests.untrusted.made import everything

CELLS = """() => Object.fromEntries([...document.querySelectorAll('a.cell')].filter((one) => one.offsetParent)
  .map((one) => [`${one.dataset.mechanism} ${one.dataset.implementation}`, [...one.children].map((part) => part.textContent)]))"""


@pytest.fixture(scope="module")
def verdicts():
    return runs.verdicts()


def test_nothing_is_asked_for_and_nothing_complains(address, opened):
    """Console, policy and network stay silent, also after a query, a case and a way to the end of the page."""
    watched = opened(address)
    watched.ask("status:wrong")
    watched.page.locator("#cases summary").first.click()
    watched.page.evaluate("window.scrollTo(0, document.body.scrollHeight)")
    watched.page.wait_for_timeout(500)
    assert watched.complaints == []
    # `blob:` and `data:` are within the page
    assert {urlparse(one).scheme for one in watched.requests} <= {"file", "blob", "data", "about"}
    assert [one for one in watched.requests if one.startswith("file:")] == [address]


def test_the_matrix_says_what_the_verdicts_say(address, opened, verdicts):
    """Each cell: the worst error ratio of what passed, or how many went wrong."""
    cells = opened(address).page.evaluate(CELLS)
    for mechanism in runs.MECHANISMS:
        for who in runs.IMPLEMENTATIONS:
            found = [v for v in verdicts if (v.mechanism, v.implementation) == (mechanism, who)]
            wrong = sum(v.status in NONCONFORMING for v in found)
            passed = [v for v in found if v.status == "pass"]
            glyph, number, share = cells[f"{mechanism} {who}"]
            if wrong:
                assert (glyph, number) == ("✗", str(wrong))
            elif passed:
                informative = sum(not v.uninformative for v in passed)
                assert glyph == "✓"
                assert float(number) == pytest.approx(max(v.error_ratio for v in passed), abs=0.006)
                assert share == f"{100 * informative // len(passed)} %"
            else:
                assert (glyph, number) == ("–", str(len(found)))
    assert cells["cosine onnx_cuda"][0] == "·"


@pytest.mark.parametrize(
    ("query", "kept"),
    [
        ("status:fail", lambda v: v.status == "fail"),
        ("status:wrong mechanism:additive", lambda v: v.status in NONCONFORMING and v.mechanism == "additive"),
        ("dtype:bfloat16 option:mask", lambda v: "-bfloat16-mask=full-" in v.case),
        ("-option:mask Lq>=100", lambda v: "mask" not in v.case and "Lq130" in v.case),
        ("implementation:eager,fused check:relation", lambda v: v.implementation in ("eager", "fused") and "rel" in v.check),
        ("ratio>0.5 status:pass", lambda v: v.status == "pass" and v.error_ratio > 0.5),
        ("informative:no", lambda v: v.uninformative),
        ("softmax", lambda v: "softmax" in v.reason),
        ('reason:"not declared"', lambda v: "not declared" in v.reason),
        ("mech*", lambda v: False),
        ("mechanism:scaled*", lambda v: v.mechanism == "scaled_dot_product"),
    ],
)  # fmt: skip
def test_a_query_keeps_what_it_says(address, opened, verdicts, query, kept):
    """The count, the cells and the cases are those of the verdicts for which it holds."""
    watched = opened(address)
    watched.ask(query)
    found = [v for v in verdicts if kept(v)]
    groups = {(v.implementation, v.case) for v in found}
    said = watched.page.text_content("#counted")
    assert said == f"{len(found)} of {len(verdicts)} verdicts, in {len(groups)} case{'' if len(groups) == 1 else 's'}"
    cells = watched.page.evaluate(CELLS)
    assert {key for key, (glyph, *_) in cells.items() if glyph} == {f"{v.mechanism} {v.implementation}" for v in found}
    shown = watched.page.locator("#cases details").count()
    assert shown == min(60, len(groups))


def test_only_is_what_fails_there_alone(address, opened, verdicts):
    """compiled fails in bfloat16, where my_kernel does too; what is left is my_kernel's alone."""
    wrong = {(v.implementation, v.case, v.check) for v in verdicts if v.status in NONCONFORMING}
    for who in ("my_kernel", "compiled"):
        others = {(case, check) for name, case, check in wrong if name != who}
        alone = [key for key in wrong if key[0] == who and key[1:] not in others]
        watched = opened(address)
        watched.ask(f"only:{who}")
        assert watched.page.text_content("#counted").startswith(f"{len(alone)} of ")


def test_differs_is_what_the_table_of_disagreements_counts(address, opened):
    """Each pair's cell leads to twice as many verdicts as it counts: one of each."""
    page = opened(address).page
    links = page.evaluate(
        "() => [...document.querySelectorAll('#disagreements ~ .scroll a')].map((one) => [one.hash, one.textContent])"
    )
    assert links
    for target, text in links[:4]:
        page.evaluate("target => { location.hash = target; }", target)
        query = unquote_plus(re.search(r"q=([^&]*)", target)[1])
        page.wait_for_function("query => document.body.dataset.answered === query", arg=query)
        assert page.text_content("#counted").startswith(f"{2 * int(text.split()[0])} of ")


def test_a_mistake_in_a_query_says_what_would_be_right(address, opened):
    """What means nothing is said and left out, never answered with nothing."""
    watched = opened(address)
    for query, said in (
        ("colour:red", "colour is no key: status, mechanism"),
        ("ratio:much", "a number has to follow"),
        ("only:nobody", "no such implementation; there are"),
        ("status:", "a value has to follow"),
        ("differs:eager", "differs takes two implementations"),
        ("status>fail", "status is no number"),
    ):
        watched.ask(query)
        assert said in watched.page.text_content("#problems"), query
    watched.ask("")
    assert watched.page.text_content("#problems") == ""


def test_a_cell_leads_to_its_cases_and_a_case_to_its_checks(address, opened, verdicts):
    """By the keyboard: the cell's cases, one opened, its checks with their numbers, and the command."""
    watched = opened(address)
    page = watched.page
    page.locator("a.cell[data-mechanism=cosine][data-implementation=my_kernel]").focus()
    page.keyboard.press("Enter")
    page.wait_for_function("() => document.body.dataset.answered === 'mechanism:cosine implementation:my_kernel'")
    found = [v for v in verdicts if (v.mechanism, v.implementation) == ("cosine", "my_kernel")]
    assert page.locator("#cases details").count() == len({v.case for v in found})
    first = page.locator("#cases details").first
    first.locator("summary").focus()
    page.keyboard.press("Enter")
    first.locator("table").wait_for()
    case = first.locator("summary code").text_content()
    rows = [
        [cell.strip() for cell in row.locator("th, td").all_text_contents()] for row in first.locator("tbody tr").all()
    ]
    expected = sorted((v for v in found if v.case == case), key=lambda v: v.check)
    assert [row[0] for row in rows] == [v.check for v in expected]
    for row, verdict in zip(rows, expected, strict=True):
        assert float(row[2]) == pytest.approx(verdict.error_ratio, rel=0.05)
        assert row[5] == verdict.reason
    assert expected[0].replay in first.locator("pre").all_text_contents()
    assert expected[0].case in unquote_plus(first.locator("a").first.get_attribute("href"))


def test_the_address_restores_the_view(address, opened):
    """A query, a cell and a case come back from the address alone; the way back is the browser's."""
    watched = opened(address)
    watched.ask("status:fail dtype:bfloat16")
    before = watched.page.evaluate(CELLS), watched.page.text_content("#counted")
    again = opened(watched.page.url)
    assert again.page.input_value("#query") == "status:fail dtype:bfloat16"
    assert (again.page.evaluate(CELLS), again.page.text_content("#counted")) == before
    again.page.locator("nav a[href='#failures']").click()
    again.page.wait_for_function("() => location.hash.includes('at=failures')")
    assert again.page.input_value("#query") == "status:fail dtype:bfloat16"
    again.page.go_back()
    again.page.wait_for_function("() => !location.hash.includes('at=failures')")
    again.page.click("#clear")
    again.page.wait_for_function("() => document.body.dataset.answered === ''")
    assert again.page.evaluate(CELLS) == opened(address).page.evaluate(CELLS)


def test_failures_follow_the_query(address, opened):
    """A cause of which nothing is left is hidden, and the page says how many are."""
    watched = opened(address)
    visible = "() => [...document.querySelectorAll('article[data-cause]')].filter((one) => one.offsetParent).length"
    everything_shown = watched.page.evaluate(visible)
    watched.ask("implementation:compiled")
    fewer = watched.page.evaluate(visible)
    assert 0 < fewer < everything_shown
    assert f"{everything_shown - fewer} of {everything_shown} causes are hidden" in watched.page.text_content(
        "#hidden-failures"
    )


def test_hostile_names_stay_text(written, tmp_path, opened):
    """Nothing that a run says is run, also where the script writes it."""
    watched = opened(written(store.load(everything(tmp_path / "run", HOSTILE))))
    title = watched.page.title()
    watched.ask("status:fail,pass")
    for summary in watched.page.locator("#cases summary").all()[:5]:
        summary.click()
    assert HOSTILE.split("\n")[0][:20] in watched.page.inner_text("#cases")
    assert watched.page.title() == title
    assert (
        watched.page.evaluate("() => document.querySelectorAll('main img[src=x], #cases script, #cases img').length")
        == 0
    )
    assert watched.complaints == []


@pytest.mark.parametrize("checks", [1, 10])
def test_ten_thousand_cells_answer_at_once(written, opened, checks):
    """A query takes less than 100 ms, of 100,000 verdicts too. The best of five: the machine may be busy."""
    run = runs.many(100, 100, checks)
    watched = opened(written(run))
    for query in ("implementation:implementation_7", "status:fail", "check_0 ratio>0.55"):
        times = []
        for n in range(5):
            watched.ask(f"{query} -mechanism:mechanism_{n}")
            times.append(float(watched.page.evaluate("() => document.body.dataset.milliseconds")))
        assert min(times) < 100, (query, times)
    counts = Counter(v.status for v in run.verdicts)
    watched.ask("status:fail")
    assert watched.page.text_content("#counted").startswith(f"{counts['fail']:,} of {len(run.verdicts):,}")


def test_a_page_of_many_verdicts_stays_small(written):
    """100,000 verdicts take less than 3 MB."""
    path = Path(urlparse(written(runs.many(20, 10, 500))).path)
    assert path.stat().st_size < 3_000_000


def test_the_first_screen_counts_the_checks(address, opened, verdicts):
    """Each implementation's line has its number of checks."""
    text = opened(address).page.inner_text(".lines")
    for who in runs.IMPLEMENTATIONS:
        checked = [v for v in verdicts if v.implementation == who and v.status != "unsupported" and not v.uninformative]
        assert re.search(rf"{who}\s.*?{len(checked)} checks", text), who


SYMBOLS = """() => [...document.querySelectorAll('figure[data-chart=ratios]')].map((one) =>
  [...one.querySelectorAll('.mark-symbol path')].filter((mark) => mark.checkVisibility()).length)"""


def test_charts_are_drawn_and_follow_the_query(address, opened):
    """Each is drawn when it comes into view; a query leaves the marks of what it keeps, and an empty one gives all back."""
    watched = opened(address)
    page = watched.page
    for figure in page.locator("figure[data-chart]").all():
        if figure.is_visible():
            figure.scroll_into_view_if_needed()
            figure.locator("svg").first.wait_for()
    whole = page.evaluate(SYMBOLS)
    assert len(whole) == len(runs.MECHANISMS)
    assert min(whole) > 0
    watched.ask("implementation:fused")
    page.wait_for_timeout(300)
    fewer = page.evaluate(SYMBOLS)
    assert all(0 < one < all_of for one, all_of in zip(fewer, whole, strict=True))
    watched.ask("mechanism:cosine")
    page.wait_for_timeout(300)
    assert sorted(page.evaluate(SYMBOLS))[:2] == [0, 0]
    assert max(page.evaluate(SYMBOLS)) == max(whole)
    watched.ask("")
    page.wait_for_timeout(300)
    assert page.evaluate(SYMBOLS) == whole
    assert watched.complaints == []


def test_a_term_that_means_nothing_hides_no_chart(address, opened, verdicts):
    """Half a term is left out for charts as for all else; a workload is asked of charts alone."""
    watched = opened(address)
    whole = watched.page.evaluate("() => document.querySelectorAll('.nothing-left:not([hidden])').length")
    for query in ("status:", "dtype>x", "colour:red"):
        watched.ask(query)
        assert (
            watched.page.evaluate("() => document.querySelectorAll('.nothing-left:not([hidden])').length") == whole
        ), query
    watched.ask("workload:small")
    assert watched.page.text_content("#problems") == ""
    assert watched.page.text_content("#counted").startswith(f"{len(verdicts)} of {len(verdicts)} ")
