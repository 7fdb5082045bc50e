"""Which verdicts changed between two editions, and because of what. Each edition is judged by its own
package, ledgers and published records, taken from its commit.
"""

import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

from causalnb import UserError

JUDGE = """
import json
from pathlib import Path
import causalnb
from causalnb import ledger, record
PROFILES = ("quick", "laptop", "gpu", "full")
DECISIVE = {"kind", "printed", "unit", "rule", "tol", "decided_by", "controls", "level", "spreads"}
SAID = {"rule": {"why"}, "tol": {"why"}}
told = {"edition": causalnb.__version__, "chapters": {}}
for file in sorted(Path(causalnb.__file__).parent.glob("chapters/*/ledger.yaml")):
    name = file.parent.name
    runs = [record.read(one) for one in sorted(Path("book/published", name).glob("*/record.json"))]
    made = max(runs, key=lambda one: PROFILES.index(one.profile), default=None)
    told["chapters"][name] = {"profile": made and made.profile, "data": made.data if made else {}, "rows": {
        one.row.id: {
            "statement": one.row.statement, "word": one.word, "reason": one.reason,
            "rule": one.row.model_dump(mode="json", include=DECISIVE, exclude=SAID, exclude_defaults=True),
            "readings": {each.id: each.estimate.value for each in one.readings},
        } for one in ledger.judge(ledger.load(name), made)}}
print(json.dumps(told))
"""
LARGEST = 12  # rows that are told one by one


def judged(root: Path) -> dict[str, Any]:
    """The edition in a folder, judged by the package there: by chapter its profile, the digests of its data,
    and each ledger row with its word, rule and readings.
    """
    environment = os.environ | {"PYTHONPATH": str(root)}
    done = subprocess.run(
        [sys.executable, "-c", JUDGE], cwd=root, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise UserError(f"The edition in {root} cannot be judged here ({last}): see to it that it imports.")
    return dict(json.loads(done.stdout))


def at(root: Path, edition: str) -> dict[str, Any]:
    """An edition of the repository at `root`, by its number or what git knows it by, judged as it was."""
    mark = f'__version__ = "{edition}"'
    first = _git(root, "log", "--reverse", "--format=%H", f"-S{mark}", "--", "causalnb/__init__.py").split()
    commit = first[0].decode() if first else edition
    with tempfile.TemporaryDirectory() as folder:
        content = _git(root, "archive", commit, "causalnb", "book/published", "_toc.yml", "notebooks")
        with tarfile.open(fileobj=io.BytesIO(content)) as archive:
            archive.extractall(folder, filter="data")
        return judged(Path(folder))


def markdown(before: dict[str, Any], now: dict[str, Any]) -> str:
    """What changed between two judged editions, by chapter: rows that share a change stand together."""
    parts = [f"# Verdicts from {before['edition']} to {now['edition']}"]
    for name, chapter in now["chapters"].items():
        if name not in before["chapters"]:
            parts.append(f"## {name}\n\nNew, with {len(chapter['rows'])} rows.")
            continue
        parts.append(f"## {name}\n\n{_chapter(before['chapters'][name], chapter)}")
    gone = [name for name in before["chapters"] if name not in now["chapters"]]
    return "\n\n".join(parts + ([f"Gone: {', '.join(gone)}."] if gone else [])) + "\n"


def _chapter(before: dict[str, Any], now: dict[str, Any]) -> str:
    rows, others = now["rows"], before["rows"]
    both = [id for id in rows if id in others]
    groups: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for id in both:
        if rows[id]["word"] != others[id]["word"]:
            groups[others[id]["word"], rows[id]["word"], causes(before, now, id)].append(id)
    told = (
        f"Judged then at the profile {before['profile']}, now at {now['profile']}. Of {len(both)} rows that "
        f"both editions have, {sum(map(len, groups.values()))} changed their verdict; "
        f"{len(rows) - len(both)} are new, {len(others) - len(both)} are gone."
    )
    lines = []
    for (then, word, why), ids in sorted(groups.items(), key=lambda one: -len(one[1])):
        lines.append(f"- **{then} → {word}**, {len(ids)} row{'s' * (len(ids) > 1)}, because of the {why}:")
        lines += [f"  - `{id}` {rows[id]['statement']}{_moved(others[id], rows[id])}" for id in ids[:LARGEST]]
        if more := ids[LARGEST:]:
            lines.append(f"  - and {', '.join(f'`{id}`' for id in more)}")
    return "\n".join([told, *([""] if lines else []), *lines])


def causes(before: dict[str, Any], now: dict[str, Any], id: str) -> str:
    """What of a row is another thing now, of rule, data and number; the code that judges where none is."""
    first, second = before["rows"][id], now["rows"][id]
    shared = before["data"].keys() & now["data"].keys()
    other = {
        "rule": first["rule"] != second["rule"],
        "data": any(before["data"][name] != now["data"][name] for name in shared),
        "number": first["readings"] != second["readings"],
    }
    return " and the ".join(name for name, holds in other.items() if holds) or "code that judges"


def _moved(before: dict[str, Any], now: dict[str, Any]) -> str:
    """The numbers of a reading that both have and that moved."""
    for id, value in now["readings"].items():
        then = before["readings"].get(id)
        if then is not None and then != value:
            return f" ({id}: {then:.4g} → {value:.4g})"
    return ""


def _git(root: Path, *arguments: str) -> bytes:
    try:
        done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, check=True)
    except FileNotFoundError:
        raise UserError("Earlier editions are in the history of the repository: install git.") from None
    except subprocess.CalledProcessError as error:
        said = (error.stderr.decode(errors="replace").strip().splitlines() or ["git refused"])[0]
        raise UserError(f"No such edition is in the history of {root} ({said}): name a version.") from None
    return done.stdout
