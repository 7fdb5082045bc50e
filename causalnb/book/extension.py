"""The book's Sphinx extension: numbers in prose that come from a record, and pages that ask the network for
nothing, also when they are searched.

In a page, {measured}`ID` shows the value of a measurement with three digits, {measured}`ID:.1%` in that
Python format; {measured}`WHAT IT IS <ID>` says what it is where its record does not. ID is looked up in the
record of the page's chapter, or as CHAPTER.ID in the one of another; an unknown one fails the build.
{term}`WORD` opens what the glossary says of a word.
"""

import json
import shutil
from functools import cache
from pathlib import Path
from typing import Any

from docutils import nodes

from causalnb import fragments, ledger
from causalnb.record import Record, read

GLOSSARY = "book/glossary"


def setup(app: Any) -> dict[str, bool]:
    """Sphinx calls this."""
    app.add_role("measured", measured)
    app.connect("doctree-read", append_notes)
    app.connect("doctree-resolved", define)
    app.connect("html-page-context", mended, priority=900)
    app.connect("build-finished", offer_executed)
    app.connect("build-finished", keep_texts)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def measured(
    name: str, rawtext: str, text: str, lineno: int, inliner: Any, options: Any = None, content: Any = None
) -> tuple[list[Any], list[Any]]:
    """The role: a button with the number; its popover (interval, n, seeds, device, date, command) stands at
    the page's end.
    """
    env = inliner.document.settings.env
    said, _, asked = (
        text.strip().rstrip(">").rpartition("<") if text.endswith(">") else ("", "", text.strip())
    )
    id, _, form = asked.partition(":")
    chapter, _, rest = id.partition(".")
    for folder, key in ((chapter, rest), (Path(env.docname).parent.name, id)):
        file = Path(env.srcdir, "book", "_generated", folder, "record.json")
        if file.is_file() and key in _record(file).measurements:
            env.note_dependency(str(file))
            used = env.temp_data.setdefault("cn_notes", {})
            place, _ = used.setdefault((file, key), (f"m-{len(used) + 1}", said.strip()))
            point = _record(file).measurements[key].estimate.value
            try:
                shown = format(point, form or (".0f" if 1e3 <= abs(point) < 1e6 else ".3g"))
            except ValueError:
                told = f"{form} is no format of a number: give one of Python's, for example .1%"
                return [], [inliner.reporter.error(told, line=lineno)]
            return [nodes.raw(rawtext, fragments.number(shown, place), format="html")], []
    return [], [inliner.reporter.error(f"no record of this book has a measurement {id}", line=lineno)]


def append_notes(app: Any, doctree: nodes.document) -> None:
    """The popovers of the page's numbers, after its text; on paper they are its end notes."""
    if used := app.env.temp_data.get("cn_notes"):
        found = [
            fragments.note(id, _record(file), place, said or _said(id, _record(file)))
            for (file, id), (place, said) in used.items()
        ]
        doctree.append(nodes.raw("", fragments.notes(found), format="html"))


def _said(id: str, made: Record) -> str:
    """What a record says of a measurement, or what the first row that it decides states."""
    rows = _ledger(made.chapter).rows
    return made.measurements[id].what or next((row.statement for row in rows if row.decides(id)), "")


def define(app: Any, doctree: nodes.document, docname: str) -> None:
    """Each word that a page marks opens its definition where it stands, and no longer leads away to it."""
    if docname == GLOSSARY or GLOSSARY not in app.env.found_docs:
        return
    items = app.env.get_doctree(GLOSSARY).findall(nodes.definition_list_item)
    said = {id: item for item in items for word in item.findall(nodes.term) for id in word["ids"]}
    found: list[str] = []
    for link in list(doctree.findall(nodes.reference)):
        id = link.get("refuri", "").rpartition("glossary.html#")[2]
        if id in said:
            key = f"d-{len(found) + 1}"
            found.append(fragments.definition(key, link.astext(), said[id][-1].astext()))
            link.replace_self(nodes.raw("", fragments.term(link.astext(), key), format="html"))
    if found:
        doctree.append(nodes.raw("", fragments.notes(found), format="html"))


def mended(app: Any, pagename: str, templatename: str, context: dict[str, Any], doctree: Any) -> None:
    """Leave out the scripts of sphinx-thebe, which jupyter-book always loads and which ask a server for more,
    and the role of the bibliography's list, whose entries have another than a list's.
    """
    context["script_files"] = [
        file
        for file in context["script_files"]
        if "thebe" not in f"{file.filename} {file.attributes.get('body')}".lower()
    ]
    if "body" in context:
        context["body"] = context["body"].replace('<div role="list" class="citation-list">', "<div>")


def keep_texts(app: Any, exception: Exception | None) -> None:
    """The words of each page, from which the search tells what stands around those that it found."""
    pages = {
        name: " ".join(
            word
            for part in app.env.get_doctree(name).findall(nodes.Text)
            if not isinstance(part.parent, nodes.raw | nodes.literal_block | nodes.math | nodes.math_block)
            for word in part.split()
        )
        for name in app.env.found_docs
    }
    told = json.dumps(pages, ensure_ascii=False, sort_keys=True)
    Path(app.outdir, "_static", "texts.js").write_text(f"window.cnTexts = {told};\n", encoding="utf-8")


def offer_executed(app: Any, exception: Exception | None) -> None:
    """The theme's download button of a chapter gives the executed notebook, which Jupyter shows whole, not
    the page's source.
    """
    for page in Path(app.outdir, "_sources", "book", "_generated").glob("*/page.ipynb"):
        name = page.parent.name
        shutil.copy(Path(app.srcdir, "book", "_generated", name, f"{name}.ipynb"), page)


@cache
def _record(file: Path) -> Record:
    return read(file)


@cache
def _ledger(chapter: str) -> ledger.Ledger:
    return ledger.load(chapter)
