"""What a chapter's page asks of its reader, counted on the rendered page.

A mark says what a chapter still lacks. It is strict: once the chapter has it the mark must go.
"""

import json
import re
from pathlib import Path

import pytest
from pages import CHAPTERS

ROOT = Path(__file__).parents[2]
WORDS, SCREENS, SHORT, OUTCOME = 6000, 20, 120, 30
LABEL = 8  # CSS pixels

# What a reader sees before anything is unfolded, in its order, in parts of one kind: plain text or a marked word.
SEEN = """(root) => {
  const unseen = 'details, [popover], svg, pre, code, script, style, .cn-sr, mjx-container, .math, .headerlink, [hidden], canvas, select';
  const parts = [], walk = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
  for (let node; node = walk.nextNode();) {
    const e = node.parentElement;
    if (!e.closest(unseen) && e.checkVisibility()) parts.push({
      text: node.textContent, marked: Boolean(e.closest('.cn-term')), apart: Boolean(e.closest('h1, h2, h3, h4, .cn-card, .cn-id'))});
  }
  return parts;
}"""
LABELS = """() => [...document.querySelectorAll('.bd-article svg text')].filter((e) => e.textContent.trim() && e.checkVisibility()).map((e) => {
  const at = e.getScreenCTM();
  return [parseFloat(getComputedStyle(e).fontSize) * Math.hypot(at.a, at.b), e.textContent];
})"""
OUTSIDE = """() => {
  for (const one of document.querySelectorAll('.bd-article details')) one.open = true;
  const article = document.querySelector('.bd-article'), look = getComputedStyle(article), whole = article.getBoundingClientRect();
  const column = [whole.left + parseFloat(look.paddingLeft) - 1, whole.right - parseFloat(look.paddingRight) + 1];
  const scrolls = (e) => { for (; e !== article; e = e.parentElement) if (/auto|scroll/.test(getComputedStyle(e).overflowX)) return e; };
  const skipped = (e) => !e.checkVisibility() || e.closest('[popover], .cn-sr, aside.margin, [aria-hidden=true], mjx-container, .headerlink, svg *');
  const told = [], tell = (e, box, [left, right], what) => {
    if (box.width && (box.left < left || box.right > right)) told.push(`${what} from ${Math.round(box.left - left)} to ${Math.round(box.right - right)}: ${(e.textContent || e.outerHTML).trim().slice(0, 60)}`);
  };
  for (const e of article.querySelectorAll('table, pre, figure, svg, img, canvas, form, details, button, select, input, dl, p, li, td, th')) {
    const box = scrolls(e.parentElement) || e;
    if (!skipped(e)) tell(e, box.getBoundingClientRect(), column, e.tagName.toLowerCase());
  }
  const walk = document.createTreeWalker(article, NodeFilter.SHOW_TEXT), range = document.createRange();
  for (let node; node = walk.nextNode();) {
    const e = node.parentElement;
    if (!node.textContent.trim() || skipped(e)) continue;
    const own = scrolls(e), holder = e.closest('td, th, li, dd, dt, summary, p, pre, figcaption, h1, h2, h3') || article;
    if (own) continue;
    const box = holder.getBoundingClientRect();
    range.selectNodeContents(node);
    for (const line of range.getClientRects()) tell(e, line, [box.left - 1, box.right + 1], 'text');
  }
  return [...new Set(told)];
}"""


def each(**lacking):
    """Every chapter's page; of a chapter that is named, marked with what it lacks."""
    named = [(name, name.split("/")[-2]) for name in CHAPTERS] or [("no page", "no page")]
    return pytest.mark.parametrize(
        "name",
        [
            pytest.param(
                name,
                id=chapter,
                marks=[pytest.mark.xfail(strict=True, reason=lacking[chapter])] if chapter in lacking else [],
            )
            for name, chapter in named
        ],
    )


def seen(page, selector=".bd-article"):
    return page.locator(selector).first.evaluate(SEEN)


def count(parts):
    return len(re.findall(r"\S*\w\S*", "".join(part["text"] for part in parts)))


@each()
def test_a_page_has_at_most_six_thousand_words(turn, name):
    assert count(seen(turn(name))) <= WORDS


@each()
def test_a_page_is_at_most_twenty_screens_long_before_anything_is_unfolded(turn, name):
    page = turn(name)
    page.set_viewport_size({"width": 1280, "height": 800})
    assert (
        page.evaluate("document.querySelector('.bd-article').getBoundingClientRect().height / 800") <= SCREENS
    )


@each()
def test_in_short_is_short(turn, name):
    page = turn(name)
    short = page.locator("section#in-short")
    assert short.count() == 1
    assert 0 < count(part for part in seen(page, "section#in-short") if not part["apart"]) <= SHORT


@each()
def test_what_came_out_is_one_sentence_on_the_card(turn, name):
    page = turn(name)
    assert page.locator(".cn-card .cn-outcome").count() == 1
    sentence = page.locator(".cn-card .cn-outcome").inner_text()
    assert 0 < len(sentence.split()) <= OUTCOME and sentence.count(". ") == 0


@each()
def test_every_number_in_prose_is_in_the_record_and_its_note_says_what_it_is(turn, name):
    page, chapter = turn(name), name.split("/")[-2]
    (source,) = (ROOT / "notebooks").glob(f"*_{chapter}.md")
    asked = re.findall(r"\{measured\}`(?:[^`<]*<)?([^`:>]+)", source.read_text(encoding="utf-8"))
    folder = ROOT / "book" / "_generated" / chapter
    known = json.loads((folder / "record.json").read_text(encoding="utf-8"))["measurements"]
    assert {id.removeprefix(f"{chapter}.") for id in asked} <= set(known)
    titles = page.locator(".bd-article p > .cn-num[popovertarget^=m-]").evaluate_all(
        "(all) => all.map((one) => document.getElementById(one.getAttribute('popovertarget')).querySelector('strong').innerHTML)"
    )
    assert bool(titles) == bool(asked) and [one for one in titles if one.startswith("<code>")] == []


def terms():
    """The words of the glossary, each with its other names, as they are found in a text."""
    source = (ROOT / "book" / "glossary.md").read_text(encoding="utf-8")
    block = re.search(r"```\{glossary\}\n(.*?)```", source, re.DOTALL)[1]
    entries = [re.findall(r"^(\S.*)$", entry, re.MULTILINE) for entry in block.split("\n\n")]
    return {names[0]: [_as_found(name) for name in names] for names in entries if names}


def _as_found(name):
    """A name with its plural; what is written in capitals is looked for in capitals alone."""
    flags = 0 if name.upper() == name else re.IGNORECASE
    return re.compile(rf"(?<![\w&-]){re.escape(name)}s?(?![\w&-])", flags)


def too_early(parts):
    """Of the words of the glossary, those that stand in plain text before the place where they are marked, or are never
    marked.
    """
    text = "".join(part["text"] if not part["apart"] else "\n" for part in parts)
    begins, at = [], 0
    for part in parts:
        if part["marked"]:
            begins.append((at, at + len(part["text"])))
        at += len(part["text"]) if not part["apart"] else 1
    found = {}
    for name, patterns in terms().items():
        uses = sorted(match.start() for pattern in patterns for match in pattern.finditer(text))
        marks = [begin for begin, end in begins if any(begin <= use < end for use in uses)]
        if uses and (not marks or uses[0] < marks[0]):
            found[name] = text[max(0, uses[0] - 40) : uses[0] + 40]
    return found


def test_a_word_is_too_early_where_it_is_used_before_it_is_marked_or_never_marked():
    def part(text, *, marked=False, apart=False):
        return {"text": text, "marked": marked, "apart": apart}

    marked = part("readings", marked=True)
    assert too_early([part("Some "), marked, part(" and a reading, read.")]) == {}
    assert list(too_early([part("A reading, then "), marked])) == ["reading"]
    assert list(too_early([part("Total variation of an S-shape")])) == ["TV"]
    assert too_early([part("Readings", apart=True), part("A misreading, and s.")]) == {}
    assert too_early([part("TV", marked=True), part(": the total variation")]) == {}


@each()
def test_no_word_of_the_glossary_is_used_before_it_is_marked(turn, name):
    assert too_early(seen(turn(name))) == {}


@each()
def test_no_label_of_a_figure_is_too_small_on_a_phone(turn, name):
    labels = turn(name, 390).evaluate(LABELS)
    assert [text for size, text in labels if size < LABEL - 0.05] == []


@each()
@pytest.mark.parametrize("width", [1280, 390])
def test_nothing_is_wider_than_its_column(turn, name, width):
    assert turn(name, width).evaluate(OUTSIDE) == []


@each()
def test_every_head_of_a_table_has_a_name(turn, name):
    heads = (
        turn(name).locator(".bd-article th").evaluate_all("(all) => all.map((one) => one.textContent.trim())")
    )
    assert heads and "" not in heads
