"""From a text notebook to an executed one with its record: run, publish; and whether a run is still fresh.

papermill executes. A run appears under runs/CHAPTER/ whole or not at all; a failed notebook is kept apart.
How a run takes its place, and what it may replace, is the matter of `places`.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import sys
import tempfile
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from causalnb import UserError, console, data, files, kernel, paths, places, record
from causalnb.ledger.rows import PROFILES
from causalnb.parameters import Parameters, parameters_of
from causalnb.texts import Chapter, adopt, cells, chapter, chapters, convert, convert_to

if TYPE_CHECKING:
    from nbformat import NotebookNode

__all__ = ["Chapter", "adopt", "cells", "chapter", "chapters", "convert", "convert_to"]
DEVICE = {"device", "threads"}  # parameters that say how a run computes, not what
_one_at_a_time = threading.Lock()  # a run sets this process's environment and working folder


@dataclass(frozen=True)
class Executed:
    """A finished run: its folder, its notebook, its record."""

    folder: Path
    notebook: Path
    record: record.Record


@dataclass(frozen=True)
class State:
    """Whether an execution stands for the present source: "fresh", "stale" because of some files, or "never
    run". A fresh one may have been made elsewhere, with other versions of Python and libraries.
    """

    word: str
    because: tuple[str, ...] = ()
    elsewhere: tuple[str, ...] = ()


def check(one: Chapter, values: Mapping[str, Any]) -> Parameters:
    """The resolved parameters, everything that can be refused refused before a kernel starts."""
    return _checked(one, values)[0]


def _checked(one: Chapter, values: Mapping[str, Any]) -> tuple[Parameters, NotebookNode]:
    """The same, and the notebook that takes them."""
    p, node = parameters_of(one.name).resolve(values), convert(one)
    _require_tag(one, node, type(p).taken(values))
    if p.device not in ("auto", "cpu"):  # which are always there
        from causalnb import notebook

        notebook.find_device(p.device)
    for name in p.sets:
        data.require(name)
    return p, node


def run(one: Chapter, values: Mapping[str, Any], *, place: Path | None = None) -> Executed:
    """Execute a chapter; its notebook and record appear when it ends well.

    Their folder is runs/CHAPTER/PROFILE for a profile as it stands, else runs/CHAPTER/PROFILE-TIME. A run
    that was in PROFILE goes to PROFILE-TIME, unless this one has the same parameters and found it there,
    untouched. A `place`, a whole path, stands for runs/CHAPTER/PROFILE whatever the parameters.

    raises  UserError where a cell refused something, the notebook failed or left no record of what was asked
            (it is kept in the folder failed beside it), or the disk refuses
    """
    p, node = _checked(one, values)
    values = type(p).taken(values)
    target = place or paths.runs_root() / one.name / p.profile
    home = target.parent
    _require_folder(target)
    places.sweep(home)
    found = {places.identity(folder) for folder in home.glob("[!.]*")} - {None}
    part = files.fresh_folder(home, f".{places.stamp()}-{os.getpid()}")
    keep = False
    try:
        executed = _execute(one, node, values, p, part)
        made = _require_record(one, executed, values)
        keep = True
        own = place is not None or set(values) <= {"profile"}
        folder = places.settle(part, _stripped(executed), target, made, found, own=own)
        keep = False
    finally:
        if not keep:
            shutil.rmtree(part, ignore_errors=True)
    return Executed(folder, folder / executed.name, made)


def _require_tag(one: Chapter, node: NotebookNode, values: Mapping[str, Any]) -> None:
    """Refuse to ask a notebook that lists no parameters: papermill would set them before the cell that resets
    them.
    """
    if values and not any("parameters" in cell.metadata.get("tags", []) for cell in node.cells):
        name, value = list(values.items())[-1]
        raise UserError(
            f"{paths.short(one.source)} has no cell with the tag `parameters`, so {name} = {value!r} would "
            "not be used: put the tag back on the cell that lists the parameters (`:tags: [parameters]`)."
        )


def _require_folder(folder: Path) -> None:
    if os.path.lexists(folder) and (folder.is_symlink() or not os.path.isdir(folder)):
        raise UserError(f"{paths.short(folder)} is not a folder, but a run is to stand there: move it away.")


def _execute(one: Chapter, node: NotebookNode, values: Mapping[str, Any], p: Parameters, part: Path) -> Path:
    """The executed notebook, in the folder `part`; the kernel leaves its record there."""
    import papermill
    from jupyter_client.kernelspec import NoSuchKernel

    executed = part / f"{one.name}.ipynb"
    environment = {
        "CAUSALNB_RECORD": str(part / "record.json"),
        "CAUSALNB_QUIET": "1",
        kernel.ASKED: json.dumps(dict(values)),
        "OMP_NUM_THREADS": str(p.threads),
        "OMP_WAIT_POLICY": "passive",
    }
    bar = sys.stderr.isatty() and not console.quiet()
    for logger in ("papermill", "traitlets"):  # what they would say of a dead kernel is in our sentence
        logging.getLogger(logger).setLevel(logging.CRITICAL)
    with files.refusals(part), tempfile.TemporaryFile() as heard:
        try:
            with (
                _one_at_a_time,
                paths.surroundings(**paths.for_kernel(), **environment),
                _stderr_of_programs(heard),
            ):
                papermill.execute_notebook(
                    node,
                    str(executed).replace("{", "{{").replace("}", "}}"),  # papermill formats it
                    parameters=dict(values),
                    kernel_name="python3",
                    cwd=str(paths.book_root()),
                    progress_bar=bar,
                    extra_arguments=["--IPKernelApp.log_level=CRITICAL"],
                )
        except papermill.PapermillExecutionError as error:
            raise _failure(error, executed) from None
        except (RuntimeError, NoSuchKernel, FileNotFoundError) as error:
            heard.seek(0)
            last = heard.read().decode(errors="replace").strip().splitlines()[-1:]
            said = [(str(error).splitlines() or [type(error).__name__])[0], *last]
            raise UserError(
                f"The kernel that runs {paths.short(one.source)} did not start or died "
                f"({'; '.join(said)}): see to it that there is memory and room on the disk, that `python -m "
                "ipykernel --version` works, and start the run again (what was finished is in the store)."
            ) from None
    return executed


@contextmanager
def _stderr_of_programs(sink: IO[bytes]) -> Iterator[None]:
    """What programs that start here write to stderr goes into a file; what this process writes does not."""
    own, kept = sys.stderr, os.dup(2)
    os.dup2(sink.fileno(), 2)
    try:
        with open(kept, "w", encoding="utf-8", errors="replace", buffering=1, closefd=False) as same:
            with suppress(AttributeError, OSError):  # one without a file goes elsewhere
                sys.stderr = same if own.fileno() == 2 else own
            yield
    finally:
        sys.stderr = own
        os.dup2(kept, 2)
        os.close(kept)


def _require_record(one: Chapter, executed: Path, values: Mapping[str, Any]) -> record.Record:
    """The record that the notebook left beside it; refused where it is none, or not of what was asked."""
    text = paths.short(one.source)
    try:
        made = record.read(executed.with_name("record.json"))
        wrong = _not_asked(one, made, values)
        if not wrong:
            return made
        wrong = f"{text} left a record of {wrong} (see its cells of parameters and of begin)"
    except UserError:
        wrong = f"{text} ended without a record (its last cell must be `run.finish()`)"
    kept = places.keep_failed(executed)
    raise UserError(f"{wrong}: no run was replaced, and its notebook is kept as {kept}.")


def _not_asked(one: Chapter, made: record.Record, values: Mapping[str, Any]) -> str:
    """What of a record is not what was asked, in words; "" where all is."""
    if made.chapter != one.name:
        return f"the chapter {made.chapter}"
    return ", ".join(
        f"{name} = {made.parameters.get(name)!r} where {value!r} was asked"
        for name, value in values.items()
        if value is not None and made.parameters.get(name) != value
    )


def _failure(error: Any, executed: Path) -> UserError:
    if error.ename == "UserError":
        return UserError(error.evalue)
    return UserError(
        f"The notebook failed with {error.ename}: {error.evalue.splitlines()[0] if error.evalue else ''} "
        f"in cell {error.exec_count}. It is kept as {places.keep_failed(executed)}: open it to see the cell."
    )


def _stripped(file: Path) -> str:
    """A notebook without what differs from run to run and what names this machine (papermill's times and
    paths, stderr), a cell's prints joined.
    """
    import nbformat

    node = nbformat.read(file, as_version=4)
    node.metadata.pop("papermill", None)
    for cell in node.cells:
        cell.metadata.pop("papermill", None)
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs = _joined(output for output in cell.outputs if output.get("name") != "stderr")
    return places.sealed(node, "executed")


def _joined(outputs: Iterable[NotebookNode]) -> list[NotebookNode]:
    kept: list[NotebookNode] = []
    for output in outputs:
        if kept and output.output_type == kept[-1].output_type == "stream":
            kept[-1].text += output.text
        else:
            kept.append(output)
    return kept


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


def require_publishable(one: Chapter, values: Mapping[str, Any]) -> None:
    """Refuse, before the work, what `publish` would refuse after it."""
    p = check(one, values)
    plain = type(p).resolve({"profile": p.profile})
    _require_own({name: value for name, value in p if value != getattr(plain, name)}, p.profile)
    files.require_writable(paths.published_root() / one.name)


def publish(run: Executed, one: Chapter) -> Executed:
    """Copy a run to book/published/CHAPTER/PROFILE-DEVICE, in place of the one there."""
    _require_own(run.record.changed, run.record.profile)
    target = paths.published_root() / one.name / f"{run.record.profile}-{run.record.device.partition(':')[0]}"
    part = files.fresh_folder(target.parent, f".{target.name}.{os.getpid()}.part")
    try:
        for file in (run.notebook, run.folder / "record.json"):
            files.write(part / file.name, file.read_bytes())
        with files.refusals(target):
            for aside in places.put(part, target):
                places.discard(aside)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return Executed(target, target / run.notebook.name, run.record)


def _require_own(changed: Mapping[str, Any], profile: str) -> None:
    """Refuse to publish parameters under the name of a profile that does not have them."""
    if others := {name: value for name, value in changed.items() if name not in DEVICE}:
        name, value = next(iter(others.items()))
        raise UserError(
            f"A run with {name} = {value!r} cannot be published: book/published/ holds each profile as it "
            f"stands, and {profile} has another {name}; leave out {name}, or --publish."
        )


def state(run: Executed | None, one: Chapter) -> State:
    """Whether a run is fresh, stale (because of which files), or never made. One of this machine is stale
    with other versions of libraries too: it can be made again here.
    """
    if run is None:
        return State("never run")
    because, others = record.stale_because(run.record, cells(one)), record.elsewhere(run.record)
    if not run.folder.is_relative_to(paths.published_root()):
        because, others = because + others, []
    return State("stale" if because else "fresh", tuple(because), tuple(others))
