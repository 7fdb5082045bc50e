"""Where the built site is, and its pages."""

from pathlib import Path

SITE = Path(__file__).parents[2] / "_build" / "html"
PAGES = sorted(
    str(page.relative_to(SITE))
    for page in SITE.rglob("*.html")
    if "_static" not in page.parts and page.name != "index.html"
)
CHAPTERS = [name for name in PAGES if name.endswith("page.html")]
