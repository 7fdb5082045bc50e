"""One reading for a whole table: a paper printed all of its cells under the same one.

A reading that fixes every choice once for all m cells is excluded where h = ceil(m / 4) of them lie wholly
outside, interval and tolerance both at level 1 - 0.05 h / m: so many bands miss in at most 5 % of cases,
whatever their correlation (Rueger 1978), and fewer than h misprints exclude nothing. It fits where it is not
excluded and all cells but a few lie inside by the rule of a cell.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from scipy import stats

from causalnb.ledger.rows import Row
from causalnb.ledger.rules import CellRule, read_printed
from causalnb.statistics import Estimate, simultaneous_level

Readings = Mapping[str, Mapping[str, str]]  # reading -> cell -> measurement
Measured = Sequence[tuple[Row, str, Estimate]]  # cell, measurement, estimate


@dataclass(frozen=True)
class Limits:
    """Of a table of m cells: how many outside exclude a reading, at which level, and how many need not be
    inside where one fits.

    >>> Limits.of(32)
    Limits(m=32, excluding=8, level=0.9875, spared=4)
    """

    m: int
    excluding: int
    level: float
    spared: int

    @classmethod
    def of(cls, m: int) -> "Limits":
        """The limits for m cells."""
        h = math.ceil(m / 4)
        return cls(m, h, simultaneous_level(m, misses=h), min(int(stats.binom.ppf(0.95, m, 0.05)), m // 8))


@dataclass(frozen=True)
class TableReading:
    """How a reading does over a whole table.

    cells            of the table, m
    inside outside   cells inside at 95 %, and wholly outside at the table's level
    lacking          cells that are not measured or whose tolerance is not known
    directions       of the cells that stand against another: how many lie on the printed side of it, of how
                     many
    rms              of difference / tolerance over the cells, infinite where there is none
    also             readings that are the same in every cell
    """

    name: str
    word: Literal["fits", "excluded", "left"]
    cells: int
    inside: int
    outside: int
    lacking: int
    directions: tuple[int, int]
    rms: float
    also: tuple[str, ...] = ()


def ranked(
    cells: Sequence[Row], readings: Readings, estimates: Mapping[str, Estimate]
) -> tuple[TableReading, ...]:
    """Every reading of a table, those with the most cells inside first, of these the nearest. Readings with
    equal estimates in every cell count once.

    readings    reading -> cell -> measurement; estimates: by measurement, those that were made
    """
    same: dict[object, list[str]] = {}
    for name, ids in readings.items():
        made = tuple(of for _, _, of in _measured(cells, ids, estimates))
        same.setdefault(made if len(made) == len(cells) else name, []).append(name)
    limits = Limits.of(len(cells))
    found = [
        _reading(_measured(cells, readings[names[0]], estimates), names, limits) for names in same.values()
    ]
    return tuple(sorted(found, key=lambda one: (-one.inside, one.rms)))


def fits_permuted(cells: Sequence[Row], readings: Readings, estimates: Mapping[str, Estimate]) -> list[str]:
    """The control of a table, which must find none: readings that fit it also with its printed rows moved, by
    one, by two, ...
    """
    limits, highest = Limits.of(len(cells)), max(map(len, _columns(cells)))
    moved = [permuted(cells, by) for by in range(1, highest)]
    return [
        name
        for name, ids in readings.items()
        if any(_fits(_measured(each, ids, estimates), limits) for each in moved)
    ]


def permuted(cells: Sequence[Row], by: int) -> list[Row]:
    """The table in which each cell asks for what is printed `by` rows further down its column; after the last
    row comes the first.
    """
    moved = {}
    for column in _columns(cells):
        for place, row in enumerate(column):
            other = column[(place + by) % len(column)]
            update = {name: getattr(other, name) for name in ("printed", "unit", "tol", "cap")}
            moved[row.id] = row.model_copy(update=update)
    return [moved[row.id] for row in cells]


def _columns(cells: Iterable[Row]) -> list[list[Row]]:
    columns: dict[tuple[str, str, str], list[Row]] = {}
    for row in cells:
        if row.table:
            columns.setdefault((row.table.table, row.table.group, row.table.column), []).append(row)
    return list(columns.values())


def _measured(cells: Sequence[Row], ids: Mapping[str, str], estimates: Mapping[str, Estimate]) -> Measured:
    return [(row, ids[row.id], estimates[ids[row.id]]) for row in cells if ids[row.id] in estimates]


def _reading(made: Measured, names: Sequence[str], limits: Limits) -> TableReading:
    off = [row.off(of)[0] / tol for row, id, of in made if (tol := row.tolerance(id))]
    inside, outside = _inside(made), _outside(made, limits.level)
    fits = inside >= limits.m - limits.spared
    return TableReading(
        name=names[0],
        word="excluded" if outside >= limits.excluding else "fits" if fits else "left",
        cells=limits.m,
        inside=inside,
        outside=outside,
        lacking=limits.m - len(off),
        directions=_directions(made),
        rms=math.sqrt(sum(x * x for x in off) / len(off)) if off else math.inf,
        also=tuple(names[1:]),
    )


def _fits(made: Measured, limits: Limits) -> bool:
    return _inside(made) >= limits.m - limits.spared and _outside(made, limits.level) < limits.excluding


def _inside(made: Measured) -> int:
    return sum(_holds(*cell, 0.95) is True and not cell[0].spreads_too_far(cell[1]) for cell in made)


def _outside(made: Measured, level: float) -> int:
    return sum(_holds(*cell, level) is False for cell in made)


def _holds(row: Row, id: str, of: Estimate, level: float) -> bool | None:
    """Whether a cell lies inside (True), wholly outside (False) or neither, all at one level."""
    tol = row.tolerance(id, level)
    return None if tol is None or of.single_draw else CellRule.decide(*row.off(of.at(level)), tol)[0]


def _directions(made: Measured) -> tuple[int, int]:
    values = {row.id: row.scale(of.unit) * of.value for row, _, of in made}
    printed = {row.id: read_printed(row.printed)[0] for row, _, _ in made}
    pairs = [
        (values[row.id] - values[row.against], printed[row.id] - printed[row.against])
        for row, _, _ in made
        if row.against in values
    ]
    return sum(ours * theirs > 0 for ours, theirs in pairs if theirs), sum(theirs != 0 for _, theirs in pairs)
