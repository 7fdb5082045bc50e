"""What is made for a page as a whole: a chapter's head, the landing list, the scorecard, the status, how to
run it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from causalnb import parameters
from causalnb.fragments import wording as ui
from causalnb.fragments.judged import decimals_of, strip_of
from causalnb.ledger import WORDS, Paper, Row, Verdict, counts, printed_cells

KINDS = {
    "cell": "printed cells",
    "number": "numbers in the text",
    "claim": "claims",
    "figure": "figures",
    "erratum": "errata",
    "replay": "replays",
    "logic": "logical checks",
    "table": "whole tables",
    "control": "our controls",
}


@dataclass(frozen=True)
class Part:
    """A chapter among others: its number and name, where its page is, and what came out."""

    number: str
    name: str
    title: str
    href: str
    sentence: str
    paper: Paper | None
    verdicts: Sequence[Verdict]


def matrix(chapters: Sequence[Part]) -> str:
    """Chapters against verdicts, for printed cells; a count leads to its rows."""
    lines = [(ui.component("named")(one), one.name, counts(printed_cells(one.verdicts))) for one in chapters]
    return ui.component("matrix")(lines, {word: sum(of[word] for *_, of in lines) for word in WORDS})


def kind_of(row: Row) -> str:
    """The kind of a row, where a cell that stands in no table is a number in the text."""
    return "number" if row.kind == "cell" and not row.table else row.kind


def groups(part: Part) -> dict[str, list[Verdict]]:
    """The rows of a chapter: whole tables, the cells of each printed table, then kind by kind."""
    found: dict[str, list[Verdict]] = {KINDS["table"]: []}
    for one in sorted(part.verdicts, key=lambda one: list(KINDS).index(kind_of(one.row))):
        found.setdefault(one.row.table.table if one.row.table else KINDS[kind_of(one.row)], []).append(one)
    return {name: verdicts for name, verdicts in found.items() if verdicts}


def told_of(verdicts: Sequence[Verdict]) -> list[str]:
    """The columns that at least one of these rows has something for."""
    has = {
        "printed": any(decimals_of(one.row) is not None for one in verdicts),
        "ours": any(one.readings for one in verdicts),
        "± tol": any(map(strip_of, verdicts)),
    }
    return [name for name, some in has.items() if some]


def rows(chapters: Sequence[Part]) -> str:
    """Every row of every ledger with its verdict, by chapter and table, and a form that filters them where
    there is script.
    """
    present = {kind_of(one.row) for part in chapters for one in part.verdicts}
    names = {part.name: part.name for part in chapters}
    return ui.component("rows")(
        chapters, names, {kind: name for kind, name in KINDS.items() if kind in present}
    )


def run_box(chapter: str, model: type[parameters.Parameters]) -> str:
    """How to run a chapter: commands, then every parameter with its default and what it takes."""
    sets = {
        name: given["data"].replace(",", ", ") for name, given in model.profiles.items() if "data" in given
    }
    commands = {
        f"causalnb run {chapter} --profile {name}": f"{name}: {data}" for name, data in sets.items()
    } | {
        f"causalnb convert {chapter} {chapter}.ipynb && papermill {chapter}.ipynb out.ipynb -k python3 -p "
        "seed 1": "plain papermill",
        f"from causalnb.chapters import {chapter}": "your own model",
    }
    return ui.component("run_box")(commands, parameters.table(model))


ui.environment().filters |= {each.__name__: each for each in (kind_of, groups, told_of)}
