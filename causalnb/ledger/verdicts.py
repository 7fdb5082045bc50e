"""The verdict that a record earns on each row: computed each time it is shown, stored nowhere."""

import math
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal, get_args

from causalnb import UserError
from causalnb.ledger.rows import PROFILES, Ledger, Row
from causalnb.ledger.rules import (
    EDGE,
    CellRule,
    ClaimRule,
    FixedRule,
    ShownRule,
    TableRule,
    read_printed,
)
from causalnb.ledger.tables import TableReading, fits_permuted, ranked
from causalnb.record import Measurement, Record
from causalnb.statistics import Estimate
from causalnb.trainings import EVERY

Word = Literal["reproduced", "not reproduced", "undecided", "cannot judge", "transferred", "not run"]
Ruling = Literal["holds", "fails", "open"]
WORDS: tuple[Word, ...] = get_args(Word)
SYMBOLS: dict[Word, str] = dict(zip(WORDS, "✓✕◐⊘→○", strict=True))

UNCOUNTED = ("control", "table", "remark")  # kinds that stand in no count
LARGEST = 10**15  # an n beyond it decides nothing that anyone can measure


@dataclass(frozen=True)
class ReadingVerdict:
    """One measurement under a row's rule. `enough`: the n that would decide an open one at the observed
    spread.
    """

    id: str
    word: Word
    estimate: Estimate
    tol: float | None = None
    reason: str = ""
    enough: int | None = None


@dataclass(frozen=True)
class Placebo:
    """How specific a claim is: what the same statistic does where it should do nothing.

    verdict   on the control that is the placebo
    holding   the claim's readings that hold
    met       those of them whose placebo holds as well: they say nothing of the claim's cause
    lacking   those of them whose placebo was not run
    """

    verdict: "Verdict"
    holding: tuple[str, ...]
    met: tuple[str, ...]
    lacking: tuple[str, ...]


@dataclass(frozen=True)
class Verdict:
    """The word a row earns, why, and each reading behind it; of a whole table its readings in order of how
    well they do. `changed`: its rule is not the one that stood when the record was made.
    """

    row: Row
    word: Word
    reason: str = ""
    readings: tuple[ReadingVerdict, ...] = ()
    changed: bool = False
    ranked: tuple[TableReading, ...] = ()
    placebo: Placebo | None = None


def judge(ledger: Ledger, record: Record | None) -> list[Verdict]:
    """The verdict on every row but remarks, in the ledger's order; without a record nothing has been run."""
    verdicts: dict[str, Verdict] = {}
    concerned: dict[str, dict[str, Measurement]] = {row.id: {} for row in ledger.rows}
    for id, one in sorted(record.measurements.items()) if record else ():
        for row in ledger.decided_by(id):
            concerned[row.id][id] = one
    rows = [row for row in ledger.rows if row.kind != "remark"]
    for row in sorted(rows, key=lambda row: (bool(row.gate), row.kind != "control" or bool(row.controls))):
        if not isinstance(row.rule, TableRule):
            verdicts[row.id] = _verdict(row, record, concerned[row.id], verdicts)
    for row in rows:
        if isinstance(row.rule, TableRule):
            cells = ledger.cells_of(row.rule)
            verdicts[row.id] = _table(row, row.rule, cells, record, concerned, verdicts)
    for row in rows:
        if row.placebo:
            verdicts[row.id] = replace(verdicts[row.id], placebo=_placebo(verdicts, row))
    return [verdicts[row.id] for row in rows]


def _placebo(verdicts: Mapping[str, Verdict], row: Row) -> Placebo:
    beside = verdicts[row.placebo]
    words = {one.id: one.word for one in beside.readings if one.word not in ("transferred", "not run")}
    holding = tuple(one.id for one in verdicts[row.id].readings if one.word == "reproduced")
    its = {id: words.get(row.in_placebo(id, beside.row) or "") for id in holding}
    return Placebo(
        beside,
        holding,
        met=tuple(id for id, word in its.items() if word == "reproduced"),
        lacking=tuple(id for id, word in its.items() if word is None),
    )


def ruled(ledger: Ledger, record: Record) -> dict[str, Ruling]:
    """What the rule of each row says of a record's own numbers, whatever their data, profile, parameters and
    controls: it holds, or fails, for every measurement that concerns the row, or else is open.

    returns   by row; those that no measurement concerns, or whose rule takes none alone, are left out
    """
    said: dict[str, set[Word]] = defaultdict(set)
    for id, one in record.measurements.items():
        for row in ledger.decided_by(id):
            if not isinstance(row.rule, TableRule | FixedRule | ShownRule):
                bare = row.model_copy(update={"controls": ()})
                said[row.id].add(_reading(bare, id, one.estimate, {}).word)
    rulings: dict[Word, Ruling] = {"reproduced": "holds", "not reproduced": "fails"}
    return {row.id: rulings.get(collapse(said[row.id]), "open") for row in ledger.rows if row.id in said}


def counts(verdicts: Iterable[Verdict]) -> dict[Word, int]:
    """How many rows got which word, all six words; controls of ours and whole tables are never counted."""
    found = Counter(verdict.word for verdict in verdicts if verdict.row.kind not in UNCOUNTED)
    return {word: found[word] for word in WORDS}


def printed_cells(verdicts: Iterable[Verdict]) -> list[Verdict]:
    """The verdicts on the cells of printed tables: the denominator of every percentage."""
    return [verdict for verdict in verdicts if verdict.row.kind == "cell" and verdict.row.table]


def collapse(words: Collection[Word]) -> Word:
    """The word of a row from those of its readings: the first line that applies.

    | among the readings              | the row        | because                                   |
    |---------------------------------|----------------|-------------------------------------------|
    | reproduced and not reproduced   | cannot judge   | they disagree: what is left open decides  |
    | cannot judge (a control failed) | cannot judge   | whatever the open ones become, it stays   |
    | not run                         | not run        | one lacks an input, the judged ones agree |
    | undecided                       | undecided      | one needs more draws, the decided agree   |
    | reproduced, nothing else        | reproduced     | all agree                                 |
    | not reproduced, nothing else    | not reproduced | all agree                                 |
    """
    if {"reproduced", "not reproduced"} <= set(words):
        return "cannot judge"
    order: tuple[Word, ...] = ("cannot judge", "not run", "undecided", "reproduced", "not reproduced")
    return next(word for word in order if word in words)


def _verdict(
    row: Row, record: Record | None, found: Mapping[str, Measurement], controls: Mapping[str, Verdict]
) -> Verdict:
    if isinstance(row.rule, FixedRule):
        return Verdict(row, "cannot judge", f"{row.rule.reason}: {row.rule.detail}")
    if record is None:
        return Verdict(row, "not run")
    own, beside = _own(row, found), _beside(row, record, found)
    if beside:
        return Verdict(
            row,
            *beside,
            tuple(ReadingVerdict(id, beside[0], one.estimate) for id, one in (own or found).items()),
        )
    readings = tuple(_reading(row, id, one.estimate, controls) for id, one in own.items())
    word, digest_now = collapse([reading.word for reading in readings]), row.digest
    before = (*row.controls, row.gate) if row.gate else row.controls
    mended = any(one.rows.get(row.id) != digest_now for one in own.values()) or any(
        controls[id].changed for id in before
    )
    if row.gate and (gate := controls[row.gate].word) != "reproduced":
        return Verdict(row, "cannot judge", f"a control failed: {row.gate} is {gate}", readings, mended)
    return Verdict(row, word, _reason(word, readings), readings, mended)


def _own(row: Row, found: Mapping[str, Measurement]) -> dict[str, Measurement]:
    """Of the measurements that concern a row, those that decide it."""
    data = row.decided_by.data
    return {id: one for id, one in found.items() if row.decides(id) and _fits(one, data)}


def _beside(row: Row, record: Record, found: Mapping[str, Measurement]) -> tuple[Word, str] | None:
    """Why what is measured stands beside the row and decides nothing, if so."""
    by = row.decided_by
    changed = [
        f"{name} = {record.parameters[name]} for {value}"
        for name, value in by.parameters.items()
        if record.parameters.get(name, value) != value
    ]
    if not found:
        return "not run", f"not in this record: {', '.join(by.measurements)}"
    if not _own(row, found):
        return "transferred", f"measured on {_sets(found.values())}, not on {by.data}"
    if PROFILES.index(record.profile) < PROFILES.index(by.least):
        return "not run", f"decided at the profile {by.least}, this record is of {record.profile}"
    return ("transferred", f"measured with {', '.join(changed)}") if changed else None


def _table(
    row: Row,
    rule: TableRule,
    cells: Sequence[Row],
    record: Record | None,
    concerned: Mapping[str, Mapping[str, Measurement]],
    verdicts: Mapping[str, Verdict],
) -> Verdict:
    """The verdict on a whole table, once its cells and controls have theirs."""
    if record is None:
        return Verdict(row, "not run")
    aside = [one for cell in cells if (one := _beside(cell, record, concerned[cell.id]))]
    if aside:
        word, reason = max(aside, key=lambda one: WORDS.index(one[0]))
        return Verdict(row, word, f"{len(aside)} of {len(cells)} cells are not judged; {reason}")
    own = {id: one for cell in cells for id, one in _own(cell, concerned[cell.id]).items()}
    estimates = {id: one.estimate for id, one in own.items()}
    spelled = rule.spelled(cell.id for cell in cells)
    found = ranked(cells, spelled, estimates)
    word, reason = _whole(row, found, fits_permuted(cells, spelled, estimates), verdicts)
    digest_now = row.digest
    changed = any(one.rows.get(row.id) != digest_now for one in own.values()) or any(
        verdicts[id].changed for id in (*row.controls, *(cell.id for cell in cells))
    )
    return Verdict(row, word, reason, changed=changed, ranked=found)


def _whole(
    row: Row, found: Sequence[TableReading], control: Sequence[str], verdicts: Mapping[str, Verdict]
) -> tuple[Word, str]:
    """The word of a table from its readings, those that fit it with its rows permuted, and its controls."""
    fit, left = ([one for one in found if one.word == word] for word in ("fits", "left"))
    gate = _gate(row, verdicts)
    if gate[0] == "cannot judge":
        return gate
    if control:
        return (
            "cannot judge",
            f"a control failed: with its rows permuted the table is fitted by {_few(control)}",
        )
    if fit:
        return "reproduced", f"of {len(found)} readings {len(fit)} fit: {_few([one.name for one in fit])}"
    if not left:
        return gate if gate[1] else ("not reproduced", f"all {len(found)} readings are excluded")
    told = f"of {len(found)} readings {len(left)} are left: {_few([one.name for one in left])}"
    if all(one.lacking for one in left):
        return "not run", f"{told}; each lacks cells or their seed spread"
    return "undecided", told


def _few(names: Sequence[str]) -> str:
    """The first names, and how many more there are."""
    return "; ".join(names[:3]) + (f"; and {len(names) - 3} more" if len(names) > 3 else "")


def _fits(one: Measurement, wanted: str) -> bool:
    """Whether a measurement was taken on the data that a row asks for; older records may not say."""
    return one.data is None or not wanted or wanted in one.data


def _sets(found: Iterable[Measurement]) -> str:
    names = sorted({name for one in found for name in one.data or ()})
    return ", ".join(names) or "no data set"


def _reason(word: Word, readings: tuple[ReadingVerdict, ...]) -> str:
    """What the readings came to, and the first reason of one that fixes the row's word."""
    tally = Counter(reading.word for reading in readings)
    told = ", ".join(f"{tally[one]} {one}" for one in WORDS if tally[one])
    if tally["reproduced"] and tally["not reproduced"]:
        return f"under-specified and the readings disagree: of {len(readings)}, {told}"
    first = next((reading.reason for reading in readings if reading.word == word and reading.reason), "")
    return (
        first
        if len(readings) == 1
        else f"of {len(readings)} readings {told}" + (f"; {first}" if first else "")
    )


def _reading(row: Row, id: str, of: Estimate, controls: Mapping[str, Verdict]) -> ReadingVerdict:
    tol, trainings = row.tolerance(id), row.rule.trainings if isinstance(row.rule, ClaimRule) else 1
    judged = partial(ReadingVerdict, id, estimate=of, tol=tol)
    if row.tol and tol is None:
        return judged("not run", reason="the seed spread that its tolerance needs has not been measured")
    if of.level is not None and of.level < row.level - 1e-9:
        return judged(
            "undecided", reason=f"its interval is at {of.level:.2%}, the row asks for {row.level:.2%}"
        )
    if len(of.seeds) < trainings > 1:
        return judged(
            "undecided",
            reason=f"a claim about a training method rests on {trainings} seeds or more, this on "
            f"{len(of.seeds)}",
        )
    if of.single_draw:
        return judged("undecided", reason="a single draw has no interval")
    holds, wide = _decide(row, tol, of)
    if holds is None and of.method == "bounds":
        return judged("cannot judge", reason="input not published: what is missing would decide")
    if holds is None and of.method == EVERY:
        return judged("undecided", reason="depends on the training: some hold, or may hold, and others not")
    if holds is None:
        needed = of.n * wide * wide if of.n and wide else math.inf
        enough = math.ceil(needed) if needed < LARGEST else None
        more = f"; about {enough:,} would decide it at this spread" if enough else ""
        return judged("undecided", reason=f"open at n = {of.n}{more}", enough=enough)
    if holds and row.spreads_too_far(id):
        return judged("undecided", reason="our trainings spread too far to tell")
    if holds:
        return judged("reproduced")
    word, reason = _gate(row, controls)
    return judged(word, reason=reason)


def _decide(row: Row, tol: float | None, of: Estimate) -> tuple[bool | None, float | None]:
    if isinstance(row.rule, ClaimRule):
        return row.rule.decide(*of.interval)
    if row.kind in ("cell", "replay"):
        off, rounding = row.off(of), read_printed(row.printed)[1]
        return CellRule.decide(*off, tol) if tol else (abs(off[0]) <= rounding * EDGE, None)
    if of.value not in (0.0, 1.0):
        raise UserError(
            f"{row.id} is decided by a logical result, 1.0 or 0.0, and the record has {of.value}: no run of "
            "this chapter wrote it, so give another record."
        )
    return of.value == 1.0, None


def _gate(row: Row, controls: Mapping[str, Verdict]) -> tuple[Word, str]:
    """What "not reproduced" becomes once the row's controls are looked at."""
    open_ = {id: controls[id].word for id in row.controls if controls[id].word != "reproduced"}
    failed = [id for id, word in open_.items() if word == "not reproduced"]
    if failed:
        return "cannot judge", f"a control failed: {', '.join(failed)}"
    waiting = ", ".join(f"{id} is {word}" for id, word in open_.items())
    return (
        ("undecided", f"it differs, but a control has not passed: {waiting}")
        if waiting
        else ("not reproduced", "")
    )
