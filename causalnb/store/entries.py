"""The store: expensive results as named tensors, each made once and kept in one sealed file.

A file is believed only where its seal is whole and its header holds the very key that is asked for. What
cannot be read is said, and neither made again nor replaced.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from causalnb import UserError, console, files, paths, record
from causalnb.store import headers, locks
from causalnb.store.headers import Entry, key_digest
from causalnb.store.sealed import HINT, Damaged, Found, packed, read, sound, write

if TYPE_CHECKING:
    import torch
    from torch import Tensor

__all__ = ["Store", "key_digest"]

SUFFIX = ".safetensors"
DAY = 86400
_NAME = re.compile(rf"(?P<what>[A-Za-z0-9_.-]*)-[0-9a-f]{{16}}(\{SUFFIX}.*)?$")


@dataclass
class Store:
    """Entries in the folder `root`, those of read-only folders beneath it, and which were used, each once, in
    order.

    also    digest of an entry -> the key without code under which a book carries it, once it is exported
    """

    root: Path = field(default_factory=paths.store_root)
    layers: tuple[Path, ...] = ()
    uses: list[record.Use] = field(default_factory=list)
    also: dict[str, Mapping[str, Any]] = field(default_factory=dict)

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

        An entry that is damaged, or stands in another's place, is set aside and made again; one that cannot
        be read is a UserError. So is a disk that is full or refuses, and what was there stays.
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

    def holds(self, key: Mapping[str, Any]) -> bool:
        """Whether the entry is there, sound; no use of it."""
        return self._find(key, "cpu") is not None

    def folder(self, key: Mapping[str, Any]) -> Path:
        """A folder for unfinished work on `key`, such as checkpoints; it goes when the entry is made."""
        folder = self.root / "work" / self._path(key).stem
        with files.refusals(folder, hint=HINT):
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
        return [entry for path in self.every_file() if (entry := headers.entry_or_none(path))]

    def every_file(self) -> list[Path]:
        """Every file that should be an entry, the store's own first."""
        return [path for folder in (self.root, *self.layers) for path in _inside(folder)]

    def verify(self) -> list[tuple[Path, str]]:
        """The files that cannot be believed, and why."""
        found = []
        for path in self.every_file():
            try:
                fault = self._fault(path)
            except UserError as error:
                fault = str(error).removeprefix(f"{path} ")
            if fault:
                found.append((path, fault))
        return found

    def matching(self, text: str) -> list[Path]:
        """The store's own entries with exactly this `text` in what they hold, and what is unfinished, half
        written or damaged of them for a day or more.
        """
        if not any(letter.isalnum() for letter in text):
            raise UserError(
                f"{text!r} chooses no entries: give letters or digits of what `causalnb store` lists."
            )
        found = []
        for path in _inside(self.root):
            entry = headers.entry_or_none(path)
            if _what(path) and not path.is_dir() and (text in entry.what if entry else _named(path, text)):
                found.append(path)
        left = (path for path in _left_over(self.root) if _named(path, text))
        with files.refusals(self.root, "read"):
            return found + [path for path in left if time.time() - path.lstat().st_mtime >= DAY]

    def remove(self, found: list[Path]) -> None:
        """Remove what `matching` found."""
        for path in found:
            with files.refusals(path, "removed"):
                shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)

    def export(self, digest: str, path: Path) -> Path:
        """Copy the entry whose digest begins so into a folder, or to a file NAME.safetensors; the file comes
        back. Trained weights are given the key under which a book carries them, which asks for no code. A
        file that is there already must be this entry.
        """
        found = {
            entry.digest: entry.path
            for entry in self.entries()
            if digest and entry.digest.startswith(digest) and not self._fault(entry.path)
        }
        if len(found) != 1:
            raise UserError(
                f"{console.plain(digest, 80) or 'An empty text'} names {len(found) or 'no'} sound entries of "
                f"{self.root}: give the digits with which `causalnb store` lists one."
            )
        (source,) = found.values()
        target = path if path.suffix == SUFFIX else path / source.name
        tensors, header = read(source)
        if also := header.pop("also", None):
            from causalnb.store.calls import unpacked

            weights = unpacked(tensors, dict[str, Any])
            _put(target, packed(weights, {**header, "key": also, "digest": key_digest(also)}))
        else:
            _put(target, source.read_bytes())
        return target

    def import_(self, path: Path) -> None:
        """Take a file that was exported into the store; an entry that is there already is not replaced."""
        try:
            entry = headers.entry(path)
            with files.refusals(path, "read"):
                whole = sound(path)
        except Damaged:
            whole = False
        if not whole:
            raise UserError(
                f"{path} is not a sound entry of a store: give a file that `causalnb store --export` wrote."
            )
        with self._alone(entry.key):
            self._set_aside(self._path(entry.key))
            _put(self._path(entry.key), path.read_bytes())

    def _path(self, key: Mapping[str, Any]) -> Path:
        return self.root / f"{_slug(key['what'])}-{key_digest(key)[:16]}{SUFFIX}"

    def _find(self, key: Mapping[str, Any], device: str | torch.device) -> Found | None:
        """Own entries are found by name, those of layers by what their headers say."""
        own, digest = self._path(key), key_digest(key)
        for path in chain([own], self._layered(digest)):
            try:
                if found := headers.taken(path, digest, device):
                    return found
            except Damaged as error:
                if path != own:
                    console.say(f"{error}: it is not used.")
        return None

    def _layered(self, digest: str) -> Iterator[Path]:
        for path in (path for layer in self.layers for path in _inside(layer) if not path.is_dir()):
            with files.refusals(path, "read"):
                now = path.stat()
            if (entry := headers.entry_as(path, now.st_size, now.st_mtime_ns)) and entry.digest == digest:
                yield path

    def _fault(self, path: Path) -> str:
        """Why a file is not believed, or nothing."""
        try:
            entry = headers.entry(path)
            with files.refusals(path, "read"):
                if not sound(path):
                    return "is damaged"
        except Damaged:
            with files.refusals(path, "read"):
                return "is no entry of a store" if sound(path) else "is damaged"
        home = self._path(entry.key)
        if path.parent == self.root and path != home:
            return f"holds {console.plain(entry.what, 80)}, whose place is {home.name}"
        return ""

    def _set_aside(self, path: Path) -> None:
        """What is in the way of an entry and cannot be believed."""
        if os.path.lexists(path) and (fault := self._fault(path)):
            with files.refusals(path, hint=HINT):
                aside = path.replace(path.with_name(f"{path.name}.damaged"))
            console.say(f"{path} {fault}: it is set aside as {aside.name} and made again.")

    def _make(
        self, key: Mapping[str, Any], make: Callable[[], Mapping[str, Tensor]], device: str | torch.device
    ) -> Found:
        path = self._path(key)
        self._set_aside(path)
        with files.refusals(path, hint=HINT):  # before the work, not after it
            tempfile.TemporaryFile(dir=self.root).close()
            for killed in self.root.glob(f".{path.name}.*.part"):
                killed.unlink(missing_ok=True)
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
                **({"also": dict(also)} if (also := self.also.get(key_digest(key))) else {}),
            },
        )
        shutil.rmtree(self.root / "work" / path.stem, ignore_errors=True)
        return read(path, device=device)

    def _alone(self, key: Mapping[str, Any]) -> AbstractContextManager[None]:
        """Inside, no other process makes this entry."""
        return locks.alone(
            self.root / "locks" / f"{self._path(key).stem}.lock", console.plain(key["what"], 80)
        )


def _put(path: Path, content: bytes) -> None:
    """Write an entry where there is none, or the same."""
    with files.refusals(path, "read"):
        if os.path.lexists(path):
            headers.regular(path)
            if path.read_bytes() == content:
                return
            raise UserError(
                f"{path} is there already and holds something else: move it away, or choose another place."
            )
    files.write(path, content, hint=HINT)


def _inside(folder: Path) -> list[Path]:
    """The files of a folder that bear an entry's suffix; none where there is no such folder."""
    with files.refusals(folder, "read"):
        try:
            return [folder / name for name in sorted(os.listdir(folder)) if name.endswith(SUFFIX)]
        except FileNotFoundError:
            return []


def _left_over(root: Path) -> list[Path]:
    """What kills and damage left: set aside, half written, unfinished."""
    return [*root.glob(f"*{SUFFIX}.damaged"), *root.glob(f"*{SUFFIX}*.part"), *root.glob("work/*")]


def _what(path: Path) -> str:
    """What a file's name says that it holds; empty where it is not the store's."""
    named = _NAME.match(path.name.removeprefix("."))
    return named["what"] if named else ""


def _named(path: Path, text: str) -> bool:
    """Whether a name, in which blanks are dashes, has a text."""
    return text in _what(path) or text.replace(" ", "-") in _what(path)


def _slug(what: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.]+", "-", what)[:60]
