"""What a paper prints, row by row, and the rule that decides each row; how both are read from
`chapters/X/ledger.yaml`.

Nothing is judged here. Seed spreads, which tolerances take, come from `seed_spread.json` beside the file.
"""

import itertools
import json
import math
import operator
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from fnmatch import translate
from functools import cache, cached_property
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from causalnb import UserError
from causalnb.parameters import Profile
from causalnb.record import digest
from causalnb.statistics import prediction_half_width

PROFILES: tuple[Profile, ...] = get_args(Profile)
EDGE = 1 + 1e-9  # a value on the edge of a band, but for rounding in the last place, lies inside


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class CellRule(_Frozen):
    """Reproduced: our point within printed +- tol and our interval within printed +- 2 tol. Not: the interval
    wholly outside printed +- tol.
    """

    type: Literal["cell"]

    @staticmethod
    def decide(off: float, low: float, high: float, tol: float) -> tuple[bool | None, float | None]:
        """Whether point and ends, each less the printed value, agree with it (None: open); if open, how many
        times too wide they are.
        """
        tol *= EDGE
        if abs(off) <= tol and -2 * tol <= low and high <= 2 * tol:
            return True, None
        if low > tol or high < -tol:
            return False, None
        if abs(off) <= tol:
            return None, max((high - off) / (2 * tol - off), (off - low) / (2 * tol + off))
        return None, (off - low if off > 0 else high - off) / (abs(off) - tol)


class ClaimRule(_Frozen):
    """Over its whole interval the measured value is `relation` than (for "between": two ends), by at least
    `margin`.

    trainings  how many seeds the estimate must rest on: 3 for a claim about a training method
    why        where the number and the margin come from
    """

    type: Literal["claim"]
    relation: Literal[">", "<", ">=", "<=", "between"]
    than: float | tuple[float, float]
    margin: float = Field(0.0, ge=0)
    trainings: int = 1
    why: str

    @model_validator(mode="after")
    def _ends(self) -> Self:
        if isinstance(self.than, tuple) != (self.relation == "between"):
            raise ValueError("the relation between takes two ends, every other one number")
        return self

    def decide(self, value: float, low: float, high: float) -> tuple[bool | None, float | None]:
        """Whether the relation holds from low to high (None: at some values); if open, how many times too
        wide that is.
        """
        first, last = self.than if isinstance(self.than, tuple) else (self.than, self.than)
        least, most = (
            (-math.inf if self.relation[0] == "<" else first + self.margin),
            (math.inf if self.relation[0] == ">" else last - self.margin),
        )
        below = operator.lt if self.relation in (">", "<") else operator.le
        if below(least, low) and below(high, most):
            return True, None
        if not (below(least, high) and below(low, most)):
            return False, None
        if value in (least, most):
            return None, None
        return None, max(
            (value - low if value > end else high - value) / abs(value - end) for end in (least, most)
        )


class EqualRule(_Frozen):
    """Equal or different: a logical result is 1.0; a replayed number is the printed one at its rounding."""

    type: Literal["equal"]


class FixedRule(_Frozen):
    """Nothing that can be measured decides the row."""

    type: Literal["fixed"]
    reason: Literal[
        "under-specified",
        "input not published",
        "not delivered by the paper",
        "impossible as printed",
        "a control failed",
    ]
    detail: str


class Spread(_Frozen):
    """The standard deviation of a value over k trainings; of a percentage, as a share."""

    sd: float = Field(ge=0)
    k: int = Field(ge=2)


class Tolerance(_Frozen):
    """The inputs of a cell's tolerance: rounding, the sampling error of their n, and the seed spread, in
    quadrature.

    of      what is printed: a mean (over images whose sd is `spread`), an sd, or a proportion
    n       their sample size; None where it is unknown: the tolerance goes without that term
    seeds   "measured": our spread, from trainings set apart for it; a Spread: theirs, printed; None: without
            that term
    why     where the inputs come from, and which terms are missing
    """

    of: Literal["mean", "sd", "proportion"]
    n: int | None
    spread: float | None = None
    seeds: Literal["measured"] | Spread | None = "measured"
    why: str

    def sampling(self, printed: float, whole: float) -> float:
        """The 95 % half-width of the printed value if n were drawn anew; in its unit, of which `whole` makes
        1.
        """
        error = {
            "mean": self.spread or 0.0,
            "sd": printed / math.sqrt(2),
            "proportion": math.sqrt(max(printed * (whole - printed), 0.0)),
        }[self.of]
        return 1.96 * error / math.sqrt(self.n - (self.of == "sd")) if self.n else 0.0


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

    def concerns(self, id: str) -> bool:
        """Whether a measurement is a reading, or would be one if the row's data set were its stand-in."""
        by = self.decided_by
        return (
            self.decides(id)
            or bool(by.stand_in)
            and any(matches(pattern.replace(by.data, by.stand_in), id) for pattern in by.measurements)
        )

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
        return tuple(
            row
            for row in self._by_first_name.get(measurement.partition(".")[0], ())
            if row.concerns(measurement)
        )

    @cached_property
    def _by_first_name(self) -> dict[str, list[Row]]:
        """Rows by what their patterns begin with, which holds no *: a search among a few instead of all."""
        found: dict[str, list[Row]] = {}
        for row in self.rows:
            for name in dict.fromkeys(pattern.partition(".")[0] for pattern in row.decided_by.measurements):
                found.setdefault(name, []).append(row)
        return found


def matches(pattern: str, id: str) -> bool:
    """Whether a measurement's id matches a pattern, in which * stands for anything."""
    return _matcher(pattern)(id) is not None


@cache
def _matcher(pattern: str) -> Callable[[str], re.Match[str] | None]:
    return re.compile(translate(pattern)).match


def read_printed(printed: str) -> tuple[float, float]:
    """A printed number and its rounding half-width, both in the printed unit.

    >>> read_printed("95.23%")
    (95.23, 0.005)
    """
    found = re.fullmatch(r"([-+]?\d+(?:\.(\d+))?) ?%?", printed.strip().replace("−", "-"))
    if not found:
        raise ValueError(f"{printed!r} is not a printed number")
    return float(found[1]), float(f"5e-{len(found[2] or '') + 1}")


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
    content = yaml.safe_load(source)
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
    families, known = (
        Counter(row.family for row in plain.rows),
        {id: Spread.model_validate(spread) for id, spread in (spreads or {}).items()},
    )
    full = [
        row.model_copy(
            update={
                "level": 1 - 0.05 / families[row.family] if row.family else 0.95,
                "spreads": {id: spread for id, spread in known.items() if row.decides(id)},
            }
        )
        for row in plain.rows
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
