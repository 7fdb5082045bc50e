"""What files hold, by their bytes: a set is known by these, never by names, sizes or times alone."""

import hashlib
import json
import time
from collections.abc import Mapping
from pathlib import Path

from causalnb import UserError, files, record

SETTLED = 2.0  # seconds: a younger file may change once more within one tick of the disk's clock
_REMEMBERED: dict[tuple[str, int, int, int, int, int], str] = {}  # of this process; no file keeps it


def sha256(file: Path) -> str:
    """The SHA-256 of a file's bytes, 64 hex digits; a file that cannot be read is refused.

    A process reads a file once, and again when its inode, size or times moved: ctime among them, which a
    write, a rename or a set mtime moves and no program sets back.
    """
    with files.refusals(file, "read"):
        before = _stamp(file)
        if before in _REMEMBERED:
            return _REMEMBERED[before]
        with file.open("rb") as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
        if _stamp(file) == before and time.time() - before[-1] / 1e9 > SETTLED:
            _REMEMBERED[before] = found
    return found


def together(named: Mapping[str, Path]) -> str:
    """The digest of files under their names, in this order: 16 hex digits."""
    return record.digest(json.dumps([(name, sha256(file)) for name, file in named.items()]))


def genuine(file: Path, expected: str, *, of: str) -> bytes:
    """A file's bytes, if their SHA-256 is the expected one: it is compared before anything reads them."""
    with files.refusals(file, "read"):
        content = file.read_bytes()
    refuse_other(file, hashlib.sha256(content).hexdigest(), expected, of=of)
    return content


def refuse_other(file: Path, found: str, expected: str, *, of: str) -> None:
    """Refuse a file of the set `of` whose SHA-256 is not the set's."""
    if found != expected:
        raise UserError(
            f"{file} is not {of}'s file of that name (its SHA-256 begins with {found[:12]}, not with "
            f"{expected[:12]}): it is damaged or of another set; remove it and run `causalnb data {of}` "
            "where there is a network."
        )


def _stamp(file: Path) -> tuple[str, int, int, int, int, int]:
    seen = file.stat()
    return (str(file), seen.st_dev, seen.st_ino, seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns)
