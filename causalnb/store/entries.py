"""The store: expensive results as named tensors, each made once and kept in one safetensors file. Nothing is
ever unpickled.

An entry's metadata hold its key, what made it, and a SHA-256 over the whole file (its own 64 digits read as
zeros). So an entry appears by one rename or not at all, and whatever happens to it later is seen when it is
read.
"""

import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from causalnb import UserError, console, paths, record

Found = tuple[dict[str, Tensor], dict[str, Any]]
SUFFIX = ".safetensors"
PATIENCE = 3.0  # seconds of waiting for another process before it is said
_SEAL, _OPEN = b'"sha256":"', b"0" * 64


class Damaged(ValueError):
    """A file that does not hold what was once written to it, or was never written here."""


@dataclass(frozen=True)
class Entry:
    """What is kept under a key: `seconds`, `device` and `versions` are those of its making."""

    digest: str
    what: str
    key: dict[str, Any]
    bytes: int
    seconds: float
    device: str
    versions: dict[str, str]
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


@dataclass
class Store:
    """Entries in the folder `root`, those of read-only folders beneath it, and which were used, each once, in
    order.
    """

    root: Path = field(default_factory=paths.store_root)
    layers: tuple[Path, ...] = ()
    uses: list[record.Use] = field(default_factory=list)

    def get_or_make(
        self,
        key: Mapping[str, Any],
        make: Callable[[], Mapping[str, Tensor]],
        *,
        device: str | torch.device = "cpu",
    ) -> dict[str, Tensor]:
        """The tensors kept under `key`; where there are none, `make` makes them, once for all processes that
        ask.

        device   where `make` computes, and where the tensors come back

        A damaged entry is set aside and made again. A full disk is a UserError, and leaves what was there.
        """
        made = False
        if (found := self._find(key, device)) is None:
            with self._alone(key):
                if (found := self._find(key, device)) is None:
                    found, made = self._make(key, make, device), True
        tensors, header = found
        self._used(key, header, made=made)
        return tensors

    def carried(
        self, key: Mapping[str, Any], *, device: str | torch.device = "cpu"
    ) -> dict[str, Tensor] | None:
        """The tensors of an entry that is there, such as weights that the book carries; else None."""
        found = self._find(key, device)
        if found is None:
            return None
        self._used(key, found[1], made=False, carried=True)
        return found[0]

    def folder(self, key: Mapping[str, Any]) -> Path:
        """A folder for unfinished work on `key`, such as checkpoints; it goes when the entry is made."""
        folder = self.root / "work" / self._path(key).stem
        with _refusals(folder):
            folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _used(
        self, key: Mapping[str, Any], header: Mapping[str, Any], *, made: bool, carried: bool = False
    ) -> None:
        if all(use.digest != header["digest"] for use in self.uses):
            said = {name: header[name] for name in ("digest", "seconds", "device", "versions")}
            self.uses.append(record.Use(what=key["what"], made=made, carried=carried, **said))

    def entries(self) -> list[Entry]:
        """Every entry with a readable header, the store's own first."""
        return [entry for path in self._files() if (entry := _entry(path))]

    def verify(self) -> list[Path]:
        """The files that do not match their checksum."""
        return [path for path in self._files() if not sound(path)]

    def prune(self, what: str) -> list[Path]:
        """Remove the store's own entries with `what` in their name, and what is unfinished or damaged of them
        for a day or more.
        """
        named = f"*{_slug(what)}*-" + 16 * "[0-9a-f]"
        left = [*self.root.glob(f"{named}{SUFFIX}.*"), *self.root.glob(f"work/{named}")]
        gone = [
            *self.root.glob(f"{named}{SUFFIX}"),
            *(path for path in left if time.time() - path.stat().st_mtime >= 86400),
        ]
        for path in gone:
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        return gone

    def export(self, digest: str, path: Path) -> Path:
        """Copy the entry whose digest begins so into a folder, or to a file NAME.safetensors; the file comes
        back.
        """
        found = {
            entry.digest: entry.path
            for entry in self.entries()
            if entry.digest.startswith(digest) and sound(entry.path)
        }
        if len(found) != 1:
            raise UserError(
                f"{digest} names {len(found) or 'no'} sound entries of {self.root}: give the digits with "
                "which `causalnb store` lists one."
            )
        (source,) = found.values()
        target = path if path.suffix == SUFFIX else path / source.name
        _put(target, source.read_bytes())
        return target

    def import_(self, path: Path) -> None:
        """Take a file that was exported into the store."""
        entry = _entry(path)
        if entry is None or not sound(path) or entry.digest != key_digest(entry.key):
            raise UserError(
                f"{path} is not a sound entry of a store: give a file that `causalnb store --export` wrote."
            )
        with self._alone(entry.key):
            _put(self._path(entry.key), path.read_bytes())

    def _path(self, key: Mapping[str, Any]) -> Path:
        return self.root / f"{_slug(key['what'])}-{key_digest(key)[:16]}{SUFFIX}"

    def _files(self) -> list[Path]:
        return [path for folder in (self.root, *self.layers) for path in sorted(folder.glob(f"*{SUFFIX}"))]

    def _find(self, key: Mapping[str, Any], device: str | torch.device) -> Found | None:
        own, digest = self._path(key), key_digest(key)
        layered = (
            path
            for path in self._files()
            if path.parent != self.root and (entry := _entry(path)) and entry.digest == digest
        )
        for path in (own, *layered):
            try:
                return read(path, device=device)
            except (OSError, Damaged) as error:
                if path != own:
                    console.say(f"{error}: it is not used.")
        return None

    def _make(
        self, key: Mapping[str, Any], make: Callable[[], Mapping[str, Tensor]], device: str | torch.device
    ) -> Found:
        path = self._path(key)
        if path.exists():
            with _refusals(path):
                aside = path.replace(path.with_name(f"{path.name}.damaged"))
            console.say(f"{path} is damaged: it is set aside as {aside.name} and made again.")
        start = time.perf_counter()
        tensors = make()
        write(
            path,
            tensors,
            {
                "digest": key_digest(key),
                "key": dict(key),
                "seconds": round(time.perf_counter() - start, 3),
                "device": str(device),
                "versions": record.versions(),
            },
        )
        shutil.rmtree(self.root / "work" / path.stem, ignore_errors=True)
        return read(path, device=device)

    def _alone(self, key: Mapping[str, Any]) -> AbstractContextManager[Any]:
        """Inside, no other process makes this entry."""
        lock = FileLock(self.root / "locks" / f"{self._path(key).stem}.lock")
        with _refusals(self.root):
            (self.root / "locks").mkdir(parents=True, exist_ok=True)
            try:
                return lock.acquire(timeout=PATIENCE)
            except Timeout:
                console.say(f"Another process is making {key['what']}: waiting for it.")
                return lock.acquire()


# One file, whole or not at all ----------------------------------------------------------------------------


def write(path: Path, tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> None:
    """Write tensors under a header (JSON), sealed by a checksum; a kill at any moment leaves the file that
    was there, or this one.

    Tensors come back contiguous, and no longer share memory.
    """
    apart = {
        name: values.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, values in tensors.items()
    }
    content = bytearray(
        save(apart, metadata={"header": json.dumps(header, sort_keys=True), "sha256": _OPEN.decode()})
    )
    content[_seal(content)] = hashlib.sha256(content).hexdigest().encode()
    _put(path, content)


def read(path: Path, *, device: str | torch.device = "cpu") -> Found:
    """The tensors and the header that `write` wrote; Damaged where the file is not as it was."""
    if not sound(path):
        raise Damaged(f"{path} does not match its checksum")
    with safe_open(path, framework="pt", device=str(device)) as file:
        # A mapped file starts at any byte; a copy is aligned as torch aligns, so that sums round as they did
        # before.
        names = file.keys()
        tensors = {name: file.get_tensor(name).clone() for name in names}
        return tensors, json.loads(file.metadata()["header"])


def sound(path: Path) -> bool:
    """Whether a file is as `write` wrote it."""
    content = bytearray(path.read_bytes())
    place = _seal(content)
    said, content[place] = bytes(content[place]), _OPEN
    return hashlib.sha256(content).hexdigest().encode() == said


def _seal(content: bytearray) -> slice:
    start = content.find(_SEAL) + len(_SEAL)
    return slice(start, start + len(_OPEN))


def _entry(path: Path) -> Entry | None:
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads(file.metadata()["header"])
        return Entry(what=header["key"]["what"], bytes=path.stat().st_size, path=path, **header)
    except (OSError, SafetensorError, ValueError, KeyError, TypeError):
        return None


def _slug(what: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.]+", "-", what)[:60]


def _put(path: Path, content: bytes | bytearray) -> None:
    part = path.with_name(f"{path.name}.part")
    with _refusals(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with part.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
        if os.name == "posix":  # the new name is safe when its folder is
            folder = os.open(path.parent, os.O_RDONLY)
            os.fsync(folder)
            os.close(folder)


@contextmanager
def _refusals(path: Path) -> Iterator[None]:
    """A disk that is full, or refuses, is the user's to mend."""
    try:
        yield
    except OSError as error:
        raise UserError(
            f"{path} cannot be written ({error.strerror}): free space there, or choose another folder "
            "(CAUSALNB_STORE sets the store's)."
        ) from None
