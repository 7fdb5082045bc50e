"""What an entry's file says of itself. It may come from anywhere: nothing of it is taken on trust."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from causalnb import UserError, files
from causalnb.store.sealed import MALFORMED, Damaged, Found, read, read_header

if TYPE_CHECKING:
    import torch

Word = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.+!:-]{1,100}$")]


class _Header(BaseModel):
    """What an entry says of itself; a file may come from anywhere, so nothing of it is taken on trust."""

    model_config = ConfigDict(strict=True)

    digest: str
    key: dict[Any, Any]
    seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    device: Word
    versions: dict[Word, Word]
    also: dict[Any, Any] = {}


@dataclass(frozen=True)
class Entry:
    """What is kept under a key: `seconds`, `device` and `versions` are those of its making; `also` is the key
    under which it may be carried.
    """

    digest: str
    what: str
    key: dict[str, Any]
    bytes: int
    seconds: float
    device: str
    versions: dict[str, str]
    also: dict[str, Any]
    path: Path


def key_digest(key: Mapping[str, Any]) -> str:
    """SHA-256 of a key's JSON; the order of its fields does not count.

    key   plain JSON; "what" says in a word or two what is kept

    >>> key_digest({"what": "weights", "seed": 0}) == key_digest({"seed": 0, "what": "weights"})
    True
    """
    if not isinstance(key.get("what"), str):
        raise ValueError(f'a key has a text under "what": {dict(key)}')
    return hashlib.sha256(
        json.dumps(dict(key), sort_keys=True, separators=(",", ":"), allow_nan=False).encode()
    ).hexdigest()


def taken(path: Path, digest: str, device: str | torch.device) -> Found | None:
    """What a file holds, if it is there; Damaged where that is not the entry of this digest."""
    with files.refusals(path, "read"):
        try:
            regular(path)
            tensors, header = read(path, device=device)
        except FileNotFoundError:
            if path.is_symlink():
                raise
            return None
    if _checked(header, path).digest != digest:
        raise Damaged(f"{path} holds another entry")
    return tensors, header


def entry(path: Path) -> Entry:
    """What a file says of itself; Damaged where that is nothing a store wrote."""
    with files.refusals(path, "read"):
        regular(path)
        size, header = path.stat().st_size, _checked(read_header(path), path)
    return Entry(what=header.key["what"], bytes=size, path=path, **dict(header))


def entry_or_none(path: Path) -> Entry | None:
    """Like `entry`, for a list of what there is."""
    try:
        return entry(path)
    except (Damaged, UserError):
        return None


@cache
def entry_as(path: Path, size: int, time_ns: int) -> Entry | None:
    """The entry of a layer's file, read once as long as the file stays as it is."""
    try:
        return entry(path)
    except Damaged:
        return None


def _checked(header: dict[str, Any], path: Path) -> _Header:
    try:
        checked = _Header.model_validate(header)
        digest = key_digest(checked.key)
    except MALFORMED:
        raise Damaged(f"{path} has no header of the store's") from None
    if digest != checked.digest:
        raise Damaged(f"{path} bears another digest than its key's")
    return checked


def regular(path: Path) -> None:
    """An OSError that says why, where a path is no file that can be read."""
    if path.is_symlink() and not path.exists():
        raise FileNotFoundError(errno.ENOENT, f"it is a link to {os.readlink(path)}, which is not there")
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "it is no regular file")
    path.open("rb").close()
