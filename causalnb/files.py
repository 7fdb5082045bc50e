"""Writing to the disk: a file appears whole or not at all, and what the disk refuses is one sentence. Nothing
is read here.
"""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from causalnb import UserError

MEND = {
    errno.ENOSPC: "free space there, or choose another place",
    errno.EDQUOT: "free space there, or choose another place",
    errno.EFBIG: "free space there, or choose another place",
    errno.EROFS: "choose a place that can be written",
    errno.EACCES: "choose a place that you may use, or change its rights",
    errno.EPERM: "choose a place that you may use, or change its rights",
    errno.ENOTDIR: "a file stands where a folder should be: move it away",
    errno.EISDIR: "a folder stands where a file should be: move it away",
    errno.ENAMETOOLONG: "choose a shorter name",
}


@contextmanager
def refusals(path: Path, what: str = "written", hint: str = "") -> Iterator[None]:
    """Inside, an OSError becomes a UserError: "PATH cannot be WRITTEN (reason): what to do"; `hint` replaces
    what to do.
    """
    try:
        yield
    except OSError as error:
        place = error.filename if isinstance(error.filename, str | os.PathLike) else path
        mend = hint or MEND.get(error.errno or 0, "look at this place, or choose another")
        raise UserError(f"{place} cannot be {what} ({error.strerror or error}): {mend}.") from None


def write(path: Path, content: bytes | bytearray | str, *, hint: str = "") -> Path:
    """Put content (text as UTF-8) at `path`, in one rename: a kill or a full disk leaves what was there, and
    no half file.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    with refusals(path, hint=hint):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with part.open("wb") as file:
                file.write(content.encode() if isinstance(content, str) else content)
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
        _settle(path.parent)
    return path


def fresh_folder(parent: Path, name: str) -> Path:
    """A folder that no one else has: parent/name, or name-2, name-3, ... where that is taken, also in the
    same instant.
    """
    with refusals(parent):
        parent.mkdir(parents=True, exist_ok=True)
        for number in range(1, 10_000):
            folder = parent / (name if number == 1 else f"{name}-{number}")
            try:
                folder.mkdir()
                return folder
            except FileExistsError:
                continue
    raise UserError(f"{parent / name} and 9,999 more of its name are taken: remove some.")


def settle(folder: Path, parent: Path, name: str) -> Path:
    """Move a folder to a name that no one else has (`fresh_folder`), in one rename."""
    place = fresh_folder(parent, name)
    try:
        folder.rename(place)
    except BaseException:
        place.rmdir()
        raise
    _settle(parent)
    return place


def require_writable(folder: Path) -> None:
    """Refuse a folder in which nothing can be made; nothing is made."""
    there = next(one for one in (folder, *folder.parents) if os.path.exists(one))
    if not (os.path.isdir(there) and os.access(there, os.W_OK | os.X_OK)):
        raise UserError(f"{folder} cannot be written: {there} must be a folder that you may write to.")


def remove(folder: Path) -> None:
    """Remove a folder and what is in it, where it is there."""
    with refusals(folder, "removed"):
        if folder.is_symlink():
            folder.unlink()
        elif folder.exists():
            shutil.rmtree(folder)


def _settle(folder: Path) -> None:
    """A new name is safe only when its folder is on the disk."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
