"""Pages and fragments made from records and ledgers, written to book/_generated/.

Every verdict is judged here anew, from the ledger as it is now and the record of the execution that is shown.
"""

import ast
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import causalnb
from causalnb import UserError, console, files, fragments, ledger, record, runner
from causalnb.book import api, launch, sweeps
from causalnb.fragments import wording as ui
from causalnb.fragments.judged import counted
from causalnb.parameters import parameters_of

if TYPE_CHECKING:
    from nbformat import NotebookNode

FOR_METHOD_USERS = (
    "causalnb.attacks",
    "causalnb.training",
    "causalnb.models",
    "causalnb.data",
    "causalnb.store",
    "causalnb.statistics",
)
EXAMPLES = ((0.3, -0.6, 1.2), (0.4, -1.9, 2.7), (1.2, 0.5, 1.9), (2.0, 1.3, 2.7))
"""Point, low and high, less the printed value, in tolerances: strips for the page that explains them."""
LARGEST = 40


@dataclass(frozen=True)
class Shown:
    """A chapter with the execution that its page shows, whether that one is published, and the verdicts on
    it.
    """

    chapter: runner.Chapter
    run: runner.Executed
    published: bool
    paper: ledger.Paper
    verdicts: Sequence[ledger.Verdict]
    state: runner.State
    page: "NotebookNode"

    @property
    def part(self) -> fragments.Part:
        """Its line in a list of chapters."""
        one, page = self.chapter, f"_generated/{self.chapter.name}/page.html"
        return fragments.Part(
            one.number.lstrip("0") or "0",
            one.name,
            one.title,
            page,
            self.paper.claims[0],
            self.paper,
            self.verdicts,
        )


def write(root: Path) -> None:
    """Write everything that the hand-written pages of the book at `root` include, and each chapter's page."""
    generated = root / "book" / "_generated"
    files.remove(generated)
    shown = [show(one) for one in runner.chapters().values()]
    for each in shown:
        _chapter(each, root, generated / each.chapter.name)
    parts = [each.part for each in shown]
    names = [f"causalnb.chapters.{each.chapter.name}" for each in shown]
    contents = {
        "parts.html": fragments.parts(parts),
        "commands.html": fragments.command("make book", "build these pages")
        + fragments.command("make test", "check them"),
        "worked.html": worked(),
        "scorecard.html": fragments.matrix(parts),
        "others.html": _others(shown),
        "rows.html": fragments.rows(parts),
        "status.html": _status(shown),
        "versions.html": "".join(
            f"<p>{ui.text(each.chapter.title)}</p>{fragments.versions(each.run.record)}" for each in shown
        ),
        "machine.md": "\n\n".join(machine(each.chapter) for each in shown),
        "sweeps.md": "\n\n".join(f"## {title}\n\n{_raw(content)}" for title, content in sweeps.told())
        or "No sweep was executed on this machine.",
        "api.md": api.markdown(Path(causalnb.__file__).parents[1], (*names, *FOR_METHOD_USERS)),
    }
    for name, content in contents.items():
        files.write(generated / name, content)


def show(one: runner.Chapter) -> Shown:
    """A chapter with its published execution of the largest profile, else this machine's quick run; one that
    cannot be shown is told in a line and left out.
    """
    rows, published = ledger.load(one.name), runner.published(one)
    for run in filter(None, (*published, runner.quick(one))):
        try:
            page, verdicts = current(one, run), ledger.judge(rows, run.record)
        except UserError as error:
            console.say(f"left out: {run.folder}: {error}")
            continue
        return Shown(one, run, run in published, rows.paper, verdicts, runner.state(run, one), page)
    raise UserError(
        f"{one.name} has no execution to show: run `causalnb run {one.name}`, or `make book`, which does."
    )


# A chapter's page -----------------------------------------------------------------------------------------


def _chapter(shown: Shown, root: Path, folder: Path) -> None:
    import nbformat

    one, node = shown.chapter, shown.page
    files.write(folder / f"{one.name}.ipynb", _without_places(nbformat.writes(node), root))
    for file in (one.source, shown.run.folder / "record.json"):
        with files.refusals(file, "read"):
            content = file.read_bytes()
        files.write(folder / file.name, content)
    (title, _, rest), top, cells = node.cells[0].source.partition("\n"), [_raw(_head(shown))], []
    for cell in node.cells[1:]:
        fragment, tags = judged(cell, shown), cell.metadata.get("tags", [])
        if fragment:
            files.write(folder / f"{cell.id}.html", fragment)
            cell = nbformat.v4.new_markdown_cell(_raw(f":file: {cell.id}.html"), id=cell.id)
        elif {"parameters", "injected-parameters"} & set(tags):
            which = "parameters" if "parameters" in tags else "parameters that were given"
            cell.metadata |= {
                "tags": [*tags, "hide-input"],
                "mystnb": {"code_prompt_show": f"Show the {which}", "code_prompt_hide": f"Hide the {which}"},
            }
        if "cn-card" in fragment:
            top.append(cell.source)
        else:
            cells.append(cell)
    node.cells[0].source = "\n\n".join([title, *top, rest])
    node.cells[1:] = cells
    taken = {
        f"{one.name}.ipynb": "this page as an executed notebook",
        one.source.name: "its text source",
        "record.json": "its record",
    }
    links = ", ".join(f"{{download}}`{what} <{name}>`" for name, what in taken.items())
    opened = launch.links(root, one, shown.run if shown.published else None)
    links += "".join(f"; [open it in {where}]({address})" for where, address in opened.items())
    node.cells.append(nbformat.v4.new_markdown_cell(f"Take it with you: {links}.", id="downloads"))
    files.write(folder / "page.ipynb", _without_places(nbformat.writes(node), root))


def current(one: runner.Chapter, run: runner.Executed) -> "NotebookNode":
    """The executed notebook with the chapter's prose as it is now, where its code cells are still those that
    ran.
    """
    node = _read(run.notebook)
    if runner.cells(one) == run.record.sources.get("notebook"):
        ran, cells = [cell for cell in node.cells if cell.cell_type == "code"], []
        for cell in runner.convert(one).cells:
            if cell.cell_type == "code":
                if not ran:
                    raise UserError(
                        f"{run.notebook} lacks cells that its record names: run the chapter again."
                    )
                cell.update(outputs=ran[0].outputs, execution_count=ran.pop(0).execution_count)
            cells.append(cell)
            while ran and "injected-parameters" in ran[0].metadata.get("tags", []):
                cells.append(ran.pop(0))
        node.cells = cells
    for at, cell in enumerate(node.cells):
        cell.id = f"cell{at}"
    return node


def _read(file: Path) -> "NotebookNode":
    """A notebook that begins with a text cell, as every chapter does."""
    import nbformat

    try:
        with files.refusals(file, "read"):
            node = nbformat.reads(file.read_text(encoding="utf-8"), as_version=4)
        nbformat.validate(node)
        if node.cells[0].cell_type != "markdown":
            raise ValueError("its first cell is no text")
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, nbformat.ValidationError) as error:
        raise UserError(
            f"{file} is no notebook of a chapter ({str(error).partition(chr(10))[0]:.200}): run the "
            "chapter again."
        ) from None
    return node


def judged(cell: "NotebookNode", shown: Shown) -> str:
    """What a cell that is one call of run.card(), run.verdicts(...), run.remarks() or run.commands() shows
    now, else nothing.
    """
    if cell.cell_type != "code":
        return ""
    made, name = shown.run.record, shown.chapter.name
    known: dict[str, Callable[..., str]] = {
        "card": lambda: fragments.card(shown.paper, shown.verdicts, made, shown.state),
        "remarks": lambda: fragments.remarks(ledger.load(name), made),
        "verdicts": lambda *rows, **how: fragments.verdicts(shown.verdicts, rows, made, **how),
        "commands": lambda: fragments.run_box(name, parameters_of(name)),
    }
    try:
        body = ast.parse(cell.source).body
    except (SyntaxError, ValueError):  # a line for IPython
        return ""
    match body:
        case [ast.Expr(ast.Call(ast.Attribute(ast.Name("run"), verb), given, how))] if verb in known:
            named = {each.arg or "": ast.literal_eval(each.value) for each in how}
            return known[verb](*map(ast.literal_eval, given), **named)
    return ""


def _raw(content: str) -> str:
    """HTML as Markdown that holds nothing else, whatever it says: its fence is longer than any run inside."""
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", content)), default=0))
    return f"{fence}{{raw}} html\n{content}\n{fence}"


def _head(shown: Shown) -> str:
    what = (
        "the published execution"
        if shown.published
        else "an execution on the machine that built this page, as none is published"
    )
    return fragments.shows(what, shown.run.record)


def _without_places(source: str, root: Path) -> str:
    """The text of a file without the folders of the machine that made it."""
    return source.replace(f"{root}/", "").replace(f"{Path.home()}/", "~/")


# Pages about all chapters ---------------------------------------------------------------------------------


def worked() -> str:
    """Strips drawn for explanation, each with the verdict that the rule of printed cells gives it and what it
    reads.
    """
    lines = []
    for point, low, high in EXAMPLES:
        holds, _ = ledger.CellRule.decide(point, low, high, 1.0)
        word = "undecided" if holds is None else "reproduced" if holds else "not reproduced"
        told = ui.pretty(f"ours at {point:+g} tol, interval from {low:+g} to {high:+g} tol")
        drawn = ui.td(fragments.strip(point, low, high, 0.0, 1.0), style="width:9rem")
        lines.append(
            ui.tr(
                ui.head(told),
                drawn,
                ui.td(fragments.verdict(word), css="l"),
                data_v=ui.slug(word),
                style="--k:2",
            )
        )
    return ui.table(
        "", "<b>Four strips, drawn to explain them.</b> They are no measurements.", tbody="".join(lines)
    )


def _others(shown: Sequence[Shown]) -> str:
    """Verdicts on what is no printed cell of a table, by kind."""
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for one in (verdict for each in shown for verdict in each.verdicts):
        found["number" if one.row.kind == "cell" and not one.row.table else one.row.kind][one.word] += 1
    lines = [
        (name, "", found[kind]) for kind, name in fragments.KINDS.items() if kind in found and kind != "cell"
    ]
    return counted("what", lines, "<b>All other rows.</b>")


def _status(shown: Sequence[Shown]) -> str:
    listed = []
    for each in shown:
        name, runs = f"{each.part.number} {each.chapter.name}", runner.published(each.chapter)
        listed += [(name, run.record, runner.state(run, each.chapter)) for run in runs] or [
            (f"{name}, this machine", each.run.record, each.state)
        ]
    return fragments.status(
        listed,
        "What was executed. A page shows the largest published execution; where none is published, this "
        "machine's quick one.",
    )


def machine(one: runner.Chapter) -> str:
    """This machine's executions of a chapter, each beside the published one of the same profile, as
    Markdown.
    """
    runs = runner.local(one)
    if not runs:
        return f"## {one.title}\n\nThis chapter was not executed on this machine."
    table = fragments.status(
        [
            (f"{one.name}/{console.plain(run.folder.name)}", run.record, runner.state(run, one))
            for run in runs
        ],
        "Executions on this machine.",
    )
    published: dict[str, record.Record] = {
        run.record.profile: run.record for run in reversed(runner.published(one))
    }
    compared = [_raw(_compared(run, published)) for run in runs]
    return "\n\n".join([f"## {one.title}", _raw(table), *compared])


def _compared(run: runner.Executed, published: dict[str, record.Record]) -> str:
    name, profile = console.plain(run.folder.name), run.record.profile
    if profile not in published:
        told = f"stands alone: no execution at the profile {profile} is published."
        return fragments.beside(name, told, [])
    rows = record.compare(published[profile], run.record)
    words = [row.word for row in rows]
    told = (
        f"beside the published execution at that profile, {len(rows)} measurements: "
        f"{words.count('same')} the same, "
        f"{words.count('different')} different, {words.count('not comparable')} not comparable (only one has "
        "them, or the data differ)."
    )
    apart = [
        (
            bool(row.expected),
            -abs(b.value - a.value),
            row.id,
            f"{a.value:.6g}",
            f"{b.value:.6g}",
        )
        for row in rows
        if row.word == "different" and (a := row.first) and (b := row.second)
    ]
    lines = [
        (*line, ", inside the 95 % prediction interval" * expected)
        for expected, _, *line in sorted(apart)[:LARGEST]
    ]
    if len(apart) > LARGEST:
        told += f" The {LARGEST} largest differences follow; `causalnb compare` lists all {len(apart)}."
    return fragments.beside(name, told, lines)
