"""The record of one execution: what was asked, what came out, and everything that made it.

A record is plain JSON with a schema number. It holds no verdict: `ledger` judges it, so a mended rule never
leaves a stale word behind.
"""

from __future__ import annotations

import ast
import hashlib
import json
import math
import sys
from collections.abc import Iterable, Mapping
from functools import cache
from importlib import metadata
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict
from pydantic_core import to_json

import causalnb
from causalnb import UserError, files, kinds
from causalnb.parameters import Profile
from causalnb.statistics import Estimate

SCHEMA = 3  # 1: each measurement whole; 2: what they share once; 3: the data of each is said, not guessed
LIBRARIES = (
    "torch",
    "torchvision",
    "foolbox",
    "pyautoattack",
    "numpy",
    "scipy",
    "scikit-learn",
    "matplotlib",
    "jupyter-book",
)
OWN = ("value", "low", "high", "p", "draws")  # of an estimate: what no other measurement has
NOT_COMPUTING = {
    "__init__",
    "record",
    "kinds",
    "ledger",
    "console",
    "kernel",
    "paths",
    "places",
    "figstyle",
    "plots",
    "files",
    "fragments",
    "notebook",
    "runner",
    "texts",
    "book",
    "cli",
    "lazy",
    "usage",
    "processes",
    "sweep",
}


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True, allow_inf_nan=False)


def _sound(one: Estimate) -> Estimate:
    """Finite numbers, both ends of an interval or none, and a level, p and n that can be."""
    low, high, level, p = one.low, one.high, one.level, one.p
    if not all(x is None or math.isfinite(x) for x in (one.value, low, high, level, p)):
        raise ValueError("an estimate's numbers are finite")
    if (low is None) != (high is None) or (low is not None and high is not None and low > high):
        raise ValueError("an interval has two ends, the lower one first")
    if (level is not None and not 0 < level < 1) or (p is not None and not 0 <= p <= 1):
        raise ValueError("a level and a p are shares")
    if one.n is not None and not 0 <= one.n < kinds.LARGEST:
        raise ValueError("n is a count")
    return one


class MeasurementId(str):
    """What is measured: a kind and named parts, spelled with points between them.

    data    the data sets that it is measured on; the part `data`, where there is one, unless it is said

    >>> id = MeasurementId.of("claim", claim="T6", data="my.set v1.0", attack="pgd", reading="R1")
    >>> id, id.parts["attack"], id.data
    ('claim.T6.my.set v1.0.pgd.R1', 'pgd', ('my.set v1.0',))
    """

    kind: str
    parts: Mapping[str, str]
    data: tuple[str, ...]

    @classmethod
    def of(cls, kind: str, /, *, on: str | Iterable[str] | None = None, **parts: object) -> MeasurementId:
        """The id of a kind with its parts in the order given; a part that is "" is left out.

        on    the data sets, where they are more or others than the part `data`
        """
        named = {name: str(part) for name, part in parts.items() if part != ""}
        id = cls(".".join([kind, *named.values()]))
        id.kind, id.parts = kind, MappingProxyType(named)
        id.data = data_sets(on if on is not None else named.get("data", ()))
        return id


def data_sets(given: str | Iterable[str]) -> tuple[str, ...]:
    """One name, or several, as a tuple; an empty name is none."""
    return tuple(name for name in ((given,) if isinstance(given, str) else given) if name)


class Measurement(_Frozen):
    """An estimate under its id, with the digests of the ledger rows that it was to decide, as they stood when
    it was made.
    """

    estimate: Annotated[Estimate, AfterValidator(_sound)]
    what: str = ""
    section: str = ""
    data: tuple[str, ...] | None = None
    rows: dict[str, str] = {}


class Section(_Frozen):
    """A part of the run: seconds of the wall clock and of the processor, and the peak memory so far in bytes;
    `environment["counted"]` says of which processes.
    """

    name: str
    seconds: kinds.Seconds
    cpu_seconds: kinds.Seconds
    peak_memory: kinds.Count


class Use(_Frozen):
    """A store entry that the run made or reused; the seconds, device and versions are those of its making.

    carried   weights that the book carries, whatever the code is now"""

    digest: str
    what: str
    made: bool
    seconds: kinds.Seconds
    device: str
    versions: dict[str, str]
    carried: bool = False


class Record(_Frozen):
    """One execution of one chapter. `changed` are the parameters that are not its profile's own."""

    schema_version: int = SCHEMA
    chapter: kinds.Name
    profile: Profile
    edition: str
    parameters: dict[str, kinds.Value]
    changed: dict[str, kinds.Value] = {}
    measurements: dict[str, Measurement]
    sections: list[Section]
    source_digest: str
    sources: dict[kinds.Source, str]
    environment: kinds.Environment
    seeds: list[kinds.Whole]
    device: kinds.Device
    threads: kinds.Count
    data: dict[str, str]
    store: list[Use]
    started: kinds.Moment
    finished: kinds.Moment
    seconds: kinds.Seconds
    cpu_seconds: kinds.Seconds
    peak_memory: kinds.Count
    commit: str | None = None

    def write(self, path: Path) -> Path:
        """Write whole or not at all, one measurement a line; what measurements have in common stands under
        "shared", once.
        """
        fields = self.model_dump(mode="json")
        fields["measurements"], fields["shared"] = _factored(fields["measurements"])
        lines = [
            f"  {json.dumps(name)}: "
            f"{_lines(value) if name in ('measurements', 'shared') else json.dumps(value, sort_keys=True)}"
            for name, value in fields.items()
        ]
        return files.write(path, "{\n" + ",\n".join(lines) + "\n}\n")


def _lines(values: dict[str, Any]) -> str:
    return "{\n" + ",\n".join(f"    {json.dumps(k)}: {json.dumps(v)}" for k, v in values.items()) + "\n  }"


def _factored(measurements: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Of each measurement what is its own, with the number of the rest; the rests by their numbers. `_whole`
    undoes it.
    """
    numbers: dict[str, str] = {}
    own = {}
    for id, item in sorted(measurements.items()):
        estimate = {k: v for k, v in item["estimate"].items() if v not in (None, "", [])}
        rest = {
            k: v for k, v in item.items() if k != "estimate" and (v or (k == "data" and v is not None))
        } | {"estimate": {k: v for k, v in estimate.items() if k not in OWN}}
        number = numbers.setdefault(json.dumps(rest, sort_keys=True), str(len(numbers)))
        own[id] = {k: estimate[k] for k in OWN if k in estimate} | {"of": number}
    return own, {number: json.loads(rest) for rest, number in numbers.items()}


def _whole(content: dict[str, Any]) -> dict[str, Any]:
    """A record's content as it was before `_factored`; one of schema 1 is whole already.

    Schemas 1 and 2 guessed a measurement's data from its id: an empty guess is unknown.
    """
    shared = content.pop("shared", {})
    for id, own in content["measurements"].items() if shared else ():
        rest = shared[own.pop("of")]
        content["measurements"][id] = {**rest, "estimate": {**rest["estimate"], **own}}
    if content.get("schema_version", 1) < 3:
        for one in content["measurements"].values():
            one["data"] = [one["data"]] if one.get("data") else None
    return content


def read(path: Path) -> Record:
    """The record at `path` (a file, or a folder that holds record.json); each kind of value is checked."""
    with files.refusals(path, "read"):
        file = path / "record.json" if path.is_dir() else path
        try:
            content = file.read_bytes()
        except FileNotFoundError:
            raise UserError(f"No record is at {path}: give a record.json, or the folder of a run.") from None
    try:
        plain = kinds.plain_json(content)
        _known(plain, file)
        return Record.model_validate_json(to_json(_whole(plain), inf_nan_mode="constants"), strict=True)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{file} is not a record of schema {SCHEMA}: {kinds.fault(error)}; give a file that a run wrote."
        ) from None


def _known(content: Any, file: Path) -> None:
    """Refuse a record of a schema that this version does not know."""
    if not isinstance(content, dict):
        raise ValueError("a record is a JSON object")
    number = content["schema_version"]
    if type(number) is not int or not 1 <= number <= SCHEMA:
        raise UserError(
            f"{file} is a record of schema {number!r:.80}, and this version of causalnb reads schemas 1 to "
            f"{SCHEMA}: install the version that wrote it, or give another record."
        )


# What computed it -----------------------------------------------------------------------------------------


def digest(content: bytes | str) -> str:
    """SHA-256, the first 16 hex digits."""
    return hashlib.sha256(content.encode() if isinstance(content, str) else content).hexdigest()[:16]


@cache
def file_digest(path: Path) -> str:
    """Of a file's content; read once a process."""
    return digest(path.read_bytes())


@cache
def code_digest(path: Path) -> str:
    """Of a file's code: without docstrings, comments and layout, the same in every version of Python. Read
    once a process.
    """
    return digest(repr(_told(ast.parse(path.read_bytes()))))


def _told(node: Any) -> Any:
    """A syntax tree as nested lists, without docstrings, empty fields, and empty texts inside of f-strings:
    in these versions of Python differ.
    """
    if isinstance(node, list):
        return [_told(one) for one in node]
    if not isinstance(node, ast.AST):
        return node
    fields = {name: value for name, value in ast.iter_fields(node) if value not in (None, [])}
    if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        fields["body"] = node.body[ast.get_docstring(node, clean=False) is not None :]
    if isinstance(node, ast.JoinedStr):
        fields["values"] = [one for one in node.values if getattr(one, "value", None) != ""]
    return [type(node).__name__, *([name, _told(value)] for name, value in fields.items())]


def computing_sources() -> dict[str, str]:
    """Package files imported so far that can change a number, all but `NOT_COMPUTING`, each with its
    digest.
    """
    root = Path(causalnb.__file__).parent
    found = {}
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if (
            file
            and name.startswith("causalnb")
            and _computes(place := str(Path(file).relative_to(root.parent)))
        ):
            found[place] = code_digest(Path(file))
    return dict(sorted(found.items()))


def _computes(place: str) -> bool:
    """Whether a package file can change a number, by its place: causalnb/chapters/ace/maps.py."""
    return Path(place).with_suffix("").parts[1] not in NOT_COMPUTING


def cells_digest(cells: list[str]) -> str:
    """The digest of a notebook's code: each cell once, white space at the ends of lines and cells aside."""
    bare = ("\n".join(line.rstrip() for line in cell.strip().splitlines()) for cell in cells)
    return digest("\n\f\n".join(dict.fromkeys(cell for cell in bare if cell)))


def versions() -> dict[str, str]:
    """Python's version and those of the libraries that can change a number."""
    return dict(_versions())


@cache
def _versions() -> dict[str, str]:
    found = {"python": ".".join(map(str, sys.version_info[:3])), "causalnb": causalnb.__version__}
    for name in LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def major(version: str) -> str:
    """The part of a version that may change numbers: two places, the build tag left out."""
    return ".".join(version.partition("+")[0].split(".")[:2])


def source_digest(cells: str, sources: dict[str, str], libraries: dict[str, str]) -> str:
    """One digest over the code cells, the computing files and the major versions."""
    majors = {name: major(version) for name, version in libraries.items() if name != "causalnb"}
    return digest(json.dumps([cells, sources, majors], sort_keys=True))


def stale_because(record: Record, cells: str) -> list[str]:
    """Why a record no longer stands for the present source: names of files, "the notebook"; empty if it is
    fresh.

    cells   the `cells_digest` of the chapter's notebook as it is now
    """
    root = Path(causalnb.__file__).parent.parent
    reasons = [] if record.sources.get("notebook") == cells else ["the notebook"]
    for name, then in record.sources.items():
        file = root / name
        if name != "notebook" and _computes(name) and not (file.is_file() and code_digest(file) == then):
            reasons.append(name)
    return reasons


def elsewhere(record: Record) -> list[str]:
    """In which versions of Python and the libraries a record differs from what is here: "Python 3.11 there,
    3.13 here".
    """
    now, then = versions(), record.environment.get("versions", {})
    return [
        f"{name.replace('python', 'Python')} {major(then[name])} there, {major(now[name])} here"
        for name in then
        if name != "causalnb" and name in now and major(now[name]) != major(then[name])
    ]


# What compares records stands above nothing that it needs.
from causalnb.record.comparison import Comparison as Comparison  # noqa: E402
from causalnb.record.comparison import Measured as Measured  # noqa: E402
from causalnb.record.comparison import compare as compare  # noqa: E402
