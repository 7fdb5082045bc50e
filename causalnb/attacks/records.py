"""Where the record of an attack goes: a name that carries what was asked, and a place that is checked before
the work; and what a record says when it is read again.

What stands in a record is report.py's.
"""

import json
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from causalnb import UserError, files, paths, record
from causalnb.statistics import Estimate, proportion

ASKED = (
    "model_digest",
    "architecture",
    "mean",
    "std",
    "data_digest",
    "norm",
    "eps",
    "suite",
    "n",
    "seed",
    "device",
)
CHOSEN = ("drawn", "options", "classes")  # named only where they are not what goes without saying
OURS = {"schema_version", "panel", "suite", "attacks", "clean", "robust", "verdicts"}


def asked(facts: Mapping[str, Any]) -> dict[str, Any]:
    """What decides the numbers of a record, as JSON holds it; None for what the facts do not name.

    >>> asked({"eps": 0.3, "mean": (0.5,)})["mean"]
    [0.5]
    """
    chosen = {key: facts[key] for key in CHOSEN if facts.get(key) is not None}
    found: dict[str, Any] = json.loads(json.dumps({key: facts.get(key) for key in ASKED} | chosen))
    return found


def name(facts: Mapping[str, Any]) -> str:
    """The file name of a record: the model's stem, the data, norm, eps, suite, n, seed, and a digest of all
    that was asked.

    >>> mine = {"model": "nets/mine.safetensors", "data": "digits8", "norm": "l2", "eps": 0.5}
    >>> name({**mine, "suite": "short", "n": 10, "seed": 0}).rpartition("-")[0]
    'mine-digits8-l2-0.5-short-n10-seed0'
    """
    of = asked(facts)
    parts = (
        _slug(Path(facts["model"]).stem),
        _slug(Path(facts["data"]).name),
        of["norm"],
        f"{of['eps']:.4g}",
        of["suite"],
        f"n{of['n']}",
        f"seed{of['seed']}",
        record.digest(json.dumps(of, sort_keys=True))[:10],
    )
    return "-".join(map(str, parts)) + ".json"


def place(output: Path | None, facts: Mapping[str, Any]) -> Path:
    """The path of a record, after a look at whether it can be written there; its folder is made.

    output   a .json file, or a folder in which the record has its own name; None: runs/attack

    Refused, as a UserError: a file with another ending, a place that cannot be written, a file that is no
    record of an attack, or one of another attack.
    """
    folder = paths.runs_root() / "attack" if output is None else output
    with files.refusals(folder):
        is_folder = output is None or folder.is_dir() or (not folder.suffix and not folder.exists())
    path = folder / name(facts) if is_folder else folder
    guard(path, facts)
    with files.refusals(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    return path


def guard(path: Path, facts: Mapping[str, Any]) -> None:
    """Refuse a path at which no record with these facts may be written: what stands there is kept."""
    with files.refusals(path):
        taken = path.exists() or path.is_symlink()
    if path.suffix != ".json":
        raise UserError(
            f"output = {str(path)!r} is not possible: a record is a .json file, so give such a name, or a "
            "folder."
        )
    if not taken:
        return
    there = _read(path)
    if there is None:
        raise UserError(f"{path} is no record of an attack, and is not overwritten: give another output.")
    if other := differing(asked(facts), asked(there)):
        raise UserError(
            f"{path} is the record of another attack ({', '.join(other)} differ), and is not overwritten: "
            "give another output."
        )


def differing(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[str]:
    """The names under which two hold different things."""
    return [key for key in {**first, **second} if first.get(key) != second.get(key)]


def read(path: Path) -> dict[str, Any]:
    """The record of an attack at a path."""
    content = _read(path)
    try:
        if content is not None and content["schema_version"] == 1:
            measured(content), judged(content)
            return content
    except (KeyError, TypeError, ValueError):
        pass
    raise UserError(f"{path} is no record of an attack that is known here: give a file that `attack` wrote.")


def measured(content: Mapping[str, Any]) -> record.Measured:
    """The numbers of a record: clean and robust accuracy, and the share that each attack broke of what it was
    given.
    """
    found = {"clean": Estimate(**content["clean"]), "robust": Estimate(**content["robust"])}
    for row in content["attacks"]:
        found[f"broken.{row['attack']}"] = proportion(row["broken"], row["attacked"])
    data = (content["data"],)
    return record.Measured(
        {id: record.Measurement(estimate=one, data=data) for id, one in found.items()},
        {content["data"]: content["data_digest"]},
    )


def judged(content: Mapping[str, Any]) -> list[str]:
    """What a record says of its own robust accuracy, in lines: the rows of the panel that decided, the flags,
    and whether the number is to be believed.
    """
    rows = [f"{row['word']:<15} {row['name']}  {row['sentence']}" for row in content["panel"]]
    flags = [f"{'flag':<15} {flag}" for flag in content["flags"]]
    failed = sum(row["word"] == "fail" for row in content["panel"])
    robust = content["robust"]
    ends = f" [{robust['low']:.4g}, {robust['high']:.4g}]" if robust.get("low") is not None else ""
    word = (
        f"bounds robustness from above only: {failed} rows fail, {len(flags)} flags"
        if failed or flags
        else "stands: no row fails, and nothing is flagged"
    )
    return [*rows, *flags, f"robust accuracy {robust['value']:.4g}{ends} {word}"]


def _read(path: Path) -> dict[str, Any] | None:
    """A record of an attack; None where something else stands there."""
    if not path.is_file():
        return None
    with files.refusals(path, "read"):
        raw = path.read_bytes()
    try:
        content = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) and content.keys() >= OURS else None


def _slug(text: str) -> str:
    """Text for a file name: letters, digits, points and underscores of at most 60 bytes.

    >>> _slug("my net/v 1.0")
    'my-net-v-1.0'
    """
    kept = re.sub(r"[^\w.]+", "-", text).strip("-.")
    return kept.encode()[:60].decode(errors="ignore") or "unnamed"
