"""Rows with their verdicts: the strip, a printed table done again, claims, errata; and what is told of
each.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from os.path import commonprefix
from typing import Any

from markupsafe import Markup

from causalnb.fragments import wording as ui
from causalnb.ledger import (
    WORDS,
    ClaimRule,
    Ledger,
    Limits,
    ReadingVerdict,
    Row,
    TableRule,
    Verdict,
    read_printed,
    wild,
)
from causalnb.record import Record
from causalnb.statistics import Estimate, Interval

# Strips end at three tolerances to either side; what lies farther is drawn here, as an arrow.
EDGE = 2.9
FEW = 4  # readings in sight
SOME = 3  # claims that are worth a fold

counted, errata = map(ui.component, ("counted", "errata"))


def compared(check: Any) -> str:
    """What a check compares, its value and its bound."""
    sign = "<" if check.value < check.bound else "=" if check.value == check.bound else ">"
    return f"{check.what}: {check.value:.2g} {sign} {check.bound:.2g}"


def strip(point: float, low: float, high: float, printed: float, tol: float) -> str:
    """Printed +- tol as a grey band, ours as a dot with its interval, on a scale of three tolerances to
    either side.
    """
    return ui.component("strip")(
        *(min(EDGE, max(-EDGE, (x - printed) / tol)) for x in (point, low, high)), EDGE
    )


def strokes(points: Sequence[float]) -> str:
    """The same for many readings of one cell: a stroke for each, at its distance from the printed value in
    tolerances.
    """
    path = "".join(f"M{x:g} 0v1" for x in sorted({round(x, 2) for x in points if abs(x) <= EDGE}))
    return ui.component("strokes")(path, min(points) < -EDGE, max(points) > EDGE)


def strip_of(one: Verdict) -> str:
    """The strip of a row that has a printed number and a tolerance, else nothing."""
    readings = one.readings if (bounded := _bounded(one)) is None else [bounded]
    drawn = [(reading.tol, *_scaled(one.row, reading.estimate)) for reading in readings if reading.tol]
    if not drawn:
        return ""
    printed, (tol, point, low, high) = read_printed(one.row.printed)[0], drawn[0]
    return (
        strokes([(x - printed) / tol for tol, x, *_ in drawn])
        if len(drawn) > 1
        else strip(point, low, high, printed, tol)
    )


def _scaled(row: Row, estimate: Estimate) -> Interval:
    """Point, low and high in the printed unit; where there is no interval, the point three times."""
    scale = row.scale(estimate.unit)
    point, low, high = (scale * x for x in estimate.interval)
    return point, low, high


def ours(one: Verdict) -> tuple[str, str]:
    """Ours and what stands under it: a value and its interval, or how many readings are inside and their
    range.
    """
    points, decimals = _points(one), decimals_of(one.row)
    if not points:
        return ("not run" if one.word == "not run" else "no value"), ""
    bounded = _bounded(one)
    if len(points) > 1 and bounded is None:
        inside = f"{sum(r.word == 'reproduced' for r in one.readings)} of {len(points)}"
        beside = one.word in ("transferred", "not run")
        return f"{len(points)} values" if beside else inside, ui.ends(
            points[0], points[-1], decimals if points[-1] < 10 else None
        )
    first = (bounded or one.readings[0]).estimate
    if first.method == "logic":
        return "holds" if first.value else "fails", ""
    point, low, high = _scaled(one.row, first)
    return ui.value(point, decimals), "" if first.low is None else ui.ends(low, high, decimals)


def _bounded(one: Verdict) -> ReadingVerdict | None:
    """Of a printed count its reading with bounds, which holds what every other one can be."""
    bounded = (reading for reading in one.readings if reading.estimate.method == "bounds")
    return next(bounded, None) if one.row.kind == "cell" else None


def decimals_of(row: Row) -> int | None:
    """How many decimals are printed; None where no number is. A count of n is a share, to the count."""
    try:
        read_printed(row.printed)
    except ValueError:
        return None
    counted, _, of = row.printed.partition("/")
    return len(of) - 1 + (of.strip("0") != "1") if of else len(counted.strip(" %").partition(".")[2])


def _points(one: Verdict) -> list[float]:
    """The readings' values in the printed unit, ascending."""
    return sorted(_scaled(one.row, reading.estimate)[0] for reading in one.readings)


def size(verdicts: Iterable[Verdict]) -> str:
    """The sample size of all readings, or its range."""
    return ui.sample([r.estimate for one in verdicts for r in one.readings])["n"]


def remark(one: Verdict) -> str:
    """Said beside a claim where its placebo holds as well, so that the claim says nothing of its cause."""
    if one.placebo is None or not one.placebo.met:
        return ""
    met, holding = len(one.placebo.met), len(one.placebo.holding)
    return "not specific" if met == holding else f"{met} of {holding} not specific"


def facts(one: Verdict) -> dict[str, str]:
    """Everything behind a row's verdict: both numbers, the rule, every reading counted, and where they come
    from.
    """
    row, points, beside = one.row, _points(one), one.placebo
    found = f"{ui.value(points[0])} to {ui.value(points[-1])}, {len(points)} readings" if points else ""
    if len(points) == 1:
        first = one.readings[0].estimate
        found = ui.component("with_interval")(first, row.scale(first.unit), decimals_of(row), row.unit)
    return {
        "where": ui.text(row.location),
        "printed": ui.text(row.printed),
        "ours": Markup(found),
        "verdict": ui.component("verdict")(one.word),
        "because": ui.text(one.reason),
        **_nearest(one),
        "placebo": ui.component("beside_placebo")(beside.verdict, remark(one)) if beside else "",
        "not specific": _named(row, beside.met) if beside else "",
        "without a placebo": _named(row, beside.lacking) if beside else "",
        "rule": _rule(one),
        **ui.sample([r.estimate for r in one.readings]),
        "note": ui.text(row.note),
        "changed": "the rule changed after the run" if one.changed else "",
        "pilot": "an earlier pilot informed the rule" if row.pilot else "",
        "edition": f"the rule was written after edition {row.after[-1]} was seen" if row.after else "",
        "measured as": measured(row),
    }


def _nearest(one: Verdict) -> dict[str, str]:
    """Of many readings those inside, and where there are none the nearest ones."""
    inside = [reading.id for reading in one.readings if reading.word == "reproduced"]
    if len(one.readings) < 2 or inside:
        told = "holds in" if isinstance(one.row.rule, ClaimRule) else "inside"
        return {told: _named(one.row, inside)} if len(one.readings) > 1 else {}
    far = sorted((abs(one.row.off(r.estimate)[0]) / r.tol, r.id) for r in one.readings if r.tol)
    return {"nearest": _named(one.row, [id for _, id in far[:3]])}


def _named(row: Row, ids: Sequence[str]) -> str:
    """The first few readings of a row, by what tells them apart."""
    parts = [next(filter(None, (wild(p, id) for p in row.patterns)), (id,)) for id in ids[:FEW]]
    names = [
        f"`{' '.join(part.strip('-.') for part in sorted(one, key=len)[::-1] if part)}`" for one in parts
    ]
    return ui.text(", ".join(names) + (f" and {len(ids) - FEW} more" if ids[FEW:] else ""))


def measured(row: Row) -> str:
    """The patterns of the measurements that decide a row."""
    return ui.text(", ".join(f"`{pattern}`" for pattern in row.decided_by.measurements))


def _rule(one: Verdict) -> str:
    rule, row = one.row.rule, one.row
    if isinstance(rule, ClaimRule):
        than = " and ".join(
            f"{end:g}" for end in (rule.than if isinstance(rule.than, tuple) else (rule.than,))
        )
        told = (
            f"{rule.relation} {than}, margin {rule.margin:g}, over the whole {100 * row.level:.4g} % "
            "interval. "
        )
        return ui.pretty(told) + ui.text(rule.why)
    if row.tol:
        tols = [
            ui.value(tol, (decimals_of(row) or 0) + 1) for tol in sorted(r.tol for r in one.readings if r.tol)
        ]
        return Markup(f"printed ± {ui.spread(tols) or 'tol'}. ") + ui.text(row.tol.why)
    return ui.text(rule.why) if isinstance(rule, TableRule) else ""


# Tables and claims ----------------------------------------------------------------------------------------


def axes(at: Mapping[tuple[str, str, str], Verdict]) -> dict[str, Any]:
    """Of {(line, group, column): verdict}: its lines, its places (group, column), and how many columns a
    group has.
    """
    places = list(dict.fromkeys((group, column) for _, group, column in at))
    return {
        "lines": list(dict.fromkeys(line for line, *_ in at)),
        "places": places,
        "groups": Counter(group for group, _ in places),
    }


def grid(verdicts: Sequence[Verdict], record: Record | None) -> str:
    """One printed table done again: in each cell printed, ours, interval and strip; pressed, its
    provenance.
    """
    return ui.component("grid")(
        {(p.row, p.group, p.column): one for one in verdicts if (p := one.row.table)}, record
    )


def claims(verdicts: Sequence[Verdict], record: Record | None) -> str:
    """Claims in the paper's words; rows whose statements differ only in the names before a colon are parts of
    one statement, and a placebo stands beside its claim alone. What no measurement decides is folded, where
    there is some of it.
    """
    quotes: dict[tuple[str, str], dict[str, list[Verdict]]] = {}
    beside = {one.row.placebo for one in verdicts}
    verdicts = [one for one in verdicts if one.row.id not in beside]
    for one in verdicts:
        told = one.row.statement.partition(": ")[2] or one.row.id
        quotes.setdefault((one.row.quote, one.row.location), {}).setdefault(told, []).append(one)
    unasked = {
        words: parts
        for words, parts in quotes.items()
        if all(one.row.rule.type == "fixed" for some in parts.values() for one in some)
    }
    if len(unasked) < SOME or len(unasked) == len(quotes):
        unasked = {}
    asked = {words: parts for words, parts in quotes.items() if words not in unasked}
    return ui.component("claims")(asked, unasked, verdicts, record)


def placebos(verdicts: Iterable[Verdict]) -> list[Verdict]:
    """The verdicts on the placebos of claims that have one."""
    return [one.placebo.verdict for one in verdicts if one.placebo]


def by_names(parts: Sequence[Verdict]) -> dict[tuple[str, str, str], Verdict]:
    """Parts of a statement by (line, "", column): those of "MNIST, FGSM" if each line has each column, else
    all names in the line.
    """
    names = [one.row.statement.partition(": ")[0] for one in parts]
    pairs = [name.partition(", ")[::2] for name in names]
    if len({line for line, _ in pairs}) * len({column for _, column in pairs}) > len(set(pairs)):
        pairs = [(name, "") for name in names]
    if len(set(pairs)) < len(parts):
        pairs = [(one.row.id, "") for one in parts]
    return {(line, "", column): one for (line, column), one in zip(pairs, parts, strict=True)}


def label(verdicts: Iterable[Verdict]) -> str:
    """What the ids of rows have in common, less their kind: T6.mnist."""
    return re.sub(
        r"^(claim|erratum|control)\.", "", ".".join(commonprefix([one.row.id.split(".") for one in verdicts]))
    )


def wholes(verdicts: Sequence[Verdict], record: Record | None) -> str:
    """Printed tables as wholes: the verdict on each, and its readings from the nearest on."""
    whole = ui.component("whole")
    return Markup().join(
        whole(one, FEW, Limits.of(one.ranked[0].cells) if one.ranked else None, record) for one in verdicts
    )


def remarks(book: Ledger, record: Record | None) -> str:
    """The rows that are shown and not judged, each with the quantity that shows it."""
    measured = record.measurements if record else {}
    told = {
        row.id: "; ".join(one.what for id, one in measured.items() if row.decides(id))
        for row in book.rows
        if row.kind == "remark"
    }
    return ui.component("remarks")([(row, told[row.id]) for row in book.rows if row.id in told])


def verdicts(
    judged: Sequence[Verdict], selection: Sequence[str], record: Record | None, folded: bool = False
) -> str:
    """The verdicts on the selected rows; all of them, where nothing is selected.

    selection  printed tables ("Table I"), kinds ("table", "claim", "erratum", "control", ...), or families
    folded     each behind a line that opens it and tells how many rows got which verdict
    """
    names = selection or dict.fromkeys(
        one.row.table.table if one.row.table else one.row.kind for one in judged
    )
    chosen = [_chosen(judged, ui.slug(name)) for name in names]
    shown = [_shown(each, record) for each in chosen]
    return Markup().join(map(ui.component("fold"), map(_told, chosen), shown) if folded else shown)


def _told(chosen: Sequence[Verdict]) -> str:
    """How many rows got which word."""
    table, tally = chosen[0].row.table, Counter(one.word for one in chosen)
    what = f"{table.table}, cell by cell: {len(chosen)} cells" if table else f"{len(chosen)} rows"
    return f"{what}; {', '.join(f'{tally[word]} {word}' for word in WORDS if tally[word])}"


def _shown(chosen: Sequence[Verdict], record: Record | None) -> str:
    if chosen[0].row.table:
        return grid(chosen, record)
    if (kind := chosen[0].row.kind) == "erratum":
        return errata(chosen, record)
    return (wholes if kind == "table" else claims)(chosen, record)


def _chosen(judged: Sequence[Verdict], name: str) -> list[Verdict]:
    """The cells of the table of that name, else the rows of that kind that stand in no table, else those of
    that family.
    """
    names = [
        (one.row.table.table, "", "") if one.row.table else ("", one.row.kind, one.row.family)
        for one in judged
    ]
    for column in zip(*names, strict=True):
        if found := [one for one, its in zip(judged, column, strict=True) if ui.slug(its) == name]:
            return found
    raise ValueError(f"no row has a table, kind or family named {name}")


ui.environment().filters |= {
    each.__name__: each
    for each in (
        compared,
        strip_of,
        ours,
        decimals_of,
        size,
        facts,
        measured,
        remark,
        placebos,
        axes,
        by_names,
        label,
    )
}
