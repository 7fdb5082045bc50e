import json
import multiprocessing
import os
import re
import resource
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from causalnb import UserError, book, cli, console, ledger, record, runner
from causalnb.book import api, extension, generated, site
from causalnb.statistics import Estimate, logic

ROOT = Path(__file__).parents[1]
TEXT = """\
---
jupytext: {text_representation: {extension: .md, format_name: myst}}
kernelspec: {display_name: Python 3, language: python, name: python3}
---
# A small chapter

Some prose of one {term}`reading`, and $a^2$.

```{code-cell} ipython3
:tags: [parameters]

profile: str = "quick"
```

```{code-cell} ipython3
run.card()
```

## What came out

The value is {measured}`small.value:.2f`, or {measured}`ace.small.share:.1%`; again {measured}`small.value`; {measured}`whether it stands <ace.small.check:.0f>`.

$$ f_c(x) = \\sum_p x_p \\tag{Guo 2} $$

```{code-cell} ipython3
:tags: [hide-input]

1 + 1
```

```{code-cell} ipython3
run.verdicts("Table I", "claim")
```
"""
LEDGER = """
paper: {short: Guo et al. 2024, title: A paper, authors: A. Author, venue: A journal, year: 2024, doi: 10.1109/TCE.2024.3443328, claims: [One thing., Another.]}
rows:
- {id: t1.a, kind: cell, location: Table I, statement: The value, printed: "PRINTED", table: {table: Table I, row: clean, group: digits, column: S},
   rule: {type: cell}, tol: {of: sd, n: null, seeds: null, why: rounding alone}, decided_by: {measurements: [small.value]}}
- {id: t1.b, kind: cell, location: Table I, statement: Another value, printed: "0.7", table: {table: Table I, row: attacked, group: digits, column: S},
   rule: {type: cell}, tol: {of: sd, n: null, seeds: null, why: rounding alone}, decided_by: {measurements: [small.missing]}}
- {id: T1, kind: claim, location: IV-B, statement: The share is above a tenth, quote: more often, rule: {type: claim, relation: ">", than: 0.1, why: stated},
   decided_by: {measurements: [small.share]}}
- {id: C1, kind: control, location: ours, statement: It holds, rule: {type: equal}, decided_by: {measurements: [small.check]}}
"""
VALUES = {
    "small.value": Estimate(0.52, 0.5, 0.54, 0.95, "bootstrap mean", n=100, seeds=(0,)),
    "small.share": Estimate(0.25, 0.2, 0.3, 0.95, "wilson", n=80),
    "small.check": logic(True),
}


def a_record(cells, profile="laptop", **changed):
    measured = {
        id: record.Measurement(estimate=one, what="a thing") for id, one in (VALUES | changed).items()
    }
    return record.Record(
        chapter="ace",
        profile=profile,
        edition="0.1.0",
        parameters={"profile": profile, "n_images": 100},
        measurements=measured,
        sections=[],
        source_digest="0",
        sources={"notebook": cells},
        environment={"versions": record.versions(), "accelerator": ""},
        seeds=[0],
        device="cpu",
        threads=1,
        data={},
        store=[],
        started="2026-11-20T10:00:00+00:00",
        finished="2026-11-20T10:41:12+00:00",
        seconds=2472.0,
        cpu_seconds=2400.0,
        peak_memory=10**9,
    )


@pytest.fixture
def small(tmp_path, monkeypatch):
    """A book with one small chapter, executed and published by hand; what it prints is 0.5."""
    (tmp_path / "notebooks").mkdir()
    toc = (ROOT / "_toc.yml").read_text(encoding="utf-8").splitlines(keepends=True)
    (tmp_path / "_toc.yml").write_text(
        "".join(line for line in toc if "_generated" not in line or "/ace/" in line), encoding="utf-8"
    )
    (tmp_path / "notebooks" / "01_ace.md").write_text(TEXT)
    monkeypatch.chdir(tmp_path)
    judge_by(monkeypatch, "0.5")
    publish(tmp_path)
    return tmp_path


def judge_by(monkeypatch, printed):
    monkeypatch.setattr(
        ledger, "load", lambda chapter: ledger.parse(chapter, LEDGER.replace("PRINTED", printed))
    )


def publish(root, folder="book/published/ace/laptop-cpu", **changed):
    """An executed notebook and its record, as a run leaves them."""
    one = runner.chapter("ace")
    node = runner.convert(one)
    injected = nbformat.v4.new_code_cell(
        '# Parameters\nprofile = "laptop"', metadata={"tags": ["injected-parameters"]}
    )
    node.cells.insert(2, injected)
    for count, cell in enumerate(cell for cell in node.cells if cell.cell_type == "code"):
        cell.execution_count = count + 1
        cell.outputs = [
            nbformat.v4.new_output(
                "display_data", {"text/html": f"<p>as it was then: undecided, in {root}/runs</p>"}
            )
        ]
    (root / folder).mkdir(parents=True)
    nbformat.write(node, root / folder / "ace.ipynb")
    a_record(runner.cells(one), Path(folder).name.partition("-")[0], **changed).write(
        root / folder / "record.json"
    )


def page(root):
    generated.write(root)
    folder = root / "book" / "_generated" / "ace"
    return nbformat.read(folder / "page.ipynb", as_version=4), {
        file.name: file.read_text() for file in folder.iterdir()
    }


def test_a_page_shows_the_verdicts_of_the_ledger_as_it_is_now(small, monkeypatch):
    node, files = page(small)
    assert sorted(name for name in files if name.startswith("cell")) == ["cell3.html", "cell6.html"]
    shown = "".join(text for name, text in files.items() if name.startswith("cell"))
    assert "as it was then" not in shown
    before = shown.count('data-v="not-reproduced"')
    judge_by(monkeypatch, "0.9")
    after = "".join(text for name, text in page(small)[1].items() if name.startswith("cell"))
    assert after.count('data-v="not-reproduced"') > before
    assert "as it was then" in "".join(str(cell.get("outputs")) for cell in node.cells), (
        "other cells keep their outputs"
    )


def test_prose_is_todays_while_the_code_is_unchanged_and_the_executed_one_afterwards(small):
    source = small / "notebooks" / "01_ace.md"
    source.write_text(TEXT.replace("Some prose", "Better prose"))
    node, files = page(small)
    assert "Better prose" in node.cells[0].source
    assert "fresh" in files["cell3.html"]
    assert [cell.metadata.get("tags") for cell in node.cells if cell.cell_type == "code"] == [
        ["parameters", "hide-input"],
        ["injected-parameters", "hide-input"],
        ["hide-input"],
    ]
    source.write_text(TEXT.replace("Some prose", "Better prose").replace("1 + 1", "1 + 2"))
    node, files = page(small)
    assert "Some prose" in node.cells[0].source
    assert "stale" in files["cell3.html"] and "the notebook" in files["cell3.html"]


def test_a_page_and_its_downloads_name_no_folder_of_this_machine(small):
    _, files = page(small)
    assert files == page(small)[1], "the same bytes every time"
    assert {"ace.ipynb", "01_ace.md", "record.json", "page.ipynb"} <= set(files)
    assert not [name for name, text in files.items() if str(small) in text]
    assert "in runs" in files["ace.ipynb"]


@pytest.mark.parametrize(
    "source", ["x = run.card()", "run.card\n", "run.card(); run.card()", "other.card()", "run.section('one')"]
)
def test_only_a_single_call_of_a_known_verb_is_replaced(small, source):
    shown = generated.show(runner.chapter("ace"))
    assert generated.judged(nbformat.v4.new_code_cell(source), shown) == ""
    assert "cn-card" in generated.judged(nbformat.v4.new_code_cell("run.card()"), shown)


def test_a_cell_that_asks_for_folded_verdicts_gets_them_folded(small):
    shown = generated.show(runner.chapter("ace"))
    plain, folded = (
        generated.judged(nbformat.v4.new_code_cell(f"run.verdicts('Table I'{how})"), shown)
        for how in ("", ", folded=True")
    )
    assert folded.startswith("<details") and plain in folded and not plain.startswith("<details")


def test_without_an_execution_there_is_a_sentence_and_a_quick_one_is_shown_as_local(small):
    shutil.rmtree(small / "book" / "published")
    with pytest.raises(
        UserError, match=r"ace has no execution to show: run `causalnb run ace`, or `make book`"
    ):
        generated.write(small)
    publish(small, "runs/ace/quick")
    assert "none is published" in page(small)[0].cells[0].source


def test_only_stale_quick_runs_are_executed_and_the_end_says_which_and_how_often(small, monkeypatch, capsys):
    asked = []

    def executed(function, items):
        asked.extend(items)
        return [41.6 for _ in items]

    monkeypatch.setattr("causalnb.processes.map", executed)
    monkeypatch.setattr(site, "render", lambda root: root)

    def last(execute):
        book.build(execute=execute)
        return capsys.readouterr().err.splitlines()[-1].partition("; rendered in ")[0]

    assert last(True) == "executed ace once, 42 s"
    publish(small, "runs/ace/quick")
    assert last(True) == "executed nothing"
    assert asked == ["ace"]
    (small / "notebooks" / "01_ace.md").write_text(TEXT.replace("1 + 1", "1 + 2"))
    assert last(False) == "executed nothing"
    assert asked == ["ace"]
    assert last(True) == "executed ace once, 42 s"
    assert asked == ["ace", "ace"]
    publish(small, "book/published/ace/quick-cpu")
    assert last(True) == "executed nothing", "a fresh one that the book carries is not made again"
    assert asked == ["ace", "ace"]


def test_this_machine_stands_beside_the_published_execution_of_its_profile(small):
    one = runner.chapter("ace")
    assert "was not executed on this machine" in generated.machine(one)
    publish(small, "runs/ace/quick")
    assert "no execution at the profile quick is published" in generated.machine(one)
    publish(small, "runs/ace/laptop", **{"small.value": Estimate(0.9, 0.88, 0.92, 0.95)})
    told = generated.machine(one)
    assert "3 measurements: 2 the same, 1 different, 0 not comparable" in told
    assert "<li><code>small.value</code>: published 0.52, here 0.9</li>" in told and "prediction" not in told


def test_the_strips_that_explain_the_rule_are_judged_by_it():
    drawn = generated.worked()
    assert [word in drawn for word in ("✓", "✕", "◐")] == [True] * 3
    assert drawn.count("◐") == 2, "one too wide, one on the edge"


def test_every_row_stands_on_the_scorecard_and_controls_are_in_no_count(small):
    generated.write(small)
    made = small / "book" / "_generated"
    rows = (made / "rows.html").read_text()
    assert all(f'id="ace-{id}"' in rows for id in ("t1.a", "t1.b", "T1", "C1"))
    assert 'aria-label="2 printed cells: 1 reproduced, 1 not run"' in (made / "scorecard.html").read_text()


# The role -------------------------------------------------------------------------------------------------


def role(root, text):
    env = SimpleNamespace(
        docname="book/_generated/ace/page", srcdir=str(root), temp_data={}, note_dependency=lambda file: None
    )
    reporter = SimpleNamespace(error=lambda told, line: told)
    return extension.measured(
        "measured",
        "",
        text,
        3,
        SimpleNamespace(document=SimpleNamespace(settings=SimpleNamespace(env=env)), reporter=reporter),
    )


def test_a_number_in_prose_comes_from_the_record_of_its_chapter_or_of_the_named_one(small):
    generated.write(small)
    shown = {
        text: role(small, text)[0][0].astext()
        for text in ("small.value", "ace.small.value:.1f", "small.share:.1%")
    }
    assert [
        ">0.52<" in shown["small.value"],
        ">0.5<" in shown["ace.small.value:.1f"],
        ">25.0%<" in shown["small.share:.1%"],
    ] == [True] * 3
    assert ">0.25<" in role(small, "one in a few <ace.small.share:.2f>")[0][0].astext()
    assert role(small, "small.valeu") == ([], ["no record of this book has a measurement small.valeu"])


# The site -------------------------------------------------------------------------------------------------


def test_whatever_leads_nowhere_or_asks_the_network_is_found(tmp_path):
    (tmp_path / "b.html").write_text('<p id="there">x</p>')
    (tmp_path / "a.html").write_text(
        '<script src="https://cdn.example/x.js"></script><link rel="stylesheet" href="gone.css"><link '
        'rel="canonical" href="https://x.example/">'
        '<a href="https://doi.org/1">fine</a><a href="b.html#there">fine</a><a href="#top">x</a><a '
        'href="c.html">x</a><a href="b.html#here">x</a>'
        '<i id="i"></i><i id="i"></i><button popovertarget="p"></button><button popovertarget="i"></button>'
    )
    assert sorted(site.broken(tmp_path)) == [
        "a.html: #top has no such place",
        "a.html: b.html#here has no such place",
        "a.html: c.html leads nowhere",
        "a.html: gone.css leads nowhere",
        "a.html: https://cdn.example/x.js would be fetched",
        "a.html: id i stands twice",
        "a.html: popover p is missing",
    ]


def test_a_small_book_is_built_whole_strictly_and_without_ghosts(small, monkeypatch):
    """About ten seconds."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    shutil.copy(ROOT / "_config.yml", small)
    shutil.copytree(
        ROOT / "book",
        small / "book",
        dirs_exist_ok=True,
        ignore=shutil.ignore_patterns("_generated", "published"),
    )
    ghost = small / "_build" / "html" / "ghost.html"
    ghost.parent.mkdir(parents=True)
    ghost.write_text("boo")
    first = book.build(execute=False)
    html = (first.parent / "book" / "_generated" / "ace" / "page.html").read_text()
    assert first.is_file() and not ghost.exists()
    assert 'popovertarget="m-1">0.52<' in html and html.count('id="m-1"') == 1 and 'id="m-4"' not in html
    titles = re.findall(r'id="m-\d"><p><strong>(.*?)</strong>', html)
    assert titles == ["a thing", "a thing", "whether it stands"] and ">1<" in html
    assert re.search(r'<button[^>]*popovertarget="d-1">reading</button>, and', html)
    definition = re.search(r'<div popover class="cn-pop" id="d-1">(.*?)</div>', html)[1]
    assert (
        "<strong>reading</strong>" in definition and "what a paper" in definition and "{glossary}" not in html
    )
    assert "A number is given by a reading" in (first.parent / "book" / "glossary.html").read_text()
    texts = (first.parent / "_static" / "texts.js").read_text(encoding="utf-8")
    told = json.loads(texts.removeprefix("window.cnTexts = ").removesuffix(";\n"))
    assert "Some prose of one reading , and" in told["book/_generated/ace/page"] and "book/intro" in told
    assert 'role="list"' not in (first.parent / "book" / "references.html").read_text()
    assert "THEBE_JS_URL" not in html and "mathjax/tex-chtml-full.js" in html
    assert {Path(file).name for file in first.parent.rglob("_downloads/*/*")} == {
        "ace.ipynb",
        "01_ace.md",
        "record.json",
    }
    assert (
        "as it was then"
        in (first.parent / "_sources" / "book" / "_generated" / "ace" / "page.ipynb").read_text()
    ), "the executed notebook is offered"
    assert not [file for file in first.parent.rglob("*.html") if str(small) in file.read_text()]
    (small / "book" / "status.md").write_text("# Status\n\n{measured}`ace.small.valeu` and [x](nowhere.md)\n")
    with pytest.raises(UserError, match=r"(?s)The site has faults: book/status.md:3: .*small.valeu.*nowhere"):
        book.build(execute=False)


DEEP = '''
class Thing:
    """A thing."""

    size: int = 3
    _own: int = 4

    def act(self) -> None:
        """Act."""
        pass

def verb(x: int, *,
         y: int = 2) -> int:
    """Do it."""
    return x + y

def _hidden() -> None:
    """Not."""

def other() -> None: ...
'''


def test_the_page_of_functions_shows_signatures_and_docstrings_of_what_a_package_gives(tmp_path):
    (tmp_path / "pack").mkdir()
    (tmp_path / "pack" / "__init__.py").write_text(
        '"""A package.\n\nMore."""\nif TYPE_CHECKING:\n    from pack.deep import Thing, verb\n'
    )
    (tmp_path / "pack" / "deep.py").write_text(DEEP)
    begun = "```{code-block} python\n:class: cn-wrap\n\n"
    assert api.markdown(tmp_path, ("pack",)) == (
        f'## pack\n\nA package.\n\n### Thing\n\n{begun}class Thing:\n    """A thing."""\n    size: int = '
        "3\n\n"
        f'    def act(self) -> None:\n        """Act."""\n```\n\n'
        f'### verb\n\n{begun}def verb(x: int, *,\n         y: int = 2) -> int:\n    """Do it."""\n```\n'
    )


def test_the_toc_names_every_chapter_and_every_page_is_there():
    toc = (ROOT / "_toc.yml").read_text()
    names = [line.split(": ")[1] for line in toc.splitlines() if "book/" in line]
    written = [name for name in names if "_generated" not in name]
    assert all((ROOT / f"{name}.md").is_file() for name in written)
    assert sorted(f"book/{file.stem}" for file in (ROOT / "book").glob("*.md")) == sorted(written)
    chapters = [file.stem.partition("_")[2] for file in sorted((ROOT / "notebooks").glob("*.md"))]
    assert [name for name in names if "_generated" in name] == [
        f"book/_generated/{name}/page" for name in chapters
    ]


def test_the_offline_copy_of_mathjax_is_whole_and_small():
    folder = ROOT / "book" / "assets" / "mathjax"
    files = [file for file in folder.rglob("*") if file.is_file()]
    assert (folder / "LICENSE").is_file() and (folder / "tex-chtml-full.js").is_file()
    assert len([file for file in files if file.suffix == ".woff"]) == 23
    assert sum(file.stat().st_size for file in files) < 2_000_000


# What comes from elsewhere --------------------------------------------------------------------------------

HOSTILE = [
    "<script>alert(1)</script>",
    "`</code>`<b>",
    "x\n```\n```{raw} html\n<script>\n```\n````\n~~~",
    "x\n\n# A heading\n\n{measured}`small.value` $$x$$ <i>",
    "\x1b[2J\r\x00\x9b\u2028\u202e",
    "${x} $(touch hit) `touch hit`; touch hit",
    "y" * 300,
]
KNOWN_TAGS = set(re.findall(r"\w+", "p ul li b code table caption thead tbody tr th td span wbr"))
SAID = st.sampled_from(HOSTILE) | st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(name=SAID, id=SAID, other=SAID)
@example(name=HOSTILE[0], id=HOSTILE[2], other=HOSTILE[3])
@example(name=HOSTILE[2], id=HOSTILE[1], other=HOSTILE[4])
@example(name="bytes that are no text: \udcff", id="a", other="b")
def test_this_machine_is_headings_and_html_of_known_tags_whatever_runs_and_records_say(name, id, other):
    one = runner.Chapter("01", "ace", "A title", Path("none.md"))
    ours, theirs = (
        a_record("0", "laptop", **{id: Estimate(value)}).model_copy(
            update={"device": other, "environment": {"versions": {other: other}, "accelerator": id}}
        )
        for value in (0.1, 0.9)
    )
    run = runner.Executed(Path("runs") / name.replace("/", ":"), Path("none.ipynb"), ours)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runner, "local", lambda one: [run])
        patch.setattr(runner, "state", lambda run, one: runner.State("stale", (other, id)))
        for published in ([], [runner.Executed(Path("p"), Path("p"), theirs)]):
            patch.setattr(runner, "published", lambda one, published=published: published)
            source = generated.machine(one)
            source.encode()
            assert not console.CONTROL.search(source.replace("\n", ""))
            tokens = MarkdownIt("commonmark").parse(source)
            assert [token.type for token in tokens] == [
                "heading_open",
                "inline",
                "heading_close",
                "fence",
                "fence",
            ]
            assert {token.info for token in tokens[3:]} == {"{raw} html"}
            tags = {tag for token in tokens[3:] for tag in re.findall("<([a-zA-Z]+)", token.content)}
            assert tags <= KNOWN_TAGS


def test_the_head_of_a_page_shows_the_profile_and_the_date_as_text(small):
    shown = generated.show(runner.chapter("ace"))
    foreign = shown.run.record.model_copy(update={"profile": "<script>", "finished": "<b>x"})
    told = generated._head(SimpleNamespace(published=True, run=SimpleNamespace(record=foreign)))
    assert "&lt;script&gt;" in told and "<script>" not in told and "<b>" not in told


SPOILT = {
    "not json": lambda folder: (folder / "record.json").write_text("{"),
    "a profile of markup": lambda folder: altered(folder, profile="<script>"),
    "a schema from the future": lambda folder: altered(folder, schema_version=99),
    "a time that is none": lambda folder: altered(folder, finished="<b>soon</b>"),
    "a record that is a folder": lambda folder: swapped(folder / "record.json"),
    "a notebook that is none": lambda folder: (folder / "ace.ipynb").write_text("[]"),
    "a notebook that is a folder": lambda folder: swapped(folder / "ace.ipynb"),
    "a notebook without cells": lambda folder: emptied(folder / "ace.ipynb"),
    "a notebook that lacks cells": lambda folder: emptied(folder / "ace.ipynb", keep=1),
    "a logical result that is none": lambda folder: remeasured(folder, "small.check", 0.5),
}


def altered(folder, **fields):
    file = folder / "record.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | fields))


def remeasured(folder, id, value):
    content = json.loads((folder / "record.json").read_text())
    content["measurements"][id]["value"] = value
    (folder / "record.json").write_text(json.dumps(content))


def swapped(file):
    file.unlink()
    file.mkdir()


def emptied(file, keep=0):
    node = nbformat.read(file, as_version=4)
    node.cells = node.cells[:keep]
    nbformat.write(node, file)


@pytest.mark.parametrize("spoil", SPOILT.values(), ids=SPOILT)
def test_a_published_run_that_cannot_be_shown_is_told_in_a_line_and_another_is_shown(small, spoil, capsys):
    publish(small, "book/published/ace/gpu-cuda")
    spoil(small / "book" / "published" / "ace" / "gpu-cuda")
    shown = generated.show(runner.chapter("ace"))
    assert shown.run.folder.name == "laptop-cpu"
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 1 and told[0].startswith("left out: ") and "gpu-cuda" in told[0]


@pytest.mark.parametrize("spoil", list(SPOILT.values())[:5], ids=list(SPOILT)[:5])
def test_a_broken_run_stops_neither_the_status_nor_the_book(small, spoil, capsys, monkeypatch):
    publish(small, "runs/ace/quick")
    publish(small, "runs/ace/quick-2")
    spoil(small / "runs" / "ace" / "quick-2")
    (small / "runs" / "ace" / "a file.txt").write_text("")
    monkeypatch.setattr(sys, "argv", ["causalnb", "status"])
    with pytest.raises(SystemExit) as end:
        cli.main()
    shown = capsys.readouterr()
    assert end.value.code == 0
    assert [line.split(":")[0] for line in shown.out.splitlines()] == [
        "01 ace  published",
        "01 ace  this machine",
    ]
    assert len(shown.err.splitlines()) == 1 and "quick-2" in shown.err
    generated.write(small)
    told = (small / "book" / "_generated" / "machine.md").read_text()
    assert "ace/quick" in told and "quick-2" not in told


def test_no_line_of_a_terminal_obeys_a_record(small, capsys, monkeypatch):
    id = "small.\x1b[31mred\nsmall.value  0  0  same\x9b2J\u202e"
    publish(small, "runs/ace/laptop", **{id: Estimate(0.5)})
    altered(small / "runs" / "ace" / "laptop", parameters={"x": "\x1b]0;title\x07"}, data={"\x1b[1m": "a"})
    for words in (
        ("status",),
        ("judge", "runs/ace/laptop"),
        ("compare", "runs/ace/laptop", "book/published/ace/laptop-cpu"),
        ("judge", "runs/\x1b[31m"),
    ):
        monkeypatch.setattr(sys, "argv", ["causalnb", *words])
        with pytest.raises(SystemExit):
            cli.main()
        shown = capsys.readouterr()
        for line in (shown.out + shown.err).split("\n"):
            assert not console.CONTROL.search(line)
        if words[0] == "compare":
            assert (
                "small.\\x1b[31mred\\nsmall.value  0  0  same\\x9b2J\\u202e  0.5  -  -  not comparable"
                in shown.out
            )


def test_a_line_for_ipython_in_a_cell_stops_no_page(small):
    shown = generated.show(runner.chapter("ace"))
    assert generated.judged(nbformat.v4.new_code_cell("%matplotlib inline\nrun.card()"), shown) == ""


def test_a_format_that_is_none_is_told_where_it_stands(small):
    generated.write(small)
    assert role(small, "small.value:zz") == (
        [],
        ["zz is no format of a number: give one of Python's, for example .1%"],
    )


# The disk -------------------------------------------------------------------------------------------------


@pytest.fixture
def open_place():
    """A folder that everyone may enter, as pytest's own are not."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o777)
        yield Path(name)


def child(do, bytes_of_a_file=resource.RLIM_INFINITY):
    """What `do` tells in a forked child that gives up root's rights and whose files end at a size."""
    context = multiprocessing.get_context("fork")
    out, into = context.Pipe(duplex=False)

    def work():
        if os.geteuid() == 0:
            os.setuid(65534)
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_of_a_file, resource.RLIM_INFINITY))
        try:
            into.send(f"done: {do()}")
        except UserError as error:
            into.send(str(error))
        except BaseException as error:
            into.send(f"{type(error)}: {error}")

    process = context.Process(target=work)
    process.start()
    told = out.recv() if out.poll(120) else "nothing"
    process.join()
    return told


@pytest.fixture
def shared(small, open_place, monkeypatch):
    """The small book in a folder that everyone may read."""
    shutil.copytree(small, open_place / "b")
    for folder in [open_place / "b", *(open_place / "b").rglob("*")]:
        folder.chmod(0o755 if folder.is_dir() else 0o644)
    monkeypatch.chdir(open_place / "b")
    return open_place / "b"


def test_a_read_only_book_is_a_sentence(shared):
    one = runner.chapter("ace")
    run = runner.published(one)[0]
    for do in (
        lambda: generated.write(shared),
        lambda: runner.publish(run, one),
        lambda: site.render(shared),
    ):
        (shared / "_build" / "html").mkdir(parents=True, exist_ok=True)
        (shared / "book" / "_generated" / "old").mkdir(parents=True, exist_ok=True)
        told = child(do)
        assert re.search(r" cannot be (written|removed) \(Permission denied\): choose a place", told), told
        assert len(told.splitlines()) == 1
    assert runner.published(one)[0].record == run.record


@pytest.mark.parametrize("size", [0, 100, 1000])
def test_a_full_disk_is_a_sentence_and_what_is_published_stays(shared, size):
    one = runner.chapter("ace")
    run, before = runner.published(one)[0], sorted((shared / "book" / "published").rglob("*"))
    for folder in (shared / "book", *(shared / "book").rglob("*")):
        if folder.is_dir():
            folder.chmod(0o777)
    for do in (lambda: generated.write(shared), lambda: runner.publish(run, one)):
        assert "cannot be written (File too large): free space there" in child(do, size)
    assert runner.published(one)[0].record == run.record
    assert [file for file in before if not file.is_file() and not file.is_dir()] == []


def test_runs_that_may_not_be_entered_are_told_and_left_out(shared, capfd):
    one = runner.chapter("ace")
    publish(shared, "runs/ace/quick")
    publish(shared, "runs/ace/laptop")
    for folder in (shared / "runs", shared / "runs" / "ace", shared / "runs" / "ace" / "quick"):
        folder.chmod(0o755)
    (shared / "runs" / "ace" / "laptop").chmod(0)
    assert child(lambda: [run.folder.name for run in runner.local(one)]) == "done: ['quick']"
    assert re.search(r"left out: .*/laptop\S* cannot be read \(Permission denied\)", capfd.readouterr().err)
    (shared / "runs" / "ace").chmod(0)
    assert child(lambda: runner.local(one)) == "done: []"
    assert "cannot be read (Permission denied)" in capfd.readouterr().err


def test_old_pages_that_cannot_be_removed_are_told_and_no_ghost_stays(small):
    (small / "book" / "_generated").write_text("a file")
    with pytest.raises(UserError, match=r"_generated cannot be removed \(Not a directory\)"):
        generated.write(small)
