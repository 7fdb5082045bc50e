"""The verdict that a record earns on each row: computed each time it is shown, stored nowhere."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from causalnb.ledger.rows import EDGE, PROFILES, CellRule, ClaimRule, FixedRule, Ledger, Row, read_printed
from causalnb.record import Measurement, Record
from causalnb.statistics import Estimate

Word = Literal["reproduced", "not reproduced", "undecided", "cannot judge", "transferred", "not run"]
WORDS: tuple[Word, ...] = get_args(Word)
SYMBOLS: dict[Word, str] = dict(zip(WORDS, "✓✕◐⊘→○", strict=True))


@dataclass(frozen=True)
class ReadingVerdict:
    """One measurement under a row's rule. `enough`: the n that would decide an open one at the observed spread."""

    id: str
    word: Word
    estimate: Estimate
    tol: float | None = None
    reason: str = ""
    enough: int | None = None


@dataclass(frozen=True)
class Verdict:
    """The word a row earns, why, and each reading behind it. `changed`: its rule is not the one that stood when the record was made."""

    row: Row
    word: Word
    reason: str = ""
    readings: tuple[ReadingVerdict, ...] = ()
    changed: bool = False


def judge(ledger: Ledger, record: Record | None) -> list[Verdict]:
    """The verdict on every row, in the ledger's order; without a record nothing has been run."""
    verdicts: dict[str, Verdict] = {}
    for row in sorted(ledger.rows, key=lambda row: row.kind != "control" or bool(row.controls)):
        verdicts[row.id] = _verdict(row, record, verdicts)
    return [verdicts[row.id] for row in ledger.rows]


def counts(verdicts: Iterable[Verdict]) -> dict[Word, int]:
    """How many rows got which word, all six words; controls of ours are never counted."""
    found = Counter(verdict.word for verdict in verdicts if verdict.row.kind != "control")
    return {word: found[word] for word in WORDS}


def printed_cells(verdicts: Iterable[Verdict]) -> list[Verdict]:
    """The verdicts on the cells of printed tables: the denominator of every percentage."""
    return [verdict for verdict in verdicts if verdict.row.kind == "cell" and verdict.row.table]


def collapse(words: Collection[Word]) -> Word:
    """The word of a row from those of its readings: the first line that applies.

    | among the readings              | the row        | because                                                |
    |---------------------------------|----------------|--------------------------------------------------------|
    | reproduced and not reproduced   | cannot judge   | they disagree: what the paper leaves open decides      |
    | cannot judge (a control failed) | cannot judge   | whatever the open ones become, this one stays          |
    | not run                         | not run        | one lacks an input, the judged ones agree              |
    | undecided                       | undecided      | one needs more images or seeds, the decided ones agree |
    | reproduced, nothing else        | reproduced     | all agree                                              |
    | not reproduced, nothing else    | not reproduced | all agree                                              |
    """
    if {"reproduced", "not reproduced"} <= set(words):
        return "cannot judge"
    order: tuple[Word, ...] = ("cannot judge", "not run", "undecided", "reproduced", "not reproduced")
    return next(word for word in order if word in words)


def _verdict(row: Row, record: Record | None, controls: Mapping[str, Verdict]) -> Verdict:
    if isinstance(row.rule, FixedRule):
        return Verdict(row, "cannot judge", f"{row.rule.reason}: {row.rule.detail}")
    if record is None:
        return Verdict(row, "not run")
    by = row.decided_by
    found = {id: one for id, one in record.measurements.items() if row.decides(id) or row.stands_beside(id)}
    own = {id: one for id, one in found.items() if row.decides(id) and one.data in ("", by.data)}
    if not found:
        return Verdict(row, "not run", f"not in this record: {', '.join(by.measurements)}")
    if not own:
        return _beside(row, "transferred", f"measured on {', '.join(sorted({one.data for one in found.values()}))}, not on {by.data}", found)
    if PROFILES.index(record.profile) < PROFILES.index(by.least):
        return _beside(row, "not run", f"decided at the profile {by.least}, this record is of {record.profile}", own)
    changed = [f"{name} = {record.parameters[name]} for {value}" for name, value in by.parameters.items() if record.parameters.get(name, value) != value]
    if changed:
        return _beside(row, "transferred", f"measured with {', '.join(changed)}", own)
    readings = tuple(_reading(row, id, one.estimate, controls) for id, one in sorted(own.items()))
    word = collapse([reading.word for reading in readings])
    digest_now = row.digest
    mended = any(one.rows.get(row.id) != digest_now for one in own.values()) or any(controls[id].changed for id in row.controls)
    return Verdict(row, word, _reason(word, readings), readings, mended)


def _beside(row: Row, word: Word, reason: str, found: Mapping[str, Measurement]) -> Verdict:
    return Verdict(row, word, reason, tuple(ReadingVerdict(id, word, one.estimate) for id, one in sorted(found.items())))


def _reason(word: Word, readings: tuple[ReadingVerdict, ...]) -> str:
    """What the readings came to, and the first reason of one that fixes the row's word."""
    tally = Counter(reading.word for reading in readings)
    told = ", ".join(f"{tally[one]} {one}" for one in WORDS if tally[one])
    if tally["reproduced"] and tally["not reproduced"]:
        return f"under-specified and the readings disagree: of {len(readings)}, {told}"
    first = next((reading.reason for reading in readings if reading.word == word and reading.reason), "")
    return first if len(readings) == 1 else f"of {len(readings)} readings {told}" + (f"; {first}" if first else "")


def _reading(row: Row, id: str, estimate: Estimate, controls: Mapping[str, Verdict]) -> ReadingVerdict:
    tol = row.tolerance(id)
    if row.tol and tol is None:
        return ReadingVerdict(id, "not run", estimate, None, "the seed spread that its tolerance needs has not been measured")
    low, high = (estimate.value, estimate.value) if estimate.method in ("exact", "logic") else (estimate.low, estimate.high)
    lack = _lack(row, estimate)
    if lack or low is None or high is None:
        return ReadingVerdict(id, "undecided", estimate, tol, lack or "a single draw has no interval")
    holds, wide = _decide(row, tol, row.scale(estimate.unit), estimate.value, low, high)
    if holds is None:
        enough = math.ceil(estimate.n * wide**2) if estimate.n and wide else None
        more = f"; about {enough:,} would decide it at this spread" if enough else ""
        return ReadingVerdict(id, "undecided", estimate, tol, f"open at n = {estimate.n}{more}", enough)
    if holds:
        return ReadingVerdict(id, "reproduced", estimate, tol)
    word, reason = _gate(row, controls)
    return ReadingVerdict(id, word, estimate, tol, reason)


def _decide(row: Row, tol: float | None, scale: float, point: float, low: float, high: float) -> tuple[bool | None, float | None]:
    if isinstance(row.rule, ClaimRule):
        return row.rule.decide(point, low, high)
    if row.kind in ("cell", "replay"):
        printed, rounding = read_printed(row.printed)
        off, least, most = (x * scale - printed for x in (point, low, high))
        return CellRule.decide(off, least, most, tol) if tol else (abs(off) <= rounding * EDGE, None)
    if point not in (0.0, 1.0):
        raise ValueError(f"{row.id} is decided by a logical result, 1.0 or 0.0, got {point}")
    return point == 1.0, None


def _lack(row: Row, estimate: Estimate) -> str:
    """Why nothing can be decided on this estimate, "" if it can."""
    if estimate.level is not None and estimate.level < row.level - 1e-9:
        return f"its interval is at {estimate.level:.2%}, the row asks for {row.level:.2%}"
    if isinstance(row.rule, ClaimRule) and len(estimate.seeds) < row.rule.trainings > 1:
        return f"a claim about a training method rests on {row.rule.trainings} seeds or more, this on {len(estimate.seeds)}"
    return ""


def _gate(row: Row, controls: Mapping[str, Verdict]) -> tuple[Word, str]:
    """What "not reproduced" becomes once the row's controls are looked at."""
    words = {id: controls[id].word for id in row.controls}
    if "not reproduced" in words.values():
        return "cannot judge", "a control failed: " + ", ".join(id for id, word in words.items() if word == "not reproduced")
    waiting = [f"{id} is {word}" for id, word in words.items() if word != "reproduced"]
    return ("undecided", f"it differs, but a control has not passed: {', '.join(waiting)}") if waiting else ("not reproduced", "")
