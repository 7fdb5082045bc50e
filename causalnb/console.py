"""What a person at a terminal sees: lines and progress bars, in which no text from a file moves the cursor,
changes colours or begins a line of its own.
"""

import os
import re
import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def plain(text: str, longest: int | None = None) -> str:
    """A text with its control characters, marks of writing direction and half characters written out, at most
    `longest` of it.

    >>> print(plain("red: \\x1b[31m"))
    red: \\x1b[31m
    """
    seen = CONTROL.sub(
        lambda found: found[0].encode("unicode_escape").decode(), text[: longest and longest + 1]
    )
    return seen if longest is None or len(seen) <= longest else f"{seen[:longest]}..."


def plain_lines(text: str) -> str:
    """The same of a text of several lines, which stay."""
    return "\n".join(map(plain, text.split("\n")))


def tell(line: str) -> None:
    """A line of a result, on stdout, at once also into a pipe."""
    print(plain(line), flush=True)


def quiet() -> bool:
    """Whether bars and remarks are off: `CAUSALNB_QUIET` is set (the runner sets it, so that no bar is
    published).
    """
    return bool(os.environ.get("CAUSALNB_QUIET"))


def say(line: str) -> None:
    """A remark for the person who waits, on stderr."""
    if not quiet():
        print(plain_lines(line), file=sys.stderr, flush=True)


def progress(items: Iterable[Item], *, what: str, total: int | None = None) -> Iterator[Item]:
    """Iterate over `items` with a bar on stderr that shows after two seconds and leaves no trace when it
    ends; none in a file or pipe, or without a name in `what`.
    """
    from tqdm import tqdm

    watched = sys.stderr.isatty() or "ipykernel" in sys.modules
    return iter(
        tqdm(
            items,
            desc=plain(what),
            total=total,
            delay=2,
            leave=False,
            disable=quiet() or not watched or not what,
            file=sys.stderr,
        )
    )
