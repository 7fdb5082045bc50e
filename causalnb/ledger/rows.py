"""What a paper prints, row by row, and the rule that decides each row; how both are read from
`chapters/X/ledger.yaml`.

Nothing is judged here. Seed spreads, which tolerances take, come from `seed_spread.json` beside the file.
"""

import itertools
import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from causalnb import UserError
from causalnb.ledger.patterns import Patterns, matches
from causalnb.ledger.rules import CellRule, ClaimRule, EqualRule, FixedRule, Spread, Tolerance, read_printed
from causalnb.parameters import Profile
from causalnb.record import digest
from causalnb.statistics import prediction_half_width, simultaneous_level

PROFILES: tuple[Profile, ...] = get_args(Profile)


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
    """One printed cell, claim, reading of a figure, erratum, replay, logical check, or control of ours.

    statement quote printed holds   our sentence, the paper's words, the number as printed, what is true
                                    instead of the words
    ours pilot                      derived by us rather than stated by the paper; an earlier pilot informed
                                    its rule
    level spreads                   filled in by `parse`: 1 - 0.05 / m in a family of m rows, so that all of
                                    their intervals hold together at 95 %; the seed spreads of its readings
    """

    id: str = Field(pattern=r"^[\w-]+(\.[\w-]+)*$")
    kind: Literal["cell", "claim", "figure", "erratum", "replay", "logic", "control"]
    location: str
    statement: str
    quote: str = ""
    printed: str = ""
    unit: str = ""
    holds: str = ""
    table: Position | None = None
    rule: Annotated[CellRule | ClaimRule | EqualRule | FixedRule, Field(discriminator="type")]
    tol: Tolerance | None = None
    decided_by: Decision = Decision()
    controls: tuple[str, ...] = ()
    family: str = ""
    ours: bool = False
    pilot: bool = False
    note: str = ""
    level: float = 0.95
    spreads: dict[str, Spread] = {}

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if (self.rule.type == "fixed") == bool(self.decided_by.measurements):
            raise ValueError("decided_by names what decides the row, unless its rule is fixed")
        if (self.tol is not None) != (self.rule.type == "cell"):
            raise ValueError("the rule cell and tol go together")
        if self.tol and self.tol.of == "mean" and self.tol.n and not self.tol.spread:
            raise ValueError("the sampling error of a mean takes the spread of its images")
        if self.tol:
            read_printed(self.printed)
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

    def tolerance(self, reading: str) -> float | None:
        """tol, in the printed unit, for the reading of that id; None where the row has none or its seed
        spread is not measured.
        """
        if self.tol is None:
            return None
        spread = self.spreads.get(reading) if isinstance(self.tol.seeds, str) else self.tol.seeds
        if self.tol.seeds and not spread:
            return None
        (printed, rounding), whole = read_printed(self.printed), self.scale("")
        return math.hypot(
            rounding,
            self.tol.sampling(printed, whole),
            prediction_half_width(spread.sd, spread.k) * whole if spread else 0.0,
        )


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
        return self

    def decided_by(self, measurement: str) -> tuple[Row, ...]:
        """The rows to which a measurement matters: as a reading, or beside it."""
        return tuple(self.rows[at] for at in self._index.of(measurement))

    @cached_property
    def _index(self) -> Patterns:
        return Patterns([row.patterns for row in self.rows])


# Reading the file -----------------------------------------------------------------------------------------


def _spreads_of(chapter: str) -> Path:
    return Path(str(files("causalnb"))) / "chapters" / chapter / "seed_spread.json"


def load(chapter: str) -> Ledger:
    """The ledger of a chapter, with the seed spreads measured so far."""
    spreads = _spreads_of(chapter)
    rows = spreads.with_name("ledger.yaml")
    if not rows.is_file():
        raise UserError(
            f"{chapter} has no ledger: causalnb/chapters/{chapter}/ledger.yaml does not exist. Give the name "
            "of a chapter, such as ace."
        )
    return parse(
        chapter,
        rows.read_text(encoding="utf-8"),
        json.loads(spreads.read_text(encoding="utf-8")) if spreads.is_file() else {},
    )


def keep_spreads(chapter: str, spreads: Mapping[str, Mapping[str, float]]) -> Path:
    """Write the seed spreads of a chapter beside its ledger, {measurement id: {sd, k}}, one a line."""
    file = _spreads_of(chapter)
    file.write_text(
        "{\n" + ",\n".join(f"{json.dumps(id)}: {json.dumps(one)}" for id, one in spreads.items()) + "\n}\n",
        encoding="utf-8",
    )
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
    full = [
        row.model_copy(
            update={
                "level": simultaneous_level(families[row.family]) if row.family else 0.95,
                "spreads": found,
            }
        )
        for row, found in zip(plain.rows, known, strict=True)
    ]
    return plain.model_copy(update={"rows": tuple(full)})


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
