"""Sets by name, and folders of images, compared with their digests and decoded once."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from torch import Tensor

from causalnb import UserError, paths, record
from causalnb.data import content, folders
from causalnb.data.images import Images, Split, fingerprint
from causalnb.data.known import KNOWN, SHA256
from causalnb.data.presence import places, require
from causalnb.data.scenes import shapes
from causalnb.store import Store, memo


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
    pixels = _decoded(known.loader or "digits", places(known), partial(_decode, name), store)
    images, labels = _split(split, pixels, known.white)
    digest = fingerprint(pixels)
    if known.view:
        (images, labels), digest = known.view(images, labels), record.digest(f"{digest} {name}")
    return Images(name, split, images, labels, known.classes, digest)


def shape(name: str) -> tuple[int, int]:
    """Channels and side of a set's images, before any but the first picture of a folder is read."""
    if name in KNOWN:  # also where it is not at hand
        return KNOWN[name].channels, KNOWN[name].side
    require(name)
    return folders.shape(folders.find(paths.typed(name), "test"))


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
    contents = [content.genuine(place, SHA256[file], of=name) for file, place in places(known).items()]
    return known.read(contents)


def _split(split: Split, pixels: dict[str, Tensor], white: int) -> tuple[Tensor, Tensor]:
    return pixels[f"{split}_images"].float().div_(white), pixels[f"{split}_labels"]


def _from_folder(root: Path, split: Split, store: Store | None) -> Images:
    folder = folders.find(root, split)
    pixels = _decoded(root.name, folder.files, folder.decode, store)
    return Images(root.name, split, *_split(split, pixels, 255), folder.classes, fingerprint(pixels))
