"""The rules that decide a row, and the inputs of its tolerance; how a printed number is read."""

import itertools
import math
import operator
import re
from collections.abc import Iterable
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from causalnb.ledger.patterns import matches
from causalnb.statistics import widening

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

    @property
    def asks(self) -> tuple[object, ...]:
        """What a placebo must ask for as well."""
        return self.relation, self.than, self.margin

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


class TableRule(_Frozen):
    """One reading, the same in every cell of a table, gives what is printed (`ledger.tables`).

    cells      patterns of cells -> how the measurement of such a cell is spelled from a reading: <cell> is
               the cell's id, any other <name> the value of that choice, less the point before it where that
               is empty; of several patterns the first counts
    readings   products of choices, name -> values: together all that the text allows, and nothing else
    words      value of a choice -> how a reader is told it, where that is not the value itself
    why        what is left open, and where
    """

    type: Literal["table"]
    cells: dict[str, str] = Field(min_length=1)
    readings: tuple[dict[str, tuple[str, ...]], ...] = Field(min_length=1)
    words: dict[str, str] = {}
    why: str

    @model_validator(mode="after")
    def _choices(self) -> Self:
        asked = {name for text in self.cells.values() for name in re.findall(r"<(\w+)>", text)} - {"cell"}
        for choices in self.readings:
            if missing := sorted(asked - set(choices)):
                raise ValueError(f"a reading of the table does not choose {', '.join(missing)}")
        if len(set(self.words.values())) < len(self.words):
            raise ValueError("two values of a table's choices are told in the same words")
        return self

    def spelled(self, cells: Iterable[str]) -> dict[str, dict[str, str]]:
        """Every reading by its name: the measurement of each cell. Of readings that are the same in all cells
        the first stands.
        """
        texts = {cell: next(t for p, t in self.cells.items() if matches(p, cell)) for cell in cells}
        found: dict[tuple[str, ...], str] = {}
        for choices in self.readings:
            for values in itertools.product(*choices.values()):
                chosen = dict(zip(choices, values, strict=True))
                ids = tuple(_spelled(text, {**chosen, "cell": cell}) for cell, text in texts.items())
                told = (self.words.get(value, value) or f"no {name}" for name, value in chosen.items())
                found.setdefault(ids, ", ".join(told))
        return {name: dict(zip(texts, ids, strict=True)) for ids, name in found.items()}


def _spelled(text: str, chosen: dict[str, str]) -> str:
    return re.sub(
        r"(\.?)<(\w+)>", lambda found: found[1] + chosen[found[2]] if chosen[found[2]] else "", text
    )


class ShownRule(_Frozen):
    """Nothing is decided: a remark is shown."""

    type: Literal["shown"]


class FixedRule(_Frozen):
    """Nothing that can be measured decides the row."""

    type: Literal["fixed"]
    reason: Literal[
        "under-specified",
        "input not published",
        "not delivered by the paper",
        "impossible as printed",
        "a control failed",
        "a description",
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
    like    last parts of a reading's id that takes the spread of the reading without it
    why     where the inputs come from, and which terms are missing
    """

    of: Literal["mean", "sd", "proportion"]
    n: int | None
    spread: float | None = None
    seeds: Literal["measured"] | Spread | None = "measured"
    like: tuple[str, ...] = ()
    why: str

    def sampling(self, printed: float, whole: float, level: float = 0.95) -> float:
        """The half-width of the printed value at a level if n were drawn anew; in its unit, of which `whole`
        makes 1. At a printed 0 or 100 %, where counts have no spread, Wilson's other end: z^2 / (n + z^2).
        """
        z = 1.96 * widening(0.95, level)
        if self.of == "proportion" and self.n and not 0 < printed < whole:
            return whole * z * z / (self.n + z * z)
        error = {
            "mean": self.spread or 0.0,
            "sd": printed / math.sqrt(2),
            "proportion": math.sqrt(max(printed * (whole - printed), 0.0)),
        }[self.of]
        return z * error / math.sqrt(self.n - (self.of == "sd")) if self.n else 0.0


def read_printed(printed: str) -> tuple[float, float]:
    """A printed number and its rounding half-width, both in the printed unit. A count "k/n" is the share that
    it makes, and rounds to a whole count.

    >>> read_printed("95.23%"), read_printed("03/100")
    ((95.23, 0.005), (0.03, 0.005))
    """
    text = printed.strip().replace("−", "-")
    if (counted := re.fullmatch(r"(\d+)/(\d+)", text)) and int(counted[2]):
        return int(counted[1]) / int(counted[2]), 0.5 / int(counted[2])
    found = re.fullmatch(r"([-+]?\d+(?:\.(\d+))?) ?%?", text)
    if not found:
        raise ValueError(f"{printed!r} is not a printed number")
    return float(found[1]), float(f"5e-{len(found[2] or '') + 1}")
