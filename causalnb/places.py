"""How a notebook takes its place: what was there, and what somebody has worked on, is never lost.

A notebook that we write carries a digest of what it holds; only one that is as we wrote it is ever replaced.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import time
from collections.abc import Container
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import nbformat

from causalnb import UserError, files, paths, record

if TYPE_CHECKING:
    from nbformat import NotebookNode

DAY = 24 * 3600  # seconds
SEAL = "causalnb"  # in a notebook's metadata: the digest of the rest, as we wrote it


def sealed(node: NotebookNode, word: str) -> str:
    """The notebook as a file, with a digest of what it holds, by which `untouched` knows it again."""
    node = nbformat.reads(nbformat.writes(node), as_version=4)
    node.metadata[SEAL] = {**node.metadata.get(SEAL, {}), word: _content(node)}
    return nbformat.writes(node) + "\n"


def untouched(file: Path, word: str) -> bool:
    """Whether a notebook is as we wrote it."""
    try:
        node = nbformat.read(file, as_version=4)
        return bool(node.metadata[SEAL][word] == _content(node))
    except Exception:  # whatever cannot be read as a notebook of ours is none
        return False


def _content(node: NotebookNode) -> str:
    bare = {name: value for name, value in node.metadata.items() if name != SEAL}
    return record.digest(json.dumps({**node, "metadata": bare}, sort_keys=True))


def stamp(seconds: float | None = None) -> str:
    """A time as it stands in names of folders; without one, now."""
    when = datetime.now(UTC) if seconds is None else datetime.fromtimestamp(seconds, UTC)
    return f"{when:%Y%m%d-%H%M%S}"


def identity(folder: Path) -> tuple[int, int] | None:
    """What tells a folder from another that has its name later."""
    try:
        status = folder.stat()
    except OSError:
        return None
    return (status.st_ino, status.st_mtime_ns)


def settle(
    part: Path, content: str, target: Path, made: record.Record, found: Container[object], *, own: bool
) -> Path:
    """The folder that holds the finished run of `part` from now on.

    content  its notebook as it is to be kept
    found    the folders that were there when it began: none but these is replaced
    own      whether it takes the folder `target`, not one with the time behind its name
    """
    asides: list[Path] = []
    try:
        files.write(next(part.glob("*.ipynb")), content)
        with files.refusals(target.parent):
            if own:
                asides = put(part, target)
            else:
                target = files.settle(part, target.parent, f"{target.name}-{stamp()}")
    except UserError as error:
        said = str(error).rstrip(".")
        raise UserError(f"{said}; the run is whole, and kept in {paths.short(part)}.") from None
    for aside in asides:
        if identity(aside) in found and _replaceable(aside, made):
            discard(aside)
    return target


def put(part: Path, target: Path) -> list[Path]:
    """Give a folder a name; what had the name gets the time of its making behind it, and is returned.

    At every moment each of them stands whole under some name, also where several do this at once.
    """
    asides = []
    while True:
        with suppress(FileNotFoundError):
            name = f"{target.name}-{stamp(target.stat().st_mtime)}"
            asides.append(files.settle(target, target.parent, name))
        try:
            part.rename(target)
            return asides
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise


def _replaceable(folder: Path, made: record.Record) -> bool:
    """Whether a folder holds a run with these parameters and no work of anybody else's."""
    try:
        notebook, *more = sorted(folder.iterdir(), key=lambda file: file.name == "record.json")
        same = [file.name for file in more] == ["record.json"] and untouched(notebook, "executed")
        return same and record.read(folder).parameters == made.parameters
    except (UserError, OSError, ValueError):
        return False


def discard(folder: Path) -> None:
    """Remove a folder, in such a way that nobody takes it for a run while it is half there."""
    with suppress(UserError, OSError):  # it stays, under a name of its own
        shutil.rmtree(files.settle(folder, folder.parent, f".{folder.name}.old"))


def sweep(home: Path) -> None:
    """Remove what killed runs left in a chapter's folder: hidden folders without a record, untouched for a
    day, whose process is gone.
    """
    for folder in home.glob(".*-*"):
        process = folder.name.rpartition("-")[2]
        with suppress(OSError):
            old = time.time() - folder.stat().st_mtime > DAY
            if old and not (folder / "record.json").exists() and not _lives(process):
                shutil.rmtree(folder)


def _lives(process: str) -> bool:
    try:
        os.kill(int(process), 0)
    except (ValueError, ProcessLookupError, OverflowError):
        return not process.isdecimal()
    except OSError:
        pass
    return True


def keep_failed(executed: Path) -> Path:
    """Move a notebook to a name of its own in runs/CHAPTER/failed; its path below the book."""
    kept = executed.parent.parent / "failed"
    with files.refusals(kept):
        kept.mkdir(parents=True, exist_ok=True)
        for number in range(1, 10_000):
            file = kept / f"{executed.parent.name.lstrip('.')}{f'-{number}' if number > 1 else ''}.ipynb"
            try:
                file.touch(exist_ok=False)
            except FileExistsError:
                continue
            executed.replace(file)
            return file.relative_to(paths.runs_root().parent)
    raise UserError(f"{kept} is full of notebooks of this name: remove some.")
