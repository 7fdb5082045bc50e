"""The rendered site: jupyter-book run strictly, then every link, anchor and popover of its pages followed.

Sphinx checks the Markdown; raw HTML is checked here, together with anything that would ask the network.
"""

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

from causalnb import UserError, files

LOADS = {"script": "src", "img": "src", "source": "src", "iframe": "src", "link": "href"}
FOLLOWED = ("stylesheet", "icon", "preload", "modulepreload")


def render(root: Path) -> Path:
    """Build the book at `root` into _build/html, from nothing, and return its first page.

    raises  UserError with the first warnings, or with the first links that lead nowhere
    """
    build = root / "_build"
    for name in ("html", ".doctrees", "jupyter_execute"):
        files.remove(build / name)
    command = [
        sys.executable,
        "-c",
        "from jupyter_book.cli.main import main; main()",
        "build",
        ".",
        "--path-output",
        ".",
        "-W",
        "-n",
        "--keep-going",
    ]
    done = subprocess.run(
        command,
        cwd=root,
        capture_output=True,
        text=True,
        encoding="utf-8",
        env=os.environ | {"NO_COLOR": "1"},
        check=False,
    )
    if done.returncode:
        raise UserError(f"The site has faults: {_warnings(done.stdout + done.stderr, root)}")
    with files.refusals(build, "read"):
        faults = broken(build / "html")
    if faults:
        raise UserError(f"The site has {len(faults)} broken links: {'; '.join(faults[:8])}")
    return build / "html" / "index.html"


def _warnings(output: str, root: Path) -> str:
    plain = re.sub(r"\x1b\[[0-9;]*m", "", output).replace(f"{root}{os.sep}", "")
    lines = [line for line in plain.splitlines() if re.search("WARNING|ERROR|CRITICAL|Error:", line)]
    return "\n".join(lines[:12] or plain.splitlines()[-12:])


def broken(site: Path) -> list[str]:
    """What leads nowhere in the pages of a site: links, anchors, popovers; ids given twice; and what would be
    fetched.
    """
    pages = {page.resolve(): Page(page) for page in site.rglob("*.html") if page.parent.name != "_static"}
    return [
        f"{file.relative_to(site.resolve())}: {fault}"
        for file, page in pages.items()
        for fault in _faults(file, page, pages)
    ]


def _faults(file: Path, page: "Page", pages: dict[Path, "Page"]) -> list[str]:
    faults = [f"id {id} stands twice" for id in sorted(page.twice)]
    faults += [f"popover {id} is missing" for id in page.popovers if id not in page.ids]
    faults += [f"{url} would be fetched" for url in page.loads if urlsplit(url).netloc]
    for link in page.links + page.loads:
        url = urlsplit(link)
        if url.scheme or url.netloc:
            continue
        target = (file.parent / unquote(url.path)).resolve() if url.path else file
        if not target.is_file():
            faults.append(f"{link} leads nowhere")
        elif url.fragment and target in pages and unquote(url.fragment) not in pages[target].ids:
            faults.append(f"{link} has no such place")
    return faults


class Page(HTMLParser):
    """The ids, links, popovers and loaded files of one page."""

    def __init__(self, file: Path) -> None:
        """Read the page in `file`."""
        super().__init__()
        self.ids: set[str] = set()
        self.twice: set[str] = set()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.popovers: list[str] = []
        self.feed(file.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Called by the parser."""
        values = {name: value or "" for name, value in attrs}
        if id := values.get("id"):
            (self.twice if id in self.ids else self.ids).add(id)
        if tag == "a" and values.get("href", "#") != "#":
            self.links.append(values["href"])
        if "popovertarget" in values:
            self.popovers.append(values["popovertarget"])
        if LOADS.get(tag, "") in values and (tag != "link" or values.get("rel") in FOLLOWED):
            self.loads.append(values[LOADS[tag]])
