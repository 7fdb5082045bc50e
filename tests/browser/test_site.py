"""Every page of the built site in a headless Chromium, from the folder and without a network."""

import pytest
from pages import CHAPTERS, PAGES

WIDTHS = (1280, 390)

FAULTS = """() => {
  const said = (e) => e.getAttribute('aria-label') || e.getAttribute('alt') || '', shown = (e) => (e.id || e.getAttribute('src') || e.outerHTML).slice(0, 80);
  const all = (what) => [...document.querySelectorAll(`.bd-article :is(${what}):not([aria-hidden=true])`)];
  const faults = [];
  for (const e of all('mjx-merror')) faults.push('a formula with an error: ' + e.textContent);
  for (const e of all('mjx-mtext[style*="red"]')) faults.push('an unknown macro: ' + e.textContent);
  for (const e of all('img, [role=img]')) if (said(e).length < 8 || /\\.(png|svg)$/.test(said(e))) faults.push('no alt text: ' + shown(e));
  for (const part of ['[role=img], img[alt]', 'figcaption'])
    for (const e of all('figure.cn-fig')) if (!e.querySelector(part)) faults.push(`${shown(e)} has no ${part}`);
  for (const e of document.querySelectorAll('[role=list]')) if ([...e.children].some((one) => one.getAttribute('role') !== 'listitem')) faults.push('a list with other children than its items: ' + shown(e));
  const plain = (text) => text.toLowerCase().replace(/[^\\p{L}\\p{N}]+/gu, ' ').trim();
  for (const e of document.querySelectorAll('a[aria-label], button[aria-label], summary[aria-label], label[aria-label]'))
    if (!plain(e.getAttribute('aria-label')).includes(plain(e.innerText))) faults.push('a name without the words that are seen: ' + e.outerHTML.slice(0, 160));
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


@pytest.mark.parametrize("name", PAGES or ["no page"])
def test_a_page_is_whole_quiet_offline_and_fits_a_phone_in_both_themes(turn, name):
    for theme, width in (("light", WIDTHS[0]), ("dark", WIDTHS[1])):
        page = turn(name, width, theme)
        assert page.locator("html").get_attribute("data-theme") == theme
        assert page.evaluate(FAULTS) == []
        for each in WIDTHS:
            page.set_viewport_size({"width": each, "height": 900})
            assert page.evaluate(WIDE) == [], f"at {each} pixels"
    assert turn.said == []


def test_the_first_page_is_reached_and_the_search_finds_something(turn):
    page = turn("index.html")
    page.wait_for_url("**/book/intro.html")
    page = turn("search.html?q=tolerance")
    page.wait_for_selector("#search-results li p.context")
    assert page.locator("#search-results li a").count() >= 1
    assert "tolerance" in page.locator("#search-results p.context").first.inner_text().lower()
    assert turn.said == []


def test_a_number_opens_its_note_and_escape_closes_it(turn):
    chapter = CHAPTERS[0]
    page = turn(chapter)
    button = page.locator(".cn-num:not(.cn-term)").first
    note = page.locator(f"#{button.get_attribute('popovertarget')}".replace(".", "\\."))
    assert not note.is_visible()
    button.focus()
    page.keyboard.press("Enter")
    assert note.is_visible() and "run" in note.inner_text()
    page.keyboard.press("Escape")
    assert not note.is_visible()


def test_a_count_on_the_scorecard_leads_to_its_rows(turn):
    page = turn("book/scorecard.html")
    link = page.locator("a[data-filter]").first
    count = int(link.inner_text())
    link.click()
    assert page.locator(".cn-rows tbody tr:visible").count() == count


def test_a_page_is_complete_without_script(turn):
    page = turn("book/scorecard.html", script=False)
    while (closed := page.locator("details.cn-fold:not([open]) > summary")).count():
        closed.first.click()
    assert page.locator(".cn-rows tbody tr:visible").count() == page.locator(".cn-rows tbody tr").count() > 0
    assert not page.locator(".cn-filter").is_visible()


def test_the_scorecard_begins_short_and_closes_again_what_a_filter_opened(turn):
    page = turn("book/scorecard.html")
    assert page.evaluate("document.documentElement.scrollHeight") < 4000
    before = page.locator("details.cn-fold[open]").count()
    search = page.get_by_label("Search rows")
    search.fill("total variation")
    found = page.locator(".cn-rows tbody tr:visible").count()
    assert 0 < found < page.locator(".cn-rows tbody tr").count()
    search.fill("")
    assert page.locator("details.cn-fold[open]").count() == before


def test_a_note_stands_under_its_cell_and_is_whole_in_the_window(turn):
    page = turn(next(name for name in CHAPTERS if "ace" in name))
    page.evaluate("for (const one of document.querySelectorAll('details.cn-fold')) one.open = true")
    cell = page.locator(".cn-grid td[data-v]").nth(10)
    cell.scroll_into_view_if_needed()
    page.evaluate("(cell) => scrollBy(0, cell.getBoundingClientRect().top - 450)", cell.element_handle())
    cell.locator(".cn-num").click()
    note = page.locator("[popover]:popover-open").bounding_box()
    box = cell.bounding_box()
    assert note["y"] >= box["y"] + box["height"] and note["y"] + note["height"] <= 900
