"""What a person at a terminal sees: lines on stderr and progress bars. Nothing here is a result."""

import os
import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

Item = TypeVar("Item")


def quiet() -> bool:
    """Whether bars and remarks are off: `CAUSALNB_QUIET` is set (the runner sets it, so that no bar is
    published).
    """
    return bool(os.environ.get("CAUSALNB_QUIET"))


def say(line: str) -> None:
    """A remark for the person who waits, on stderr."""
    if not quiet():
        print(line, file=sys.stderr, flush=True)


def plain(text: str, longest: int = 80) -> str:
    """Text from a file that others may have written, for a terminal: what could steer it stands as an escape.

    >>> plain("\\x1b[2Jred")
    '\\\\x1b[2Jred'
    """
    seen = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text[: longest + 1])
    return seen if len(seen) <= longest else f"{seen[:longest]}..."


def progress(items: Iterable[Item], *, what: str, total: int | None = None) -> Iterator[Item]:
    """Iterate over `items` with a bar on stderr that shows after two seconds and leaves no trace when it
    ends; none in a file or pipe.
    """
    watched = sys.stderr.isatty() or "ipykernel" in sys.modules
    return iter(
        tqdm(
            items,
            desc=what,
            total=total,
            delay=2,
            leave=False,
            disable=quiet() or not watched,
            file=sys.stderr,
        )
    )
