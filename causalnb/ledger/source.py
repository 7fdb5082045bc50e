"""How a ledger is read from `chapters/X/ledger.yaml`, and what is filled in: levels, spreads, caps."""

import itertools
import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from statistics import stdev
from typing import Any

import yaml
from pydantic import ValidationError

from causalnb import UserError
from causalnb.ledger.patterns import Patterns
from causalnb.ledger.rows import OWN, Ledger, Row
from causalnb.ledger.rules import Spread, read_printed
from causalnb.statistics import simultaneous_level


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
    levels = _levels(plain.rows)
    readings = Patterns([row.decided_by.measurements for row in plain.rows])
    known: list[dict[str, Spread]] = [{} for _ in plain.rows]
    for id, spread in (spreads or {}).items():
        for at in readings.of(id):
            known[at][id] = Spread.model_validate(spread)
    caps = _caps(plain.rows)
    full = [
        row.model_copy(
            update={
                "level": levels[row.id],
                "spreads": found,
                "cap": caps.get(row.id),
                "after": tuple(plain.paper.earlier),
            }
        )
        for row, found in zip(plain.rows, known, strict=True)
    ]
    return plain.model_copy(update={"rows": tuple(full)})


def _levels(rows: Iterable[Row]) -> dict[str, float]:
    """The level of each row's interval: by its family; a placebo's is the highest of the claims naming it."""
    families = Counter(row.family for row in rows)
    levels = {row.id: simultaneous_level(families[row.family]) if row.family else 0.95 for row in rows}
    of_claims: dict[str, float] = {}
    for row in rows:
        if row.placebo:
            of_claims[row.placebo] = max(levels[row.id], of_claims.get(row.placebo, 0.0))
    return levels | of_claims


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
