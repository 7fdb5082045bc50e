"""The sets that can be named, and folders of images: found, downloaded, decoded once.

Real sets lie under the data root as torchvision lays them out. torchvision is imported only to download or
decode one, and to look through a folder, so not where the store already holds the pixels of a named set.
"""

import difflib
import socket
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from causalnb import UserError, console, paths, record, vision
from causalnb.data.images import Images, Split, fingerprint
from causalnb.data.scenes import shapes
from causalnb.store import Store


@dataclass(frozen=True)
class _Known:
    """What is known of a named set before any of it is read.

    loader  its class in torchvision.datasets, "" for an embedded set;  files  what that reads, below the data
            root
    view    what is made of its images
    """

    what: str
    licence: str
    classes: tuple[str, ...]
    megabytes: int = 0
    loader: str = ""
    files: tuple[str, ...] = ()
    view: Callable[[Images], Images] | None = None


def _enlarged(images: Images) -> Images:
    return replace(images, images=torch.nn.functional.interpolate(images.images, size=28, mode="bilinear"))


def _threes_and_sevens(images: Images) -> Images:
    kept = images.take((images.labels == 3) | (images.labels == 7))
    return replace(kept, labels=(kept.labels == 7).long())


def _idx(folder: str) -> tuple[str, ...]:
    return tuple(
        f"{folder}/raw/{split}-{kind}-ubyte"
        for split in ("train", "t10k")
        for kind in ("images-idx3", "labels-idx1")
    )


_DIGITS = tuple("0123456789")
_CLOTHES = (
    "T-shirt/top",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle boot",
)
_THINGS = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_BATCHES = tuple(
    f"cifar-10-batches-py/{part}"
    for part in (*(f"data_batch_{k}" for k in range(1, 6)), "test_batch", "batches.meta")
)
_DIGITS8 = _Known("handwritten digits, 8 x 8", "CC BY 4.0", _DIGITS)
_MNIST = _Known("handwritten digits, 28 x 28", "CC BY-SA 3.0", _DIGITS, 12, "MNIST", _idx("MNIST"))
_KNOWN = {
    "digits": replace(_DIGITS8, what="handwritten digits, 8 x 8 enlarged to 28 x 28", view=_enlarged),
    "digits8": _DIGITS8,
    "shapes": _Known(
        "drawn shapes, 28 x 28, with a corner patch that follows the class (rho .9)", "this book's", ()
    ),
    "mnist": _MNIST,
    "mnist37": replace(
        _MNIST, what="the 3 and 7 of mnist as classes 0 and 1", classes=("3", "7"), view=_threes_and_sevens
    ),
    "fashion_mnist": _Known(
        "articles of clothing, 28 x 28", "MIT", _CLOTHES, 31, "FashionMNIST", _idx("FashionMNIST")
    ),
    "cifar10": _Known(
        "colour photographs, 32 x 32", "none stated; cite Krizhevsky 2009", _THINGS, 170, "CIFAR10", _BATCHES
    ),
}
NAMES = tuple(_KNOWN)


def load(name: str, split: Split = "train", *, store: Store | None = None) -> Images:
    """One split of a set: of `NAMES`, or a folder with `train/CLASS/image` and `test/CLASS/image` (or `val`).

    A folder's images are scaled and cropped to squares; their side is the shorter side of its first image, at
    most 224, and they are grey where that one is, else in colour.

    store   keeps the decoded pixels; without it they are decoded now
    raises  UserError for an unknown name, an absent set that cannot be downloaded, files that cannot be read

    >>> load("digits8", "test").images.shape
    torch.Size([445, 1, 8, 8])
    """
    require(name)
    if name == "shapes":
        both = replace(shapes(5000, cue="corner", rho=0.9), split=split)
        return both.take({"train": slice(4000), "test": slice(4000, None)}[split])
    if name not in _KNOWN:
        return _from_folder(Path(name).expanduser(), split, store)
    known = _KNOWN[name]
    what, decode, white = (
        (known.loader, partial(_decode, name), 255) if known.loader else ("digits", _decode_digits, 16)
    )
    pixels = _decoded(what, [paths.data_root() / file for file in known.files], decode, store)
    images = _split(name, split, pixels, known.classes, white)
    return (
        replace(known.view(images), digest=record.digest(f"{images.digest} {name}")) if known.view else images
    )


def require(name: str) -> None:
    """See to it that a set can be loaded, without loading it: an absent one is downloaded under the data
    root.

    torchvision shows its bar and compares checksums. Nothing happens where the set, or a folder of the name,
    is there.
    """
    if name not in _KNOWN:
        if Path(name).expanduser().is_dir():
            return
        near = difflib.get_close_matches(name, NAMES, n=1)
        guess = f" (did you mean {near[0]}?)" if near else ""
        raise UserError(
            f"{name} is neither a data set nor a folder{guess}: give one of {', '.join(NAMES)}, or the path "
            "of a folder of images."
        )
    known, root, absent = _KNOWN[name], paths.data_root(), _absent(_KNOWN[name])
    if not absent:
        return
    console.say(f"{name} is not at hand: downloading {known.megabytes} MB to {root}")
    patience = socket.getdefaulttimeout()
    socket.setdefaulttimeout(20)
    try:
        getattr(vision.import_torchvision().datasets, known.loader)(root, download=True)
    except (RuntimeError, OSError) as error:
        raise UserError(
            f"{name} is not at hand: looked for {absent[0]} under {root}, and the download failed "
            f"({_last_line(error)}). "
            f"Put its {len(known.files)} files there, or run `causalnb data {name}` where there is a network."
        ) from None
    finally:
        socket.setdefaulttimeout(patience)


def describe() -> list[dict[str, Any]]:
    """One row for each of `NAMES`: name, what, licence, megabytes (of the download), present."""
    return [
        {
            "name": name,
            "what": known.what,
            "licence": known.licence,
            "megabytes": known.megabytes,
            "present": not _absent(known),
        }
        for name, known in _KNOWN.items()
    ]


def _absent(known: _Known) -> list[str]:
    return [file for file in known.files if not (paths.data_root() / file).is_file()]


# Decoding: uint8 images and int64 labels of both splits ---------------------------------------------------


def _decoded(
    what: str, files: list[Path], decode: Callable[[], dict[str, Tensor]], store: Store | None
) -> dict[str, Tensor]:
    if store is None:
        return decode()
    stamps = [(str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    key = {
        "what": f"pixels of {what}",
        "files": record.digest(repr(stamps)),
        "code": record.module_digest("causalnb.data.sets"),
    }
    return store.get_or_make(key, decode)


def _split(
    name: str, split: Split, pixels: dict[str, Tensor], classes: tuple[str, ...], white: int = 255
) -> Images:
    return Images(
        name,
        split,
        pixels[f"{split}_images"].float().div_(white),
        pixels[f"{split}_labels"],
        classes,
        fingerprint(pixels),
    )


def _decode_digits() -> dict[str, Tensor]:
    """scikit-learn's digits, 0 to 16; in each class every fourth image is a test image."""
    from sklearn.datasets import load_digits

    read = load_digits()
    images, labels = (
        torch.from_numpy(read.images).to(torch.uint8)[:, None],
        torch.from_numpy(read.target).long(),
    )
    test = torch.nn.functional.one_hot(labels).cumsum(0)[torch.arange(len(labels)), labels] % 4 == 0
    return {
        "train_images": images[~test],
        "train_labels": labels[~test],
        "test_images": images[test],
        "test_labels": labels[test],
    }


def _decode(name: str) -> dict[str, Tensor]:
    """A set of torchvision's, which reads CIFAR-10's pickles only after their checksums matched."""
    known, root, tensors = _KNOWN[name], paths.data_root(), {}
    try:
        for split in ("train", "test"):
            read = getattr(vision.import_torchvision().datasets, known.loader)(root, train=split == "train")
            images = torch.as_tensor(read.data)
            tensors[f"{split}_images"] = images[:, None] if images.ndim == 3 else images.permute(0, 3, 1, 2)
            tensors[f"{split}_labels"] = torch.as_tensor(read.targets)
    except (RuntimeError, AssertionError, ValueError, OSError) as error:
        raise UserError(
            f"{name} cannot be read ({_last_line(error)}): its files in {(root / known.files[0]).parent} are "
            "damaged; "
            f"remove them and run `causalnb data {name}` where there is a network."
        ) from None
    return tensors


def _last_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[-1]


# Folders of images ----------------------------------------------------------------------------------------


def _from_folder(root: Path, split: Split, store: Store | None) -> Images:
    folders = {"train": root / "train", "test": root / "test" if (root / "test").is_dir() else root / "val"}
    if not folders[split].is_dir():
        raise UserError(
            f"{root} has no {split} images: looked for {folders[split]}; put a folder there that holds one "
            "folder for each class."
        )
    try:
        listed = {
            name: vision.import_torchvision().datasets.ImageFolder(folder)
            for name, folder in folders.items()
            if folder.is_dir()
        }
    except FileNotFoundError as error:
        raise UserError(
            f"A class has no images: {_last_line(error)}; put one there or remove the folder."
        ) from None
    if any(read.classes != listed[split].classes for read in listed.values()):
        raise UserError(
            f"{root} is not one set: {folders['train']} and {folders['test']} hold different classes; give "
            "both the same folders."
        )
    files = [Path(file) for read in listed.values() for file, _ in read.samples]
    return _split(
        root.name,
        split,
        _decoded(root.name, files, partial(_decode_folder, listed), store),
        tuple(listed[split].classes),
    )


def _decode_folder(listed: dict[str, Any]) -> dict[str, Tensor]:
    first = _open(next(iter(listed.values())).samples[0][0])
    square = partial(_square, side=min(*first.size, 224), mode="L" if first.mode in ("1", "L") else "RGB")
    tensors = {}
    for split, read in listed.items():
        tensors[f"{split}_images"] = torch.stack(
            [
                square(_open(file))
                for file, _ in console.progress(read.samples, what=f"reading {split} images")
            ]
        )
        tensors[f"{split}_labels"] = torch.tensor(read.targets)
    return tensors


def _open(file: str) -> Any:
    from PIL import Image

    try:
        with Image.open(file) as image:
            return image.copy()
    except OSError as error:
        raise UserError(
            f"{file} cannot be read as an image ({_last_line(error)}): remove or replace it."
        ) from None


def _square(image: Any, *, side: int, mode: str) -> Tensor:
    """An image scaled to cover the square and cropped at its centre: [channels, side, side] uint8."""
    from PIL import Image, ImageOps

    fitted = ImageOps.fit(image.convert(mode), (side, side), Image.Resampling.BILINEAR)
    return torch.from_numpy(np.array(fitted)).view(side, side, -1).permute(2, 0, 1)
