"""What a sweep says: its numbers as a table, the rule of each ledger row on each point's own numbers, where
that flips, and a figure. Nothing is executed.
"""

import csv
import io
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from causalnb import UserError, files, ledger, paths, record, runner
from causalnb.parameters import parameters_of
from causalnb.record import Comparison, Record
from causalnb.sweep import points as asked
from causalnb.sweep.running import Sweep

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Lines = list[dict[str, Any]]


@dataclass(frozen=True)
class Flip:
    """Between two neighbouring values of a parameter, all others alike, a row's rule says another thing: so
    many `times`, of so many neighbours at these values.
    """

    row: str
    parameter: str
    first: Any
    second: Any
    before: ledger.Ruling
    after: ledger.Ruling
    times: int
    of: int

    def __str__(self) -> str:
        """In words."""
        return (
            f"{self.row}: {self.before} at {self.parameter} = {self.first}, {self.after} at {self.second} "
            f"({self.times} of {self.of})"
        )


@dataclass(frozen=True)
class Said:
    """A sweep with the records that its points have."""

    swept: Sweep
    records: Mapping[str, Record]
    stale: tuple[str, ...] = ()

    @property
    def missing(self) -> list[str]:
        """Points that were asked for and have no record."""
        return [name for name in self.swept.points if name not in self.records]

    @cached_property
    def varied(self) -> dict[str, list[Any]]:
        """The parameters that differ between points, each with its values in order, as they were resolved."""
        found: dict[str, list[Any]] = {}
        for name in dict.fromkeys(name for point in self.swept.points.values() for name in point):
            values = {one.parameters[name] for one in self.records.values() if name in one.parameters}
            if len(values) > 1:
                found[name] = sorted(values, key=_order)
        return found

    def at(self, point: str) -> dict[str, Any]:
        """The values at a point of what varies."""
        return {name: self.records[point].parameters[name] for name in self.varied}

    def numbers(self) -> Lines:
        """A line a point and measurement: value, interval, level, n."""
        return [
            {"point": point, **self.at(point), "measurement": id}
            | {key: getattr(one.estimate, key) for key in ("value", "low", "high", "level", "n")}
            | {"data": ",".join(one.data or ())}
            for point, made in self.records.items()
            for id, one in sorted(made.measurements.items())
        ]

    @cached_property
    def rulings(self) -> dict[str, dict[str, ledger.Ruling]]:
        """What each row's rule says, by point and row."""
        rows = ledger.load(self.swept.chapter)
        return {point: ledger.ruled(rows, made) for point, made in self.records.items()}

    def rules(self) -> Lines:
        """A line a point and ledger row: what its rule says of the point's own numbers, and the word that the
        point's record earns.
        """
        rows, found = ledger.load(self.swept.chapter), []
        for point, made in self.records.items():
            words = {one.row.id: one.word for one in ledger.judge(rows, made)}
            found += [
                {"point": point, **self.at(point), "row": row, "rule": said, "word": words[row]}
                for row, said in self.rulings[point].items()
            ]
        return found

    def summary(self) -> list[tuple[str, str, str]]:
        """A line a ledger row: its id, at how many points its rule holds, fails or is open, and the words
        that their records earn.
        """
        rules: dict[str, Counter[str]] = {}
        words: dict[str, Counter[str]] = {}
        for line in self.rules():
            rules.setdefault(line["row"], Counter())[line["rule"]] += 1
            words.setdefault(line["row"], Counter())[line["word"]] += 1
        return [(row, _tally(rules[row]), _tally(words[row])) for row in rules]

    def flips(self) -> list[Flip]:
        """Where a rule says another thing at the next value of one parameter, in the ledger's order."""
        place = {tuple(self.at(point).values()): point for point in self.records}
        changes: Counter[tuple[Any, ...]] = Counter()
        pairs: Counter[tuple[Any, ...]] = Counter()
        for values, point in place.items():
            for number, (name, known) in enumerate(self.varied.items()):
                following = known[known.index(values[number]) + 1 :][:1]
                other = place.get((*values[:number], *following, *values[number + 1 :]), "")
                if not (following and other):
                    continue
                for row, before in self.rulings[point].items():
                    if after := self.rulings[other].get(row):
                        where = (row, name, values[number], *following)
                        pairs[where] += 1
                        changes[(*where, before, after)] += before != after
        order = [row.id for row in ledger.load(self.swept.chapter).rows]
        flips = [
            Flip(row, name, first, second, before, after, n, pairs[row, name, first, second])
            for (row, name, first, second, before, after), n in changes.items()
            if n
        ]
        return sorted(flips, key=lambda one: (order.index(one.row), list(self.varied).index(one.parameter)))

    def figure(self, measurement: str, over: str) -> "Figure":
        """A measurement with its intervals over a number that varies, a line for each choice of the rest."""
        from causalnb import plots

        numbers = [name for name, values in self.varied.items() if not isinstance(values[0], str)]
        if over not in numbers:
            raise UserError(f"{over} is no number that varies here: give one of {_several(numbers)}.")
        lines: dict[str, dict[float, tuple[float, float, float]]] = {}
        for point, made in sorted(self.records.items(), key=lambda pair: pair[1].parameters[over]):
            if one := made.measurements.get(measurement):
                rest = {name: value for name, value in self.at(point).items() if name != over}
                name = ", ".join(f"{key} {value}" for key, value in rest.items()) or measurement
                lines.setdefault(name, {})[made.parameters[over]] = one.estimate.interval
        if not lines:
            known = sorted({id for made in self.records.values() for id in made.measurements})
            raise UserError(f"{measurement} was not measured in this sweep; measured were {_several(known)}.")
        if len(lines) > len(plots.LOOKS):
            raise UserError(
                f"{len(lines)} lines of {measurement} over {over} cannot be told apart in a figure: sweep "
                f"over at most {len(plots.LOOKS)} combinations of the other parameters."
            )
        return plots.curves({measurement: lines}, x=over)

    def write(self) -> list[Path]:
        """The numbers and the rules as files in the sweep's folder: CSV, and Parquet where pyarrow is."""
        return [
            file
            for name, lines in (("numbers", self.numbers()), ("rules", self.rules()))
            for file in _tables(self.swept.home / name, lines)
        ]


def find(name: str) -> Said:
    """The sweep of that name, CHAPTER/NAME where several chapters have one, or in that folder."""
    folder, (chapter, _, last) = Path(name), name.rpartition("/")
    if not (folder / "points.csv").is_file():
        found = sorted(paths.runs_root().glob(f"{chapter or '*'}/sweep-*/points.csv"))
        named = [file.parent for file in found if file.parent.name == f"sweep-{last}"]
        if len(named) != 1:
            known = [f"{file.parts[-3]}/{file.parts[-2].removeprefix('sweep-')}" for file in found]
            told = "is the name of several sweeps" if named else "is no sweep of this machine"
            raise UserError(f"{name} {told}: give one of {_several(known)}.")
        folder = named[0]
    return _read(folder.resolve())


def compare(first: Said, second: Said) -> list[Comparison]:
    """Two sweeps, measurement by measurement at each point that both have; an id has its point before it."""
    both = [name for name in first.records if name in second.records]
    if not both:
        raise UserError(
            f"The sweeps {first.swept.name} and {second.swept.name} have no point in common: they have "
            f"{_several(first.records)}, and {_several(second.records)}."
        )
    return [
        row.model_copy(update={"id": f"{point}  {row.id}"})
        for point in both
        for row in record.compare(first.records[point], second.records[point])
    ]


def _read(folder: Path) -> Said:
    one = runner.chapter(folder.parent.name)
    taken = map(parameters_of(one.name).taken, asked.from_file(folder / "points.csv"))
    points = {asked.named(point): point for point in taken}
    made = {name: found for name in points if (found := runner.executed(folder / name))}
    stale = tuple(name for name, run in made.items() if runner.state(run, one).word != "fresh")
    name = folder.name.removeprefix("sweep-")
    return Said(Sweep(one.name, name, points), {name: run.record for name, run in made.items()}, stale)


def _order(value: Any) -> tuple[int, Any]:
    """Numbers by size, then words."""
    return (0, value) if isinstance(value, int | float) else (1, str(value))


def _tally(counted: Counter[str]) -> str:
    return ", ".join(f"{n} {word}" for word, n in counted.most_common())


def _several(names: Iterable[str]) -> str:
    first, *more = [", ".join(list(names)[:12]) or "none", *list(names)[12:]]
    return first + (f" and {len(more)} more" if more else "")


def _tables(stem: Path, lines: Sequence[dict[str, Any]]) -> list[Path]:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(lines[0]) if lines else ["point"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    written = [files.write(stem.with_suffix(".csv"), text.getvalue())]
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        return written
    content = io.BytesIO()
    parquet.write_table(pyarrow.Table.from_pylist(list(lines)), content)
    return [*written, files.write(stem.with_suffix(".parquet"), content.getvalue())]
