"""A sweep's execution: each point an ordinary run, side by side by `processes.map`, none of them twice.

Under its own lock a point keeps what became of it in this sweep, so that a worker that is killed costs the
points in its hands and no other.
"""

import contextlib
import json
import platform
import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from causalnb import UserError, files, paths, processes, runner
from causalnb.parameters import parameters_of
from causalnb.store import locks
from causalnb.sweep import points as asked
from causalnb.texts import Chapter

TRIES = 3  # times that a point may end its worker
NAME = re.compile(r"[A-Za-z0-9][\w.+-]{0,79}", re.ASCII)


@dataclass(frozen=True)
class Sweep:
    """A sweep by its chapter, its name, and its points by the names of their folders."""

    chapter: str
    name: str
    points: Mapping[str, asked.Point]

    @property
    def home(self) -> Path:
        """The folder that holds a folder for each point."""
        return paths.runs_root() / self.chapter / f"sweep-{self.name}"


@dataclass(frozen=True)
class Outcome:
    """What became of a point: "made", "there" (it had been made before), "failed" with a sentence, or "" as
    long as its worker is at it for the so manieth of its tries.
    """

    word: str = ""
    sentence: str = ""
    tries: int = 0


@dataclass(frozen=True)
class _Task:
    """A point, and what its worker must know of the process that asks."""

    chapter: str
    values: asked.Point
    place: Path
    book: Path
    sweep: str
    variables: Mapping[str, str]

    @property
    def lock(self) -> Path:
        return self.place.parent / ".locks" / f"{self.place.name}.lock"

    def read(self) -> Outcome:
        """What has become of it in this sweep."""
        with contextlib.suppress(OSError, ValueError, TypeError):
            kept = json.loads(self.lock.with_suffix(".json").read_text(encoding="utf-8"))
            if kept.pop("sweep") == self.sweep:
                return Outcome(**kept)
        return Outcome()

    def keep(self, outcome: Outcome) -> Outcome:
        told = json.dumps({"sweep": self.sweep, **asdict(outcome)})
        files.write(self.lock.with_suffix(".json"), told)
        return outcome


def run(
    one: Chapter, points: Sequence[Mapping[str, Any]], name: str = ""
) -> tuple[Sweep, dict[str, Outcome]]:
    """Execute a chapter at each point that has no fresh record yet, under runs/CHAPTER/sweep-NAME/POINT.

    points   parameters by name, as they are typed or as their own types
    name     by default the names of what varies
    returns  the sweep, and what became of each of these points; those of an earlier call of the name stay

    raises   UserError where a point cannot be, before the first is executed
    """
    swept = _swept(one, points, name)
    with locks.alone(swept.home / ".locks" / "points.lock", f"the list of {swept.name}"):
        file = swept.home / "points.csv"
        before = asked.from_file(file) if file.exists() else []
        model = parameters_of(one.name)
        every = {asked.named(point): point for point in map(model.taken, before)} | dict(swept.points)
        asked.to_file(list(every.values()), file)
    variables = {**paths.for_kernel(), "CAUSALNB_QUIET": "1"}
    book, own = paths.book_root(), uuid.uuid4().hex
    tasks = [
        _Task(one.name, point, swept.home / folder, book, own, variables)
        for folder, point in swept.points.items()
    ]
    return replace(swept, points=every), dict(zip(swept.points, _outcomes(tasks), strict=True))


def _swept(one: Chapter, points: Sequence[Mapping[str, Any]], name: str) -> Sweep:
    """The sweep, once every point of it can be."""
    model = parameters_of(one.name)
    typed = [model.taken(point) for point in points]
    seen = {(p.profile, p.data, p.device): point for point in typed for p in [model.resolve(point)]}
    for point in seen.values():
        runner.check(one, point)
    names = dict.fromkeys(name for point in typed for name in point)
    varied = [one for one in names if len({repr(point.get(one)) for point in typed}) > 1]
    name = name or "-".join(varied) or "one"
    if not NAME.fullmatch(name):
        raise UserError(f"{name} cannot name a sweep: give letters, digits, and any of . _ + -, at most 80.")
    return Sweep(one.name, name, {asked.named(point): point for point in typed})


def _outcomes(tasks: Sequence[_Task]) -> list[Outcome]:
    """What becomes of each; when a worker ends, those that had begun have one of their own each."""
    while True:
        try:
            return processes.map(_point, tasks, what="points")
        except processes.WorkerEnded:
            for task in tasks:
                while not task.read().word and task.read().tries:
                    with contextlib.suppress(processes.WorkerEnded):
                        processes.map(_point, [task], apart=True)


def _point(task: _Task) -> Outcome:
    """In a worker: see to it that a point's record is there."""
    if not task.book.is_dir():
        raise UserError(
            f"A worker on {platform.node()} does not see {task.book}: the book, the store and the data must "
            "lie where all machines of the cluster find them under the same names."
        )
    with (
        contextlib.chdir(task.book),
        paths.surroundings(**task.variables),
        locks.alone(task.lock, f"the point {task.place.name}"),
    ):
        outcome, one = task.read(), runner.chapter(task.chapter)
        if outcome.word:
            return outcome
        if _there(one, task):
            return Outcome("there")
        if outcome.tries == TRIES:
            told = f"Its worker ended {TRIES} times (killed, or out of memory): ask for fewer images."
            return task.keep(Outcome("failed", told))
        task.keep(Outcome(tries=outcome.tries + 1))
        try:
            runner.run(one, task.values, place=task.place)
        except Exception as error:  # it stops no other point
            told = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
            return task.keep(Outcome("failed", told))
        return task.keep(Outcome("made"))


def _there(one: Chapter, task: _Task) -> bool:
    """Whether a point has a record that stands for the present source and these parameters."""
    found = runner.executed(task.place)
    p = parameters_of(one.name).resolve(task.values)
    return bool(
        found and found.record.parameters == p.model_dump() and runner.state(found, one).word == "fresh"
    )
