"""Rows with their verdicts: the strip, a printed table done again, claims, errata, checks, readings."""

import html
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any

from causalnb.fragments import elements as ui
from causalnb.ledger import SYMBOLS, WORDS, ClaimRule, Row, Verdict, counts, printed_cells, read_printed
from causalnb.record import Record
from causalnb.statistics import Estimate

EDGE = 2.9
"""Strips end at three tolerances to either side; what lies farther is drawn here, as an arrow."""
CELL = ("In a cell, from the top: printed; ours, or how many of the readings tried are inside; the interval, or the range of the readings; "
        "and all on the scale of the tolerance (grey band, printed ± tol; dot and line, ours; a stroke for each of many readings).")


def strip(point: float, low: float, high: float, printed: float, tol: float) -> str:
    """Printed +- tol as a grey band, ours as a dot with its interval, on a scale of three tolerances to either side."""
    x, a, b = (min(EDGE, max(-EDGE, (x - printed) / tol)) for x in (point, low, high))
    return ui.tag("span", css="cn-strip" + " lo" * (x == -EDGE) + " hi" * (x == EDGE), aria_hidden="true", style=f"--x:{x:.2f};--a:{a:.2f};--b:{b:.2f}")


def strokes(points: Sequence[float]) -> str:
    """The same for many readings of one cell: a stroke for each, at its distance from the printed value in tolerances."""
    path = "".join(f"M{x:g} 0v1" for x in sorted({round(x, 2) for x in points if abs(x) <= EDGE}))
    drawn = f'<path vector-effect="non-scaling-stroke" d="{path}"/>'
    svg = ui.tag("svg", drawn, viewBox="-3 0 6 1", width=90, height=9, preserveAspectRatio="none", stroke="currentColor", fill="none")
    return ui.tag("span", svg, css="cn-strip many" + " lo" * (min(points) < -EDGE) + " hi" * (max(points) > EDGE), aria_hidden="true")


def strip_of(one: Verdict) -> str:
    """The strip of a row that has a printed number and a tolerance, else nothing."""
    drawn = [(reading.tol, *_scaled(one.row, reading.estimate)) for reading in one.readings if reading.tol]
    if not drawn:
        return ""
    printed, (tol, *first) = read_printed(one.row.printed)[0], drawn[0]
    return strokes([(point - printed) / tol for tol, point, *_ in drawn]) if len(drawn) > 1 else strip(*first, printed, tol)


def _scaled(row: Row, estimate: Estimate) -> tuple[float, float, float]:
    """Point, low and high in the printed unit; where there is no interval, the point three times."""
    point, low, high = (estimate.value if x is None else x for x in (estimate.value, estimate.low, estimate.high))
    scale = row.scale(estimate.unit)
    return point * scale, low * scale, high * scale


def ours(one: Verdict) -> tuple[str, str]:
    """Ours and what stands under it: a value and its interval, or how many readings are inside and their range."""
    points = _points(one)
    if not points:
        return ("not run" if one.word == "not run" else "no value"), ""
    decimals = decimals_of(one.row)
    if len(points) > 1:
        inside = f"{sum(r.word == 'reproduced' for r in one.readings)} of {len(points)}"
        beside = one.word in ("transferred", "not run")
        return f"{len(points)} values" if beside else inside, ui.ends(points[0], points[-1], decimals if points[-1] < 10 else None)
    first = one.readings[0].estimate
    if first.method == "logic":
        return "holds" if first.value else "fails", ""
    point, low, high = _scaled(one.row, first)
    return ui.value(point, decimals), "" if first.low is None else ui.ends(low, high, decimals)


def decimals_of(row: Row) -> int | None:
    """How many decimals are printed; None where no number is."""
    try:
        read_printed(row.printed)
    except ValueError:
        return None
    return len(row.printed.strip(" %").partition(".")[2])


def _points(one: Verdict) -> list[float]:
    """The readings' values in the printed unit, ascending."""
    return sorted(_scaled(one.row, reading.estimate)[0] for reading in one.readings)


def size(verdicts: Iterable[Verdict]) -> str:
    """The sample size of all readings, or its range."""
    return ui.sample([r.estimate for one in verdicts for r in one.readings])["n"]


def _notes(verdicts: Iterable[Verdict], record: Record | None) -> str:
    return ui.notes((_note(one, record) for one in verdicts), "cn-cells")


def _note(one: Verdict, record: Record | None) -> str:
    """Everything behind a row's verdict: both numbers, the rule, every reading counted, and where they come from."""
    row, points = one.row, _points(one)
    found = f"{ui.value(points[0])} to {ui.value(points[-1])}, {len(points)} readings" if points else ""
    if len(points) == 1:
        first = one.readings[0].estimate
        found = ui.with_interval(first, row.scale(first.unit), decimals_of(row), row.unit)
    return ui.popover(f"n-{row.id}", ui.text(row.statement), {
        "where": ui.text(row.location), "printed": ui.text(row.printed), "rule": _rule(one), "ours": found,
        **ui.sample([r.estimate for r in one.readings]), "verdict": ui.verdict(one.word), "because": ui.text(one.reason), "note": ui.text(row.note),
        "changed": "the rule changed after the run" if one.changed else "", "pilot": "an earlier pilot informed the rule" if row.pilot else "",
        "measured as": _measured(row)}, record)


def _measured(row: Row) -> str:
    return ", ".join(ui.tag("code", html.escape(pattern)) for pattern in row.decided_by.measurements)


def _rule(one: Verdict) -> str:
    rule, row = one.row.rule, one.row
    if isinstance(rule, ClaimRule):
        than = " and ".join(f"{end:g}" for end in (rule.than if isinstance(rule.than, tuple) else (rule.than,)))
        return f"{html.escape(rule.relation)} {ui.pretty(than)}, margin {rule.margin:g}, over the whole {100 * row.level:.4g} % interval. {ui.text(rule.why)}"
    if row.tol:
        tols = [ui.value(tol, (decimals_of(row) or 0) + 1) for tol in sorted(r.tol for r in one.readings if r.tol)]
        return f"printed ± {ui.spread(tols) or 'tol'}. {ui.text(row.tol.why)}"
    return ""


# A printed table, and counts of readings -------------------------------------------------------------------------


def grid(verdicts: Sequence[Verdict], record: Record | None) -> str:
    """One printed table done again: in each cell printed, ours, interval and strip; pressed, its provenance."""
    at = {(p.row, p.group, p.column): one for one in verdicts if (p := one.row.table)}
    places = list(dict.fromkeys((group, name) for _, group, name in at))
    groups = {group: len(list(members)) for group, members in groupby(places, key=lambda place: place[0])}
    heads = ui.tr(ui.td(), *(ui.column(ui.text(group), scope="colgroup", colspan=wide) for group, wide in groups.items())) if any(groups) else ""
    heads += ui.tr(ui.td(), *(ui.column(ui.text(name)) for _, name in places))
    body = "".join(ui.tr(ui.head(ui.text(row)), *(_cell(at.get((row, *place)), place) for place in places)) for row in dict.fromkeys(row for row, _, _ in at))
    shared = ", ".join(filter(None, [size(verdicts) and f"n = {size(verdicts)}", *ui.run_facts(record).values()])) or "Not run"
    foot = ui.tag("p", f"{shared}. Press a cell for its provenance.", css="cn-foot")
    caption = f"<b>{ui.text(next(p.table for one in verdicts if (p := one.row.table)))}, done again.</b> {CELL}"
    return ui.table("cn-grid", caption, thead=heads, tbody=body) + ui.key(counts(verdicts)) + foot + _notes(at.values(), record)


def _cell(one: Verdict | None, place: tuple[str, str]) -> str:
    if one is None:
        return ui.td()
    found, under = ours(one)
    printed = ui.tag("span", ui.unseen("printed ") + ui.pretty(ui.text(one.row.printed)), css="cn-pr")
    pressed = ui.tag("span", ui.symbol(one.word) + ui.number(found.replace(" of ", "/"), f"n-{one.row.id}", "ours "), css="cn-o")
    below = ui.tag("small", ui.unseen("from ") + under) if under else ""
    return ui.td(printed + pressed + below + strip_of(one) + ui.unseen(one.word), data_col="\n".join(filter(None, place)), data_v=ui.slug(one.word))


def readings(verdicts: Sequence[Verdict]) -> str:
    """Every reading that was tried, against how many of the printed cells it reproduces."""
    found = [(_name(one.row, r.id), r.word) for one in printed_cells(verdicts) for r in one.readings]
    depth = min((len(name) for name, _ in found), default=1)
    tally = Counter((".".join(name[:depth]), word) for name, word in found)
    lines = [(ui.tag("code", html.escape(name)), name, {word: tally[name, word] for word in WORDS}) for name in sorted({name for name, _ in tally})]
    return counted("reading", lines, "<b>Every reading that was tried, against the printed cells.</b> None is chosen because it fits.")


def _name(row: Row, id: str) -> list[str]:
    """The parts of a measurement's id that stand for the last * of the row's pattern."""
    for pattern in row.decided_by.measurements:
        if before := re.match(".*".join(map(re.escape, pattern.rpartition("*")[0].split("*"))), id):
            return id[before.end():].split(".")
    return [id]


def counted(what: str, lines: Iterable[tuple[str, str, Mapping[str, int]]], caption: str, kind: str = "", total: Mapping[str, int] | None = None) -> str:
    """A line of counts of the six verdicts for each of `lines`: its name, its key, its counts. With a kind of rows, counts lead to them."""
    def line(name: str, key: str, of: Mapping[str, int]) -> str:
        cells = [_count(of[word], word, kind and f"{key} {kind} {ui.slug(word)}") for word in WORDS]
        return ui.tr(ui.head(name), ui.td(str(sum(of.values())), data_col="all"), *cells)

    heads = ui.tr(ui.column(what, css="l"), ui.column("all"), *(ui.column(f"{ui.symbol(word)}<br>{word}", data_v=ui.slug(word)) for word in WORDS))
    return ui.table("cn-matrix", caption, thead=heads, tbody="".join(line(*one) for one in lines), tfoot=line("Total", "", total) if total else "")


def _count(n: int, word: str, wanted: str) -> str:
    link = ui.tag("a", str(n), href="#all-rows", data_filter=wanted, aria_label=f"{n} {word}: show these rows") if wanted and n else str(n)
    return ui.td(link if n else ui.tag("span", "0", css="z"), data_col=SYMBOLS[word], data_v=ui.slug(word))  # type: ignore[index]


# Claims, errata, checks ------------------------------------------------------------------------------------------


def claims(verdicts: Sequence[Verdict], record: Record | None) -> str:
    """Claims in the paper's words, each with what was measured for it, part by part, and the verdicts."""
    blocks = []
    for quote, parts in groupby(verdicts, key=lambda one: one.row.quote and (one.row.quote, one.row.location)):
        said = ui.tag("p", f"{ui.tag('q', ui.text(quote[0]))} {ui.tag('span', ui.text(quote[1]), css='cn-id')}") if quote else ""
        blocks.append(ui.tag("li", said + "".join(map(_claim, parts))))
    return ui.tag("ol", "".join(blocks), css="cn-claims") + _notes(verdicts, record)


def _claim(one: Verdict) -> str:
    found, under = ours(one)
    row, n, many = one.row, size([one]), len(one.readings) > 1
    printed = f"printed {ui.pretty(ui.text(row.printed))}, ours " if decimals_of(row) is not None else ""
    below = (f", from {under.replace(', ', ' to ')}" if many else f" [{under}]") if under else "" if one.readings else f": {ui.text(one.reason)}"
    effect = printed + ui.number(found + " readings" * (" of " in found), f"n-{row.id}") + below + (f", n = {n}" if n else "")
    place = "" if row.quote else ui.tag("span", f" {ui.text(row.location)}", css="cn-id")
    told = ui.tag("div", ui.text(row.statement) + place + ui.tag("span", effect + strip_of(one), css="e"))
    return ui.tag("div", _label(row) + told + ui.verdict(one.word), css="part", id=row.id, data_v=ui.slug(one.word))


def _label(row: Row) -> str:
    return ui.tag("span", re.sub(r"^(claim|erratum|control)\.", "", row.id).replace(".", ".<wbr>"), css="cn-id")


def errata(verdicts: Sequence[Verdict]) -> str:
    """What does not hold as printed, each with what holds and the check that shows it."""
    return ui.tag("div", "".join(map(_erratum, verdicts)), css="cn-errata")


def _erratum(one: Verdict) -> str:
    row = one.row
    pairs = {"printed": ui.tag("q", ui.text(row.quote)) if row.quote else ui.text(row.printed), "holds": ui.text(row.holds),
             "shown by": f"{_measured(row)} {ui.verdict(one.word)} {ui.text(one.reason)}".strip(), "note": ui.text(row.note)}
    first = _label(row) + ui.tag("span", ui.text(row.location), css="cn-id") + ui.tag("span", ui.text(row.statement))
    return ui.tag("details", ui.tag("summary", first) + ui.listed(pairs), id=row.id)


def check(one: Any) -> str:
    """A line after a step of a derivation. one: .what was compared, its .value, the .bound, whether it .holds, .n."""
    word = "reproduced" if one.holds else "not reproduced"
    sign = "&lt;" if one.value < one.bound else "=" if one.value == one.bound else "&gt;"
    told = f"{ui.text(one.what)}: {ui.pretty(f'{one.value:.2g}')} {sign} {ui.pretty(f'{one.bound:.2g}')}" + (f"; n = {one.n}" if one.n else "")
    return ui.tag("p", f"{ui.verdict(word)}&ensp;{told}", css="cn-check", data_v=ui.slug(word))


def verdicts(judged: Sequence[Verdict], selection: Sequence[str], record: Record | None) -> str:
    """The verdicts on the selected rows; all of them, where nothing is selected.

    selection  printed tables ("Table I"), kinds ("claim", "erratum", "control", ...), families, or "readings"
    """
    shown = []
    for name in selection or dict.fromkeys(one.row.table.table if one.row.table else one.row.kind for one in judged):
        chosen = judged if name == "readings" else _chosen(judged, ui.slug(name))
        if name == "readings":
            shown.append(readings(chosen))
        elif chosen[0].row.kind == "erratum":
            shown.append(errata(chosen))
        else:
            shown.append((grid if chosen[0].row.table else claims)(chosen, record))
    return "".join(shown)


def _chosen(judged: Sequence[Verdict], name: str) -> list[Verdict]:
    """The cells of the table of that name, else the rows of that kind that stand in no table, else those of that family."""
    cells = [one for one in judged if one.row.table and ui.slug(one.row.table.table) == name]
    others = [one for one in judged if not one.row.table]
    found = cells or [one for one in others if one.row.kind == name] or [one for one in others if ui.slug(one.row.family) == name]
    if not found:
        raise ValueError(f"no row has a table, kind or family named {name}")
    return found
