"""The points of a sweep: lists and ranges of values, their product, and points from a file. Nothing is
executed.
"""

import csv
import io
import itertools
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from causalnb import UserError, files, record
from causalnb.parameters import COMMA

MOST = 10_000  # points
RANGE = re.compile(r"(\d{1,10}):(\d{1,10})")
LONGEST = 100  # letters of a folder's name
Point = dict[str, Any]


def listed(name: str, text: str) -> Sequence[str]:
    """The values of one parameter: "0.1,0.2" are two, "0:5" the whole numbers from 0 to 4. A comma inside a
    value is written \\,.

    >>> list(listed("seed", "0:3")), list(listed("eps", "0.1,8/255"))
    (['0', '1', '2'], ['0.1', '8/255'])
    """
    if found := RANGE.fullmatch(text):
        first, end = map(int, found.groups())
        if not 0 < end - first <= MOST:
            raise UserError(
                f"{name} = {text} is not possible: FIRST:END are the whole numbers from FIRST to END - 1, at "
                f"least one and at most {MOST:,}."
            )
        return [str(number) for number in range(first, end)]
    values = COMMA.split(text)
    if "" in (value.strip() for value in values):
        raise UserError(f"{name} = {text} is not possible: separate values by commas, and leave none empty.")
    return values


def product(values: Mapping[str, Sequence[str]], start: Iterable[Mapping[str, str]] = ({},)) -> list[Point]:
    """Every point of `start` with every combination of values; the last name varies fastest."""
    begun = list(start)
    if (n := len(begun) * math.prod(map(len, values.values()))) > MOST:
        raise UserError(f"{n:,} points are too many: ask for at most {MOST:,} in one sweep.")
    for name in values:
        if any(name in one for one in begun):
            raise UserError(f"{name} is asked in the file of points and by -p: give it in one of them.")
    combined = [dict(zip(values, chosen, strict=True)) for chosen in itertools.product(*values.values())]
    return [{**one, **more} for one in begun for more in combined]


def from_file(path: Path) -> list[Point]:
    """The points of a CSV file: its first line names parameters, each further line is a point; a parameter
    whose value is left empty has its profile's.
    """
    with files.refusals(path, "read"):
        try:
            lines = list(csv.reader(path.read_text(encoding="utf-8-sig").splitlines(), strict=True))
        except (ValueError, csv.Error) as error:
            raise UserError(f"{path} is no CSV file ({error}): give names, then values, by commas.") from None
    names, *rows = [[cell.strip() for cell in line] for line in lines if any(map(str.strip, line))] or [[]]
    if not rows or "" in names or len(set(names)) < len(names):
        raise UserError(
            f"{path} holds no points: its first line must name parameters, each once, and each further line "
            "give their values."
        )
    for number, row in enumerate(rows, 2):
        if len(row) != len(names):
            raise UserError(
                f"{path}: point {number - 1} has {len(row)} values, and {len(names)} parameters are named."
            )
    return [{name: value for name, value in zip(names, row, strict=True) if value} for row in rows]


def to_file(points: Sequence[Mapping[str, Any]], path: Path) -> Path:
    """Write points such that `from_file` reads them."""
    names = list(dict.fromkeys(name for point in points for name in point))
    lines = [names, *([str(point.get(name, "")) for name in names] for point in points)]
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(lines)
    return files.write(path, text.getvalue())


def named(point: Mapping[str, Any]) -> str:
    """The folder of a point: what was asked, as far as a file's name may say it."""
    asked = {name: value for name, value in point.items() if (name, value) != ("profile", "quick")}
    text = ",".join(f"{name}={value}" for name, value in sorted(asked.items())) or "plain"
    return safe(text)


def safe(text: str) -> str:
    """A text as a file's name; where that loses some of it, with a digest of the text."""
    plain = re.sub(r"[^\w.+=,-]", "_", text, flags=re.ASCII)
    return plain if plain == text and len(text) <= LONGEST else f"{plain[:LONGEST]}-{record.digest(text)[:8]}"
