"""What is made for a page as a whole: a chapter's head, the landing list, the scorecard, the status, how to run it."""

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from causalnb import parameters
from causalnb.fragments import elements as ui
from causalnb.fragments.judged import counted, decimals_of, ours, size, strip_of
from causalnb.ledger import WORDS, Paper, Row, Verdict, counts, printed_cells
from causalnb.record import Record

KINDS = {"cell": "printed cells", "number": "numbers in the text", "claim": "claims", "figure": "figures", "erratum": "errata",
         "replay": "replays", "logic": "logical checks", "control": "our controls"}


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


def card(paper: Paper, verdicts: Sequence[Verdict], record: Record | None, now: Any) -> str:
    """The head of a chapter: the paper, what it claims, the verdicts on all its printed cells, the run and its `state`."""
    link = ui.tag("a", f"doi:{html.escape(paper.doi)}", href=f"https://doi.org/{paper.doi}") if paper.doi else ""
    cited = ui.tag("p", f"{ui.text(paper.authors)}. <cite>{ui.text(paper.title)}.</cite> {ui.text(paper.venue)}, {paper.year}. {link}", css="cn-cite")
    found = counts(printed_cells(verdicts))
    took = {"took": ui.duration(record.seconds), "images": str(record.parameters.get("n_images") or "")} if record else {}
    claimed = ui.tag("ol", "".join(ui.tag("li", ui.text(claim)) for claim in paper.claims))
    shown = ui.listed({**ui.run_facts(record), **took, "state": ui.state(now) if now else ""}, "cn-run")
    judged = ui.tag("div", ui.bar(found) + ui.key(found))
    return ui.tag("section", cited + claimed + judged + shown + ui.run_command(record), css="cn-card", aria_label="Paper and run")


def parts(chapters: Sequence[Part]) -> str:
    """The chapters, each with what it is about and the verdicts on its paper's printed cells; one key for all."""
    return ui.tag("ol", "".join(map(_part, chapters)), css="cn-parts") + ui.key()


def _part(one: Part) -> str:
    found = counts(printed_cells(one.verdicts))
    cited = ui.tag("span", ui.text(one.paper.short), css="cn-id") if one.paper else ""
    judged = ui.bar(found) + ui.key(found, short=True) if sum(found.values()) else ""
    about = f"{ui.tag('a', ui.text(one.title), href=one.href)} {cited}{ui.tag('p', ui.text(one.sentence))}"
    return ui.tag("li", ui.tag("span", ui.text(one.number), css="n") + ui.tag("div", about) + ui.tag("div", judged))


def matrix(chapters: Sequence[Part], kind: str = "cell") -> str:
    """Chapters against verdicts, for one kind of rows; a count leads to its rows."""
    lines = [(f"{ui.text(one.number)}&ensp;{ui.text(one.title)}<br>{ui.tag('span', ui.text(one.paper.short) if one.paper else '', css='cn-id')}", one.name,
              {word: sum(v.word == word and _kind(v.row) == kind for v in one.verdicts) for word in WORDS}) for one in chapters]
    total = {word: sum(of[word] for *_, of in lines) for word in WORDS}
    caption = f"<b>All {KINDS[kind]}.</b> A count leads to its rows."
    return ui.bar(total, KINDS[kind]) + ui.key(total) + counted("chapter", lines, caption, kind, total)


def _kind(row: Row) -> str:
    return "number" if row.kind == "cell" and not row.table else row.kind


def rows(chapters: Sequence[Part]) -> str:
    """Every row of every ledger with its verdict, and a form that filters them where there is script."""
    heads = ui.tr(ui.column("row", css="l"), *map(ui.column, ("printed", "ours", "interval", "n", "± tol")), ui.column("verdict", css="l"))
    body = "".join(_row(part, one) for part in chapters for one in part.verdicts)
    return ui.tag("div", _filter(chapters) + ui.table("cn-rows", "", thead=heads, tbody=body), id="all-rows")


def _row(chapter: Part, one: Verdict) -> str:
    row, (found, under) = one.row, ours(one)
    place = ui.tag("span", f"{ui.tag('a', ui.text(chapter.name), href=chapter.href)} · {ui.text(row.location)}", css="cn-id")
    shown = {"printed": ui.pretty(ui.text(row.printed)) if decimals_of(row) is not None else "", "ours": found, "interval": under, "n": size([one])}
    cells = [ui.td(content, data_col=name, css="" if content else "none") for name, content in shown.items()]
    return ui.tr(ui.head(f"{ui.text(row.statement)}<br>{place}"), *cells, ui.td(strip_of(one), css="st"), ui.td(ui.verdict(one.word), css="l"),
              id=f"{chapter.name}-{row.id}", data_v=ui.slug(one.word), data_paper=chapter.name, data_kind=_kind(row))


def _filter(chapters: Sequence[Part]) -> str:
    buttons = "".join(ui.tag("button", f"{ui.symbol(word)} {word}", type="button", data_v=ui.slug(word), aria_pressed="false") for word in WORDS)
    present = {_kind(one.row) for part in chapters for one in part.verdicts}
    kinds = {kind: name for kind, name in KINDS.items() if kind in present}
    chosen = _select("paper", "all chapters", {part.name: part.name for part in chapters}) + _select("kind", "all kinds", kinds)
    search = '<input name="text" type="search" placeholder="search rows" aria-label="Search rows"><output aria-live="polite"></output>'
    return ui.tag("form", buttons + chosen + search, css="cn-filter", hidden=True, aria_label="Filter the rows")


def _select(name: str, every: str, options: Mapping[str, str]) -> str:
    shown = '<option value="">' + every + "</option>" + "".join(ui.tag("option", ui.text(label), value=option) for option, label in options.items())
    return ui.tag("select", shown, name=name, aria_label=f"Of {every}")


def status(runs: Sequence[tuple[str, Record | None, Any]], caption: str = "") -> str:
    """Executions: what, date, profile, device, time, memory, and the `state` of each. caption: its first sentence is the message."""
    names = ("run", "profile", "device", "took", "memory", "state")
    body = ""
    for name, record, now in runs:
        facts = [*ui.run_facts(record).values(), ui.duration(record.seconds), f"{record.peak_memory / 1e9:.1f} GB"] if record else ["–"] * 5
        body += ui.tr(ui.head(ui.text(name)), *(ui.td(shown, data_col=label, css="l") for label, shown in zip(names, [*facts, ui.state(now)], strict=True)))
    return ui.table("cn-status", ui.message(caption), thead=ui.tr(*(ui.column(name, css="l") for name in ("chapter", *names))), tbody=body)


def run_box(chapter: str, model: type[parameters.Parameters]) -> str:
    """How to run a chapter: commands, then every parameter with its default and what it takes."""
    sets = {name: given["data"].replace(",", ", ") for name, given in model.profiles.items() if "data" in given}
    lines = {f"causalnb run {chapter} --profile {name}": f"{name}: {data}" for name, data in sets.items()}
    lines |= {f"causalnb convert {chapter} {chapter}.ipynb && papermill {chapter}.ipynb out.ipynb -k python3 -p seed 1": "plain papermill",
              f"from causalnb.chapters import {chapter}": "your own model"}
    names = ("parameter", "default", "allowed", "meaning")
    body = "".join(ui.tr(ui.head(ui.tag("code", name)), *(ui.td(ui.text(cell), css="l", data_col=label) for label, cell in zip(names[1:], rest, strict=True)))
                   for name, *rest in parameters.table(model))
    asked = ui.table("cn-asked", "", thead=ui.tr(*(ui.column(name, css="l") for name in names)), tbody=body)
    return ui.tag("div", "".join(ui.command(code, label) for code, label in lines.items()) + asked, css="cn-box")
