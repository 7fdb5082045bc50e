"""Where things lie: the book's folder, the data root, the store, the runs. No file is read or written
here.
"""

import os
from pathlib import Path

from platformdirs import user_cache_path, user_data_path

from causalnb import UserError


def _folder(variable: str, default: Path) -> Path:
    given = os.environ.get(variable)
    return Path(given).expanduser().resolve() if given else default


def data_root() -> Path:
    """The folder that holds the real data sets: `CAUSALNB_DATA`, else the user data folder."""
    return _folder("CAUSALNB_DATA", user_data_path("causalnb", appauthor=False))


def store_root() -> Path:
    """The folder of the store: `CAUSALNB_STORE`, else the user cache folder."""
    return _folder("CAUSALNB_STORE", user_cache_path("causalnb", appauthor=False) / "store")


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
