"""Every page of the built site in a headless Chromium, from the folder and without a network.

Skipped, loudly, where there is no Chromium or no site; with CAUSALNB_REQUIRE_BROWSER=1 that is a failure.
"""

import os
import shutil
import warnings
from pathlib import Path

import pytest

SITE = Path(__file__).parents[2] / "_build" / "html"
PAGES = sorted(str(page.relative_to(SITE)) for page in SITE.rglob("*.html") if "_static" not in page.parts and page.name != "index.html")
FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-quic"]
WIDTHS = (1280, 390)

TYPESET = "() => document.querySelectorAll('mjx-container').length >= document.querySelectorAll('.math').length"
FAULTS = """() => {
  const said = (e) => e.getAttribute('aria-label') || e.getAttribute('alt') || '', shown = (e) => (e.id || e.getAttribute('src') || e.outerHTML).slice(0, 80);
  const all = (what) => [...document.querySelectorAll(`.bd-article :is(${what}):not([aria-hidden=true])`)];
  const faults = [];
  for (const e of all('mjx-merror')) faults.push('a formula with an error: ' + e.textContent);
  for (const e of all('mjx-mtext[style*="red"]')) faults.push('an unknown macro: ' + e.textContent);
  for (const e of all('img, [role=img]')) if (said(e).length < 8 || /\\.(png|svg)$/.test(said(e))) faults.push('no alt text: ' + shown(e));
  for (const part of ['[role=img], img[alt]', 'figcaption'])
    for (const e of all('figure.cn-fig')) if (!e.querySelector(part)) faults.push(`${shown(e)} has no ${part}`);
  for (const e of all('img')) if (e.complete && !e.naturalWidth) faults.push('an image that did not load: ' + shown(e));
  return faults;
}"""
WIDE = """() => {
  const page = document.documentElement, faults = page.scrollWidth > page.clientWidth ? [`the page is ${page.scrollWidth} wide`] : [];
  for (const e of document.querySelectorAll('mjx-container[display=true]')) {
    const [inner, outer] = [e.querySelector('mjx-math'), e.parentElement].map((x) => x.getBoundingClientRect());
    if (inner.left < outer.left - 2 || inner.right > outer.right + 2) faults.push(`${Math.round(inner.width)} wide: ${e.textContent.slice(0, 60)}`);
  }
  return faults;
}"""


def missing(what):
    told = f"THE BROWSER TEST DID NOT RUN: {what}."
    if os.environ.get("CAUSALNB_REQUIRE_BROWSER") == "1":
        pytest.fail(told)
    warnings.warn(told, stacklevel=2)
    pytest.skip(told)


@pytest.fixture(scope="module")
def browser():
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
    if not PAGES:
        missing("there is no site in _build/html, make book builds it")
    if path is None:
        missing("there is no Chromium on the path")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        missing("playwright is not installed")
    with sync_playwright() as play:
        chromium = play.chromium.launch(executable_path=path, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture
def visit(browser):
    """A function that opens a page at a width in a theme; whatever it complains of or asks of the network is in `visit.said`."""
    said, opened = [], []

    def open_page(name, width=1280, theme="light"):
        page = browser.new_page(viewport={"width": width, "height": 900})
        opened.append(page)
        page.add_init_script(f"localStorage.setItem('mode', '{theme}'); localStorage.setItem('theme', '{theme}')")
        page.on("console", lambda message: said.append(message.text) if message.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("requestfailed", lambda request: said.append(f"{request.url} did not load"))
        page.on("request", lambda request: None if request.url.startswith(("file:", "data:", "blob:")) else said.append(f"{request.url} was asked for"))
        path, _, query = name.partition("?")
        page.goto((SITE / path).as_uri() + (f"?{query}" if query else ""))
        page.wait_for_function(TYPESET)
        return page

    open_page.said = said
    yield open_page
    for page in opened:
        page.close()


@pytest.mark.parametrize("name", PAGES or ["no page"])
def test_a_page_is_whole_quiet_offline_and_fits_a_phone_in_both_themes(visit, name):
    for theme, width in (("light", WIDTHS[0]), ("dark", WIDTHS[1])):
        page = visit(name, width, theme)
        assert page.locator("html").get_attribute("data-theme") == theme
        assert page.evaluate(FAULTS) == []
        for each in WIDTHS:
            page.set_viewport_size({"width": each, "height": 900})
            assert page.evaluate(WIDE) == [], f"at {each} pixels"
    assert visit.said == []


def test_the_first_page_is_reached_and_the_search_finds_something(visit):
    page = visit("index.html")
    page.wait_for_url("**/book/intro.html")
    page = visit("search.html?q=tolerance")
    page.wait_for_selector("#search-results li a")
    assert page.locator("#search-results li a").count() >= 1
    assert visit.said == []


def test_a_number_opens_its_note_and_escape_closes_it(visit):
    chapter = next(name for name in PAGES if name.endswith("page.html"))
    page = visit(chapter)
    button = page.locator(".cn-num").first
    note = page.locator(f"#{button.get_attribute('popovertarget')}".replace(".", "\\."))
    assert not note.is_visible()
    button.focus()
    page.keyboard.press("Enter")
    assert note.is_visible() and "run" in note.inner_text()
    page.keyboard.press("Escape")
    assert not note.is_visible()


def test_a_count_on_the_scorecard_leads_to_its_rows(visit):
    page = visit("book/scorecard.html")
    link = page.locator("a[data-filter]").first
    count = int(link.inner_text())
    link.click()
    assert page.locator(".cn-rows tbody tr:visible").count() == count


def test_a_page_is_complete_without_script(browser):
    page = browser.new_context(java_script_enabled=False).new_page()
    page.goto((SITE / "book" / "scorecard.html").as_uri())
    assert page.locator(".cn-rows tbody tr:visible").count() == page.locator(".cn-rows tbody tr").count() > 0
    assert not page.locator(".cn-filter").is_visible()
