"""Sets by name, and folders of images: found, downloaded, compared with their digests, decoded once.

Real sets lie under the data root as torchvision lays them out. torchvision is imported only to download one,
and to look through a folder.
"""

import difflib
import os
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from causalnb import UserError, console, paths, record, vision
from causalnb.data import content, folders
from causalnb.data.images import Images, Split, fingerprint
from causalnb.data.known import KNOWN, SHA256, Known
from causalnb.data.scenes import shapes
from causalnb.store import Store, memo

NAMES = tuple(KNOWN)


def load(name: str, split: Split = "train", *, store: Store | None = None) -> Images:
    """One split of a set: of `NAMES`, or a folder with `train/CLASS/image` and `test/CLASS/image` (or `val`).

    A folder's images are scaled and cropped to squares; their side is the shorter side of its first image, at
    most 224, and they are grey where that one is, else in colour. Pictures of 16 bits are scaled to 8.

    store   keeps the decoded pixels; without it they are decoded now
    raises  UserError for an unknown name, an absent set that cannot be downloaded, files that are not the
            named set's, that cannot be read, or whose numbers have no known black and white

    >>> load("digits8", "test").images.shape
    torch.Size([445, 1, 8, 8])
    """
    require(name)
    if name == "shapes":
        both = replace(shapes(5000, cue="corner", rho=0.9), split=split)
        return both.take({"train": slice(4000), "test": slice(4000, None)}[split])
    if name not in KNOWN:
        return _from_folder(paths.typed(name), split, store)
    known = KNOWN[name]
    pixels = _decoded(known.loader or "digits", _places(known), partial(_decode, name), store)
    images, labels = _split(split, pixels, known.white)
    digest = fingerprint(pixels)
    if known.view:
        (images, labels), digest = known.view(images, labels), record.digest(f"{digest} {name}")
    return Images(name, split, images, labels, known.classes, digest)


def require(name: str) -> None:
    """See to it that a set can be loaded, without loading it: an absent one is downloaded under the data
    root, and the files of a named one must be the set's, byte for byte.

    torchvision shows its bar. A folder of the name need only be there.
    """
    if name not in KNOWN:
        if os.path.isdir(paths.typed(name)):
            return
        near = difflib.get_close_matches(name, NAMES, n=1)
        guess = f" (did you mean {near[0]}?)" if near else ""
        raise UserError(
            f"{name} is neither a data set nor a folder{guess}: give one of {', '.join(NAMES)}, or the path "
            "of a folder of images."
        )
    if _absent(KNOWN[name]):
        _download(name)
    for file, place in _places(KNOWN[name]).items():
        content.refuse_other(place, content.sha256(place), SHA256[file], of=name)


def describe() -> list[dict[str, Any]]:
    """One row for each of `NAMES`: name, what, licence, megabytes (of the download), present (its files are
    there; what they hold is compared by `require`).
    """
    return [
        {
            "name": name,
            "what": known.what,
            "licence": known.licence,
            "megabytes": known.megabytes,
            "present": not _absent(known),
        }
        for name, known in KNOWN.items()
    ]


def _places(known: Known) -> dict[str, Path]:
    return {file: paths.data_root() / file for file in known.files}


def _absent(known: Known) -> list[str]:
    return [file for file, place in _places(known).items() if not place.is_file()]


def _download(name: str) -> None:
    known, root = KNOWN[name], paths.data_root()
    console.say(f"{name} is not at hand: downloading {known.megabytes} MB to {root}")
    patience = socket.getdefaulttimeout()
    socket.setdefaulttimeout(20)
    try:
        getattr(vision.import_torchvision().datasets, known.loader)(root, download=True)
        reason = f"torchvision downloads nothing beside {known.loader}/processed (move that away)"
    except (RuntimeError, OSError) as error:
        reason = f"the download failed ({(str(error).strip() or type(error).__name__).splitlines()[-1]})"
    finally:
        socket.setdefaulttimeout(patience)
    if absent := _absent(known):
        raise UserError(
            f"{name} is not at hand: looked for {absent[0]} under {root}, and {reason}. "
            f"Put its {len(known.files)} files there, or run `causalnb data {name}` where there is a network."
        )


# Decoding: uint8 images and int64 labels of both splits ---------------------------------------------------


def _decoded(
    what: str, files: Mapping[str, Path], decode: Callable[[], dict[str, Tensor]], store: Store | None
) -> dict[str, Tensor]:
    """What `decode` makes of the files, by name; kept under their content, wherever they lie."""
    return memo(store, f"pixels of {what}", _pixels, _Source(what, files, decode, content.together(files)))


@dataclass(frozen=True)
class _Source:
    """Files with the digest of what they held when they were asked for, and how they are decoded."""

    what: str
    files: Mapping[str, Path]
    decode: Callable[[], dict[str, Tensor]]
    held: str

    def store_key(self) -> list[str]:
        return [self.what, self.held]


def _pixels(source: _Source) -> dict[str, Tensor]:
    pixels = source.decode()
    if content.together(source.files) != source.held:
        raise UserError(
            f"The files of {source.what} changed while they were read: load it again when they rest."
        )
    return pixels


def _decode(name: str) -> dict[str, Tensor]:
    known = KNOWN[name]
    contents = [content.genuine(place, SHA256[file], of=name) for file, place in _places(known).items()]
    return known.read(contents)


def _split(split: Split, pixels: dict[str, Tensor], white: int) -> tuple[Tensor, Tensor]:
    return pixels[f"{split}_images"].float().div_(white), pixels[f"{split}_labels"]


def _from_folder(root: Path, split: Split, store: Store | None) -> Images:
    folder = folders.find(root, split)
    pixels = _decoded(root.name, folder.files, folder.decode, store)
    return Images(root.name, split, *_split(split, pixels, 255), folder.classes, fingerprint(pixels))
