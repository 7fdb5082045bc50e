"""What a paper prints, row by row, and the rule that decides each row; how both are read from
`chapters/X/ledger.yaml`.

Nothing is judged here. Seed spreads, which tolerances take, come from `seed_spread.json` beside the file.
"""

import itertools
import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from statistics import stdev
from typing import Annotated, Any, Literal, Self, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from causalnb import UserError
from causalnb.ledger.patterns import Patterns, matches
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
from causalnb.statistics import Estimate, Interval, prediction_half_width, simultaneous_level

PROFILES: tuple[Profile, ...] = get_args(Profile)
NAMELESS = ("fixed", "table")  # rules that are decided by nothing, and by what decides the table's cells
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
    level spreads cap               filled in by `parse`: 1 - 0.05 / m in a family of m rows, so that all of
                                    their intervals hold together at 95 %; the seed spreads of its readings;
                                    the bound that `against` makes
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
    family: str = ""
    ours: bool = False
    pilot: bool = False
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
            },
            exclude={"rule": {"why"}, "tol": {"why"}},
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
    """The paper, and what it claims in three lines."""

    short: str
    title: str
    authors: str
    venue: str
    year: int
    doi: str
    claims: tuple[str, ...]


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
        for row in self.rows:
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


# Reading the file -----------------------------------------------------------------------------------------


def _spreads_of(chapter: str) -> Path:
    return Path(str(files("causalnb"))) / "chapters" / chapter / "seed_spread.json"


def load(chapter: str) -> Ledger:
    """The ledger of a chapter, with the seed spreads measured so far."""
    file = _spreads_of(chapter)
    rows = file.with_name("ledger.yaml")
    if not rows.is_file():
        raise UserError(
            f"{chapter} has no ledger: causalnb/chapters/{chapter}/ledger.yaml does not exist. Give the name "
            "of a chapter, such as ace."
        )
    values = json.loads(file.read_text(encoding="utf-8"))["values"] if file.is_file() else {}
    spreads = {id: {"sd": stdev(each), "k": len(each)} for id, each in values.items() if len(each) > 1}
    return parse(chapter, rows.read_text(encoding="utf-8"), spreads)


def keep_spreads(chapter: str, seeds: Sequence[int], values: Mapping[str, Sequence[float]]) -> Path:
    """Write what trainings set apart gave beside the ledger of a chapter, {measurement id: a value a seed},
    one id a line; an id has the first of the seeds where it has fewer values.
    """
    file = _spreads_of(chapter)
    lines = ",\n".join(
        f"{json.dumps(id)}: {json.dumps([float(f'{x:.6g}') for x in each])}"
        for id, each in sorted(values.items())
    )
    file.write_text(f'{{"seeds": {list(seeds)}, "values": {{\n{lines}\n}}}}\n', encoding="utf-8")
    return file


def parse(chapter: str, source: str, spreads: Mapping[str, Any] | None = None) -> Ledger:
    """A ledger from YAML, and seed spreads {measurement id: {sd, k}}.

    An entry with `for`, a list of lists of {name: value}, stands for one row per combination, or for all of
    its `rows` per combination; each {name} in their texts is filled in.
    """
    content = yaml.load(source, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    entries = [row for entry in content["rows"] for row in _expanded(entry)]
    try:
        plain = Ledger.model_validate({"chapter": chapter, "paper": content["paper"], "rows": entries})
    except ValidationError as error:
        first = error.errors()[0]
        where = list(map(str, first["loc"])) or ["the rows together"]
        if where[0] == "rows":
            where[:2] = [f"row {entries[int(where[1])].get('id')}"]
        raise UserError(
            f"causalnb/chapters/{chapter}/ledger.yaml is not a ledger: {' '.join(where)}: {first['msg']}. "
            "Mend that entry."
        ) from None
    families = Counter(row.family for row in plain.rows)
    readings = Patterns([row.decided_by.measurements for row in plain.rows])
    known: list[dict[str, Spread]] = [{} for _ in plain.rows]
    for id, spread in (spreads or {}).items():
        for at in readings.of(id):
            known[at][id] = Spread.model_validate(spread)
    caps = _caps(plain.rows)
    full = [
        row.model_copy(
            update={
                "level": simultaneous_level(families[row.family]) if row.family else 0.95,
                "spreads": found,
                "cap": caps.get(row.id),
            }
        )
        for row, found in zip(plain.rows, known, strict=True)
    ]
    return plain.model_copy(update={"rows": tuple(full)})


def _caps(rows: Iterable[Row]) -> dict[str, float]:
    """What the seed spread of each cell must stay under, for rows that give `against` or are given: half of
    what it must tell apart, or rounding and sampling together where they are more.
    """
    own = {row.id: row for row in rows if row.tol}
    value = {id: read_printed(row.printed)[0] for id, row in own.items()}
    least: dict[str, float] = {}
    for id, row in own.items():
        if row.against == OWN:
            near = min(abs(value[id]), 100 - value[id]) if row.unit == "%" else abs(value[id])
            least[id] = 0.15 * near
        elif row.against:
            least[id] = abs(value[id] - value[row.against]) / 2
            if not own[row.against].against:
                least[row.against] = min(least[id], least.get(row.against, math.inf))
    return {
        id: max(half, math.hypot(read_printed(row.printed)[1], row.tol.sampling(value[id], row.scale(""))))
        for id, half in least.items()
        if (row := own[id]).tol
    }


def _expanded(entry: dict[str, Any]) -> Iterator[dict[str, Any]]:
    rows = entry.get("rows") or [{key: value for key, value in entry.items() if key != "for"}]
    for parts in itertools.product(*entry.get("for", [])):
        names = {name: value for part in parts for name, value in part.items()}
        yield from _filled(rows, names) if names else rows


def _filled(rows: list[dict[str, Any]], names: Mapping[str, Any]) -> Any:
    """The rows with each {name} in their texts filled in: as JSON, where no other brace stands before a
    word.
    """
    return json.loads(
        re.sub(r"\{(\w+)\}", lambda found: json.dumps(str(names[found[1]]))[1:-1], json.dumps(rows))
    )
