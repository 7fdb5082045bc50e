"""Where things lie: the book's folder, the data root, the store, the runs. No file is read or written here.

A relative path means what its user meant: it starts in the folder where the command was typed, also in a
kernel, which runs elsewhere.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from platformdirs import user_cache_path, user_data_path

from causalnb import UserError

TYPED_IN = "CAUSALNB_TYPED_IN"  # the folder in which the command was typed that started this kernel
VARIABLES = ("CAUSALNB_DATA", "CAUSALNB_STORE")


def typed(path: str) -> Path:
    """The whole path of what a user typed, from the folder where it was typed; ~ is their home."""
    try:
        return Path(os.environ.get(TYPED_IN) or Path.cwd(), Path(path).expanduser())
    except RuntimeError:
        raise UserError(
            f"{path} is not possible: no home of that name is known; give a whole path."
        ) from None


def for_kernel() -> dict[str, str]:
    """The variables by which a kernel finds what this process finds: whole paths, the user's folder."""
    given = {name: str(found) for name in VARIABLES if (found := _given(name))}
    return {TYPED_IN: str(typed("")), **given}


@contextmanager
def surroundings(**values: str) -> Iterator[None]:
    """Inside, this process's variables have these values."""
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


def _given(variable: str) -> Path | None:
    """The place that a variable names, or None; a kernel of which nobody said where that was set takes whole
    paths only.
    """
    value = os.environ.get(variable)
    if not value:
        return None
    start = os.environ.get("PWD")
    elsewhere = "ipykernel" in sys.modules and start and Path(start).resolve() != Path.cwd()
    if elsewhere and TYPED_IN not in os.environ and not Path(value).expanduser().is_absolute():
        raise UserError(
            f"{variable} = {value} is not possible: this notebook runs in {Path.cwd()}, perhaps not where "
            "that was set; give a whole path."
        )
    return typed(value).resolve()


def data_root() -> Path:
    """The folder that holds the real data sets: `CAUSALNB_DATA`, else the user data folder."""
    return _given("CAUSALNB_DATA") or user_data_path("causalnb", appauthor=False)


def store_root() -> Path:
    """The folder of the store: `CAUSALNB_STORE`, else the user cache folder."""
    return _given("CAUSALNB_STORE") or user_cache_path("causalnb", appauthor=False) / "store"


def record_file() -> Path | None:
    """The file that `CAUSALNB_RECORD` asks for, or None."""
    return _given("CAUSALNB_RECORD")


def find_book(start: Path | None = None) -> Path | None:
    """The nearest folder at or above `start` (the working folder) that holds `_toc.yml` and `notebooks/`, or
    None.

    An installed checkout is found from anywhere: the package's own parent is looked at last.
    """
    here = (start or Path.cwd()).resolve()
    for folder in (here, *here.parents, Path(__file__).resolve().parents[1]):
        if (folder / "_toc.yml").is_file() and (folder / "notebooks").is_dir():
            return folder
    return None


def book_root() -> Path:
    """Like `find_book`, but its absence is the user's to mend."""
    folder = find_book()
    if folder is None:
        raise UserError(
            f"No book is here: neither {Path.cwd()} nor a folder above it holds _toc.yml and notebooks/. "
            "Change to the book's folder."
        )
    return folder


def runs_root() -> Path:
    """The folder of local executions: `runs/` in the book, else in the working folder."""
    return (find_book() or Path.cwd()) / "runs"


def published_root() -> Path:
    """The folder of the executions that the book's repository carries."""
    return book_root() / "book" / "published"


def short(path: Path) -> str:
    """A path as one types it from the working folder, where it lies below it."""
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)
