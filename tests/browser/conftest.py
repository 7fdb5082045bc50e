"""A headless Chromium without a network; skipped, loudly, where there is none, which with
CAUSALNB_REQUIRE_BROWSER=1 is a failure.
"""

import os
import shutil
import warnings

import pytest
from pages import PAGES, SITE

TYPESET = (
    "() => document.querySelectorAll('mjx-container').length >= document.querySelectorAll('.math').length"
)

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
]


@pytest.fixture(scope="session")
def missing():
    """A function that skips, or fails, because of what it is told."""

    def tell(what):
        told = f"THE BROWSER TEST DID NOT RUN: {what}."
        if os.environ.get("CAUSALNB_REQUIRE_BROWSER") == "1":
            pytest.fail(told)
        warnings.warn(told, stacklevel=2)
        pytest.skip(told)

    return tell


@pytest.fixture(scope="module")
def browser(missing):
    path = next(
        filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None
    )
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
    """A function that opens an address at a width in a theme; whatever the page complains of or asks of the
    network is in `visit.said`, and the address of every request in `visit.asked`."""
    said, asked, opened = [], [], []

    def open_page(address, width=1280, theme="light", script=True):
        context = browser.new_context(viewport={"width": width, "height": 900}, java_script_enabled=script)
        opened.append(context)
        page = context.new_page()
        page.add_init_script(
            f"localStorage.setItem('mode', '{theme}'); localStorage.setItem('theme', '{theme}')"
        )
        page.on(
            "console",
            lambda message: said.append(message.text) if message.type in ("error", "warning") else None,
        )
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("requestfailed", lambda request: said.append(f"{request.url} did not load"))
        page.on(
            "request",
            lambda request: (
                None
                if request.url.startswith(("file:", "data:", "blob:"))
                else said.append(f"{request.url} was asked for")
            ),
        )
        page.on("request", lambda request: asked.append(request.url))
        page.goto(address)
        return page

    open_page.said, open_page.asked = said, asked
    yield open_page
    for context in opened:
        context.close()


@pytest.fixture
def turn(visit, missing):
    """A function that opens a page of the site by its path, at a width in a theme, and waits for its
    formulas; `turn.said` as there.
    """
    if not PAGES:
        missing("there is no site in _build/html, make book builds it")

    def open_page(name, width=1280, theme="light", script=True):
        path, _, query = name.partition("?")
        page = visit((SITE / path).as_uri() + (f"?{query}" if query else ""), width, theme, script)
        if script:
            page.wait_for_function(TYPESET)
        return page

    open_page.said = visit.said
    return open_page
