"""From a text notebook to an executed one with its record: convert, run, publish; and whether a run is still
fresh.

papermill executes. A run appears under runs/CHAPTER/ whole or not at all; a failed notebook is kept apart.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from causalnb import UserError, console, data, files, notebook, paths, record
from causalnb.ledger.rows import PROFILES
from causalnb.parameters import Parameters

if TYPE_CHECKING:
    from nbformat import NotebookNode

NUMBERED = re.compile(r"(\d\d)_(\w+)\.md")


@dataclass(frozen=True)
class Chapter:
    """A chapter by its number ("01"), its name ("ace"), its title and its text notebook."""

    number: str
    name: str
    title: str
    source: Path


@dataclass(frozen=True)
class Executed:
    """A finished run: its folder, its notebook, its record."""

    folder: Path
    notebook: Path
    record: record.Record


@dataclass(frozen=True)
class State:
    """Whether an execution stands for the present source: "fresh", "stale" because of some files, or "never
    run".
    """

    word: str
    because: tuple[str, ...] = ()


def chapters() -> dict[str, Chapter]:
    """The book's chapters by name, in order."""
    found = {}
    for file in sorted((paths.book_root() / "notebooks").glob("*.md")):
        if match := NUMBERED.fullmatch(file.name):
            title = next(
                line[2:].strip()
                for line in file.read_text(encoding="utf-8").splitlines()
                if line.startswith("# ")
            )
            found[match[2]] = Chapter(match[1], match[2], title, file)
    return found


def chapter(name: str) -> Chapter:
    """A chapter by its name or its number: "ace", "01" and "1" are the same."""
    known = chapters()
    for one in known.values():
        if name in (one.name, one.number, one.number.lstrip("0") or "0"):
            return one
    raise UserError(
        f"{name} is not a chapter of this book. Known are "
        f"{', '.join(f'{c.number} {c.name}' for c in known.values())}."
    )


def convert(one: Chapter) -> NotebookNode:
    """The chapter's text as a notebook for Jupyter and papermill, without outputs."""
    import jupytext

    return jupytext.read(one.source)


def cells(one: Chapter) -> str:
    """The digest of the chapter's code cells as they are now."""
    return record.cells_digest([cell.source for cell in convert(one).cells if cell.cell_type == "code"])


def check(one: Chapter, values: Mapping[str, Any]) -> Parameters:
    """The resolved parameters, everything that can be refused refused before a kernel starts."""
    p = notebook.parameters_of(one.name).resolve(values)
    notebook.find_device(p.device)
    for name in p.sets:
        data.require(name)
    return p


def run(one: Chapter, values: Mapping[str, Any]) -> Executed:
    """Execute a chapter; its notebook and record appear when it ends well.

    Their folder is runs/CHAPTER/PROFILE for a profile as it stands, else runs/CHAPTER/PROFILE-TIME.

    raises  UserError where a cell refused something or the notebook failed (it is kept in
            runs/CHAPTER/failed)
    """
    import papermill

    p = check(one, values)
    book, home = paths.book_root(), paths.runs_root() / one.name
    stamp = f"{datetime.now(UTC):%Y%m%d-%H%M%S}"
    target = home / (p.profile if set(values) <= {"profile"} else f"{p.profile}-{stamp}")
    part = home / f".{stamp}-{os.getpid()}"
    part.mkdir(parents=True)
    executed = part / f"{one.name}.ipynb"
    try:
        with _environment(CAUSALNB_RECORD=str(part / "record.json"), CAUSALNB_QUIET="1", **_threads(p)):
            papermill.execute_notebook(
                convert(one),
                str(executed),
                parameters=dict(values),
                kernel_name="python3",
                cwd=str(book),
                progress_bar=sys.stderr.isatty() and not console.quiet(),
                extra_arguments=["--IPKernelApp.log_level=CRITICAL"],
            )
        _strip(executed)
        _replace(part, target)
    except papermill.PapermillExecutionError as error:
        raise _failure(error, executed, home / "failed") from None
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return Executed(target, target / executed.name, record.read(target))


def _threads(p: Parameters) -> dict[str, str]:
    return {"OMP_NUM_THREADS": str(p.threads), "OMP_WAIT_POLICY": "passive"}


@contextmanager
def _environment(**values: str) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _failure(error: Any, executed: Path, kept: Path) -> UserError:
    if error.ename == "UserError":
        return UserError(error.evalue)
    kept.mkdir(parents=True, exist_ok=True)
    file = kept / f"{executed.parent.name.lstrip('.')}.ipynb"
    shutil.move(executed, file)
    return UserError(
        f"The notebook failed with {error.ename}: {error.evalue.splitlines()[0] if error.evalue else ''} "
        f"in cell {error.exec_count}. It is kept as {file.relative_to(paths.runs_root().parent)}: open it to "
        "see the cell."
    )


def _strip(file: Path) -> None:
    """Leave out what differs from run to run and what names this machine (papermill's times and paths,
    stderr); join a cell's prints.
    """
    import nbformat

    node = nbformat.read(file, as_version=4)
    node.metadata.pop("papermill", None)
    for cell in node.cells:
        cell.metadata.pop("papermill", None)
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs = _joined(output for output in cell.outputs if output.get("name") != "stderr")
    nbformat.write(node, file)


def _joined(outputs: Iterable[NotebookNode]) -> list[NotebookNode]:
    kept: list[NotebookNode] = []
    for output in outputs:
        if kept and output.output_type == kept[-1].output_type == "stream":
            kept[-1].text += output.text
        else:
            kept.append(output)
    return kept


def _replace(part: Path, target: Path) -> None:
    """Put the folder `part` where `target` is; a run that was there goes only when the new one is whole."""
    target.parent.mkdir(parents=True, exist_ok=True)
    old = part.with_name(part.name + ".old")
    if target.exists():
        target.rename(old)
    part.rename(target)
    shutil.rmtree(old, ignore_errors=True)


# Which runs there are -------------------------------------------------------------------------------------


def executed(folder: Path) -> Executed | None:
    """The finished run in a folder, or None; one that cannot be read is told in a line and left out."""
    try:
        with files.refusals(folder, "read"):
            names = sorted(file.name for file in folder.iterdir()) if folder.is_dir() else []
        notebooks = [name for name in names if name.endswith(".ipynb")]
        if not notebooks or "record.json" not in names:
            return None
        return Executed(folder, folder / notebooks[0], record.read(folder))
    except UserError as error:
        console.say(f"left out: {error}")
        return None


def _executions(home: Path) -> list[Executed]:
    """The finished runs in the folders of a folder."""
    try:
        with files.refusals(home, "read"):
            folders = sorted(home.iterdir()) if home.is_dir() else []
    except UserError as error:
        console.say(f"left out: {error}")
        return []
    return [run for folder in folders if folder.name[0] != "." and (run := executed(folder))]


def local(one: Chapter) -> list[Executed]:
    """Runs of this machine, newest first."""
    return sorted(
        _executions(paths.runs_root() / one.name), key=lambda run: run.record.finished, reverse=True
    )


def quick(one: Chapter) -> Executed | None:
    """This machine's run of the quick profile as it stands, or None."""
    return executed(paths.runs_root() / one.name / "quick")


def published(one: Chapter) -> list[Executed]:
    """The executions that the book carries, the largest profile first."""
    found = _executions(paths.published_root() / one.name)
    return sorted(found, key=lambda run: PROFILES.index(run.record.profile), reverse=True)


def publish(run: Executed, one: Chapter) -> Executed:
    """Copy a run to book/published/CHAPTER/PROFILE-DEVICE, in place of the one there."""
    target = paths.published_root() / one.name / f"{run.record.profile}-{run.record.device.partition(':')[0]}"
    part = target.with_name(f".{target.name}.part")
    files.remove(part)
    with files.refusals(target):
        for file in (run.notebook, run.folder / "record.json"):
            files.write(part / file.name, file.read_bytes())
        _replace(part, target)
    return Executed(target, target / run.notebook.name, run.record)


def state(run: Executed | None, one: Chapter) -> State:
    """Whether a run is fresh, stale (because of which files), or never made."""
    if run is None:
        return State("never run")
    because = record.stale_because(run.record, cells(one))
    return State("stale" if because else "fresh", tuple(because))
