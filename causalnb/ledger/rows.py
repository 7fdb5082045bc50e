"""What a paper prints, row by row, and the rule that decides each row.

Nothing is judged here. Seed spreads, which tolerances take, come from `seed_spread.json` beside the ledger.
"""

import json
import math
from collections import Counter
from functools import cached_property
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from causalnb.ledger.patterns import Patterns, counterpart, matches
from causalnb.ledger.rules import (
    CellRule,
    ClaimRule,
    EqualRule,
    FixedRule,
    ShownRule,
    Spread,
    TableRule,
    Tolerance,
    read_printed,
)
from causalnb.parameters import Profile
from causalnb.record import digest
from causalnb.statistics import Estimate, Interval, prediction_half_width

PROFILES: tuple[Profile, ...] = get_args(Profile)
NAMELESS = ("fixed", "table")  # rules that are decided by nothing, and by what decides the table's cells
OUTCOME = 30  # words
OWN = "printed"  # `against` of a row whose seed spread is held against its own printed value


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Decision(_Frozen):
    """What decides a row: patterns of measurement ids, the data set, the least profile, the parameters that
    the paper names.

    Numbers that come from other parameters, or from the data set `stand_in`, are shown beside the row.
    """

    measurements: tuple[str, ...] = ()
    data: str = ""
    least: Profile = "quick"
    parameters: dict[str, Any] = {}
    stand_in: str = ""

    @field_validator("measurements")
    @classmethod
    def _named(cls, patterns: tuple[str, ...]) -> tuple[str, ...]:
        if wild := [pattern for pattern in patterns if "*" in pattern.partition(".")[0]]:
            raise ValueError(f"a pattern begins with a name and a point, not {wild[0]}")
        return patterns


class Position(_Frozen):
    """Where a cell stands in a printed table."""

    table: str
    row: str
    group: str
    column: str


class Row(_Frozen):
    """One printed cell, claim, reading of a figure, erratum, replay, logical check, whole table or remark, or
    control of ours.

    statement quote printed holds   our sentence, the paper's words, the number as printed, what is true
                                    instead of the words
    ours pilot                      derived by us rather than stated by the paper; an earlier pilot informed
                                    its rule
    against                         the row from which a cell must differ to say something (attacked against
                                    clean, method against baseline), or "printed", its own value: what its
                                    seed spread must stay under; empty: no such bound
    placebo                         the control that puts the statistic of a claim to what should not move it
                                    (harmless noise, drawn weights), by the same relation, number and margin
    gate                    the row that must be reproduced before this one can be asked at all: without a
                            gain nobody can say what it comes from
    level spreads cap after         filled in by `parse`: 1 - 0.05 / m in a family of m rows, so that all of
                                    their intervals hold together at 95 %; the seed spreads of its readings;
                                    the bound that `against` makes; editions that were seen before the rule
                                    was written
    """

    id: str = Field(pattern=r"^[\w-]+(\.[\w-]+)*$")
    kind: Literal["cell", "claim", "figure", "erratum", "replay", "logic", "control", "table", "remark"]
    location: str
    statement: str
    quote: str = ""
    printed: str = ""
    unit: str = ""
    holds: str = ""
    table: Position | None = None
    rule: Annotated[
        CellRule | ClaimRule | EqualRule | FixedRule | TableRule | ShownRule, Field(discriminator="type")
    ]
    tol: Tolerance | None = None
    decided_by: Decision = Decision()
    controls: tuple[str, ...] = ()
    against: str = ""
    placebo: str = ""
    gate: str = ""
    family: str = ""
    ours: bool = False
    pilot: bool = False
    after: tuple[str, ...] = ()
    note: str = ""
    level: float = 0.95
    spreads: dict[str, Spread] = {}
    cap: float | None = None

    @model_validator(mode="after")
    def _complete(self) -> Self:
        for kind, rule in (("table", "table"), ("remark", "shown")):
            if (self.kind == kind) != (self.rule.type == rule):
                raise ValueError(f"the kind {kind} and the rule {rule} go together")
        if self.kind != "remark" and (self.rule.type in NAMELESS) == bool(self.decided_by.measurements):
            raise ValueError("decided_by names what decides the row, unless its rule is fixed or a table's")
        if (self.tol is not None) != (self.rule.type == "cell"):
            raise ValueError("the rule cell and tol go together")
        if self.tol and self.tol.of == "mean" and self.tol.n and not self.tol.spread:
            raise ValueError("the sampling error of a mean takes the spread of its images")
        if self.tol:
            read_printed(self.printed)
        if self.against and not self.tol:
            raise ValueError("against bounds the seed spread of a cell: give its tol")
        if self.against not in ("", OWN) and self.tol and self.tol.of == "sd":
            raise ValueError(f"the seed spread of a standard deviation is held against its own value: {OWN}")
        if self.placebo and not isinstance(self.rule, ClaimRule):
            raise ValueError("a placebo stands beside a claim: its rule is a claim's")
        return self

    @property
    def digest(self) -> str:
        """Changes with everything that can change the verdict, and with nothing that is only shown."""
        decisive = self.model_dump(
            mode="json",
            include={
                "id",
                "kind",
                "printed",
                "unit",
                "rule",
                "tol",
                "decided_by",
                "controls",
                "level",
                "spreads",
                *(["cap"] if self.cap is not None else ()),
                *(["gate"] if self.gate else ()),
            },
            exclude={"rule": {"why", "words"}, "tol": {"why"}},
        )
        return digest(json.dumps(decisive, sort_keys=True))

    def decides(self, id: str) -> bool:
        """Whether a measurement is one of the row's readings."""
        return any(matches(pattern, id) for pattern in self.decided_by.measurements)

    @property
    def patterns(self) -> tuple[str, ...]:
        """Of its readings, and of what would be one if the row's data set were its stand-in."""
        by = self.decided_by
        beside = [one.replace(by.data, by.stand_in) for one in by.measurements] if by.stand_in else []
        return tuple(dict.fromkeys([*by.measurements, *beside]))

    def in_placebo(self, id: str, placebo: "Row") -> str | None:
        """The measurement that asks of the placebo what a reading's asks of the claim."""
        return counterpart(id, self.decided_by.measurements, placebo.decided_by.measurements)

    def unlike(self, placebo: "Row") -> str:
        """Why another row is no placebo of this one, if it is none."""
        mine, its = self.rule, placebo.rule
        if placebo.kind != "control":
            return "is no control"
        if not (isinstance(mine, ClaimRule) and isinstance(its, ClaimRule) and mine.asks == its.asks):
            return "does not ask for the same relation, number and margin"
        stars = [[p.count("*") for p in row.decided_by.measurements] for row in (self, placebo)]
        return "" if stars[0] == stars[1] else "is not decided by a measurement for each of its readings"

    def scale(self, unit: str) -> float:
        """What turns a value measured in `unit` into the printed unit: 100 for a share where a percentage is
        printed.
        """
        return 100.0 if self.unit == "%" != unit else 1.0

    def off(self, of: Estimate) -> Interval:
        """An estimate and its ends less the printed value, in the printed unit."""
        printed, scale = read_printed(self.printed)[0], self.scale(of.unit)
        value, low, high = (x * scale - printed for x in of.interval)
        return value, low, high

    def tolerance(self, reading: str, level: float = 0.95) -> float | None:
        """tol at a level, in the printed unit, for the reading of that id; None where the row has none or its
        seed spread is not measured.
        """
        half = self.seed_half_width(reading, level)
        if self.tol is None or half is None:
            return None
        printed, rounding = read_printed(self.printed)
        return math.hypot(rounding, self.tol.sampling(printed, self.scale(""), level), half)

    def seed_half_width(self, reading: str, level: float = 0.95) -> float | None:
        """The part of tol that is the spread from training to training: 0 where the row goes without, None
        where it is not measured.
        """
        seeds = self.tol.seeds if self.tol else None
        spread = self.spreads.get(self._like(reading)) if isinstance(seeds, str) else seeds
        if spread is None:
            return None if seeds else 0.0
        return prediction_half_width(spread.sd, spread.k, level) * self.scale("")

    def _like(self, reading: str) -> str:
        """The reading whose trainings were repeated: that of the id, or the one whose spread it takes."""
        plain, _, last = reading.rpartition(".")
        return plain if self.tol and last in self.tol.like else reading

    def spreads_too_far(self, reading: str) -> bool:
        """Whether trainings differ by more than what the cell must tell apart, so that being inside says
        nothing.
        """
        return self.cap is not None and (self.seed_half_width(reading) or 0.0) > self.cap


class Paper(_Frozen):
    """The paper, what it claims in three lines, and, once it was run, what came out in one sentence.

    earlier   edition of this book -> verdict -> how many printed cells had it, by that edition's rules
    """

    short: str
    title: str
    authors: str
    venue: str
    year: int
    doi: str
    claims: tuple[str, ...]
    outcome: str = ""
    earlier: dict[str, dict[str, int]] = {}

    @field_validator("outcome")
    @classmethod
    def _short(cls, sentence: str) -> str:
        if (words := len(sentence.split())) > OUTCOME:
            raise ValueError(f"the outcome is one sentence of at most {OUTCOME} words, not of {words}")
        return sentence


class Ledger(_Frozen):
    """All rows of a chapter."""

    chapter: str
    paper: Paper
    rows: tuple[Row, ...]

    @model_validator(mode="after")
    def _ids(self) -> Self:
        twice = [id for id, times in Counter(row.id for row in self.rows).items() if times > 1]
        controls = {row.id for row in self.rows if row.kind == "control" and not row.controls}
        unknown = [id for row in self.rows for id in row.controls if id not in controls]
        if twice or unknown:
            raise ValueError(
                f"{twice[0]} is there twice"
                if twice
                else f"{unknown[0]} is named as a control and is not one"
            )
        printed = {row.id for row in self.rows if row.tol} | {OWN, ""}
        own = {row.id: row for row in self.rows}
        for row in self.rows:
            if row.placebo and (fault := row.unlike(own.get(row.placebo, row))):
                raise ValueError(f"the placebo of {row.id}, {row.placebo}, {fault}")
            if row.gate and (row.gate not in own or own[row.gate].gate):
                raise ValueError(f"the gate of {row.id}, {row.gate}, is no row, or has a gate itself")
            if row.against not in printed:
                raise ValueError(f"{row.id} is against {row.against}, which is no cell with a tol")
            if isinstance(row.rule, TableRule) and (idle := self._idle(row.rule)):
                raise ValueError(f"{row.id}: {idle} is no cell of a printed table that has a tol")
        return self

    def _idle(self, rule: TableRule) -> str:
        """A pattern of a table's rule that no cell matches, if there is one."""
        cells = [row.id for row in self.rows if _stands_in_a_table(row)]
        return next((p for p in rule.cells if not any(matches(p, id) for id in cells)), "")

    def cells_of(self, rule: TableRule) -> tuple[Row, ...]:
        """The cells that a table's rule is about, in the ledger's order."""
        return tuple(
            row
            for row in self.rows
            if _stands_in_a_table(row) and any(matches(pattern, row.id) for pattern in rule.cells)
        )

    def decided_by(self, measurement: str) -> tuple[Row, ...]:
        """The rows to which a measurement matters: as a reading, or beside it."""
        return tuple(self.rows[at] for at in self._index.of(measurement))

    def digests_of(self, measurement: str) -> dict[str, str]:
        """The digests of the rows to which a measurement matters, by id."""
        return {row.id: self._digests[row.id] for row in self.decided_by(measurement)}

    @cached_property
    def _digests(self) -> dict[str, str]:
        return {row.id: row.digest for row in self.rows}

    @cached_property
    def _index(self) -> Patterns:
        return Patterns(
            [
                [p for cell in self.cells_of(row.rule) for p in cell.patterns]
                if isinstance(row.rule, TableRule)
                else row.patterns
                for row in self.rows
            ]
        )


def _stands_in_a_table(row: Row) -> bool:
    return row.kind == "cell" and row.tol is not None and row.table is not None
