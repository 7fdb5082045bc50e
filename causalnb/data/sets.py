"""The sets that can be named, and folders of images: found, downloaded, decoded once.

Real sets lie under the data root as torchvision lays them out. torchvision is imported only to download or decode
one, so not where the store already holds the pixels.
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
from torch.nn import functional

from causalnb import UserError, console, paths, record, vision
from causalnb.data.images import Images, Split, fingerprint
from causalnb.data.scenes import shapes
from causalnb.store import Store


@dataclass(frozen=True)
class _Known:
    """What is known of a named set before any of it is read.

    loader  its class in torchvision.datasets, "" for an embedded set;  files  what that reads, below the data root
    keep    the only labels that are kept, renumbered from 0;           side   what the images are enlarged to
    """

    what: str
    train: int
    test: int
    licence: str
    classes: tuple[str, ...]
    megabytes: int = 0
    loader: str = ""
    files: tuple[str, ...] = ()
    keep: tuple[int, ...] = ()
    side: int | None = None


def _idx(folder: str) -> tuple[str, ...]:
    return tuple(f"{folder}/raw/{split}-{kind}-ubyte" for split in ("train", "t10k") for kind in ("images-idx3", "labels-idx1"))


_DIGITS = tuple("0123456789")
_CLOTHES = ("T-shirt/top", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")
_THINGS = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_BATCHES = tuple(f"cifar-10-batches-py/{part}" for part in (*(f"data_batch_{k}" for k in range(1, 6)), "test_batch", "batches.meta"))
_DIGITS8 = _Known("handwritten digits, 8 x 8", 1352, 445, "CC BY 4.0", _DIGITS)
_MNIST = _Known("handwritten digits, 28 x 28", 60_000, 10_000, "CC BY-SA 3.0", _DIGITS, 12, "MNIST", _idx("MNIST"))
_KNOWN = {
    "digits": replace(_DIGITS8, what="handwritten digits, 8 x 8 enlarged to 28 x 28", side=28),
    "digits8": _DIGITS8,
    "shapes": _Known("drawn shapes, 28 x 28, with a corner patch that follows the class (rho .9)", 4000, 1000, "this book's", ()),
    "mnist": _MNIST,
    "mnist37": replace(_MNIST, what="the 3 and 7 of mnist as classes 0 and 1", train=12_396, test=2038, classes=("3", "7"), keep=(3, 7)),
    "fashion_mnist": _Known("articles of clothing, 28 x 28", 60_000, 10_000, "MIT", _CLOTHES, 31, "FashionMNIST", _idx("FashionMNIST")),
    "cifar10": _Known("colour photographs, 32 x 32", 50_000, 10_000, "none stated; cite Krizhevsky 2009", _THINGS, 170, "CIFAR10", _BATCHES),
}
NAMES = tuple(_KNOWN)


def load(name: str, split: Split = "train", *, store: Store | None = None) -> Images:
    """One split of a set: of `NAMES`, or a folder with `train/CLASS/image` and `test/CLASS/image` (or `val`).

    A folder's images are scaled and cropped to squares; their side is the shorter side of its first image, at most
    224, and they are grey where that one is, else in colour.

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
    what, decode, white = (known.loader, partial(_decode, name), 255) if known.loader else ("digits", _decode_digits, 16)
    pixels = _decoded(what, [paths.data_root() / file for file in known.files], decode, store)
    return _view(known, _split(name, split, pixels, known.classes, white))


def require(name: str) -> None:
    """See to it that a set can be loaded, without loading it; an absent one is downloaded where there is a network."""
    if name in _KNOWN:
        fetch(name)
    elif not Path(name).expanduser().is_dir():
        raise _unknown(name)


def _unknown(name: str) -> UserError:
    near = difflib.get_close_matches(name, NAMES, n=1)
    guess = f" (did you mean {near[0]}?)" if near else ""
    return UserError(f"{name} is neither a data set nor a folder{guess}: give one of {', '.join(NAMES)}, or the path of a folder of images.")


def fetch(name: str) -> None:
    """Download a set under the data root, with torchvision's bar and checksums; nothing happens where it is there."""
    if name not in _KNOWN:
        raise _unknown(name)
    known, root, absent = _KNOWN[name], paths.data_root(), _absent(_KNOWN[name])
    if not absent:
        return
    console.say(f"{name} is not at hand: downloading {known.megabytes} MB to {root}")
    try:
        _download(known.loader, root)
    except (RuntimeError, OSError) as error:
        raise UserError(f"{name} is not at hand: looked for {absent[0]} under {root}, and the download failed ({_last_line(error)}). "
                        f"Put its {len(known.files)} files there, or run `causalnb data {name}` where there is a network.") from None


def _download(loader: str, root: Path) -> None:
    patience = socket.getdefaulttimeout()
    socket.setdefaulttimeout(20)
    try:
        getattr(vision.import_torchvision().datasets, loader)(root, download=True)
    finally:
        socket.setdefaulttimeout(patience)


def describe() -> list[dict[str, Any]]:
    """One row for each of `NAMES`: name, what, train and test (images), megabytes (of the download), licence, present."""
    columns = ("what", "train", "test", "megabytes", "licence")
    return [{"name": name, **{c: getattr(known, c) for c in columns}, "present": not _absent(known)} for name, known in _KNOWN.items()]


def _absent(known: _Known) -> list[str]:
    return [file for file in known.files if not (paths.data_root() / file).is_file()]


# Decoding: uint8 images and int64 labels of both splits, and the digest of them all -----------------------------------


def _decoded(what: str, files: list[Path], decode: Callable[[], dict[str, Tensor]], store: Store | None) -> dict[str, Tensor]:
    def make() -> dict[str, Tensor]:
        tensors = {name: values.contiguous() for name, values in decode().items()}
        return tensors | {"digest": torch.tensor(list(bytes.fromhex(fingerprint(tensors))), dtype=torch.uint8)}

    stamps = [(str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    key = {"what": f"pixels of {what}", "files": record.digest(repr(stamps)), "code": record.module_digest("causalnb.data.sets")}
    return make() if store is None else store.get_or_make(key, make)


def _split(name: str, split: Split, pixels: dict[str, Tensor], classes: tuple[str, ...], white: int = 255) -> Images:
    images, digest = pixels[f"{split}_images"].float().div_(white), bytes(pixels["digest"].tolist()).hex()
    return Images(name, split, images, pixels[f"{split}_labels"], classes, digest)


def _view(known: _Known, images: Images) -> Images:
    """The images as `known` wants them; what changes them changes the digest too."""
    if known.keep:
        kept = torch.tensor(known.keep)
        images = images.take(torch.isin(images.labels, kept))
        images = replace(images, labels=torch.searchsorted(kept, images.labels))
    if known.side:
        images = replace(images, images=functional.interpolate(images.images, size=known.side, mode="bilinear"))
    return replace(images, digest=record.digest(f"{images.digest} {images.name}")) if known.keep or known.side else images


def _decode_digits() -> dict[str, Tensor]:
    """scikit-learn's digits, 0 to 16; in each class every fourth image is a test image."""
    from sklearn.datasets import load_digits

    read = load_digits()
    images, labels = torch.from_numpy(read.images).to(torch.uint8)[:, None], torch.from_numpy(read.target).long()
    test = functional.one_hot(labels).cumsum(0)[torch.arange(len(labels)), labels] % 4 == 0
    return {"train_images": images[~test], "train_labels": labels[~test], "test_images": images[test], "test_labels": labels[test]}


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
        raise UserError(f"{name} cannot be read ({_last_line(error)}): its files in {(root / known.files[0]).parent} are damaged; "
                        f"remove them and run `causalnb data {name}` where there is a network.") from None
    return tensors


def _last_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[-1]


# Folders of images ----------------------------------------------------------------------------------------------------


def _from_folder(root: Path, split: Split, store: Store | None) -> Images:
    folders = {"train": root / "train", "test": root / "test" if (root / "test").is_dir() else root / "val"}
    there = {name: folder for name, folder in folders.items() if folder.is_dir()}
    if split not in there:
        raise UserError(f"{root} has no {split} images: looked for {folders[split]}; put a folder there that holds one folder for each class.")
    names = {name: tuple(sorted(entry.name for entry in folder.iterdir() if entry.is_dir())) for name, folder in there.items()}
    if len(set(names.values())) > 1:
        raise UserError(f"{root} is not one set: {folders['train']} and {folders['test']} hold different classes; give both the same folders.")
    files = [file for folder in there.values() for file in sorted(folder.rglob("*")) if file.is_file()]
    return _split(root.name, split, _decoded(root.name, files, partial(_decode_folder, there), store), names[split])


def _decode_folder(folders: dict[str, Path]) -> dict[str, Tensor]:
    datasets, tensors = vision.import_torchvision().datasets, {}
    try:
        listed = {split: datasets.ImageFolder(folder, loader=_open) for split, folder in folders.items()}
    except FileNotFoundError as error:
        raise UserError(f"A class has no images: {_last_line(error)}; put one there or remove the folder.") from None
    first = next(iter(listed.values()))[0][0]
    square = partial(_square, side=min(*first.size, 224), mode="L" if first.mode in ("1", "L") else "RGB")
    for split, read in listed.items():
        tensors[f"{split}_images"] = torch.stack([square(_open(file)) for file, _ in console.progress(read.samples, what=f"reading {split} images")])
        tensors[f"{split}_labels"] = torch.tensor(read.targets)
    return tensors


def _open(file: str) -> Any:
    from PIL import Image

    try:
        with Image.open(file) as image:
            image.load()
            return image
    except OSError as error:
        raise UserError(f"{file} cannot be read as an image ({_last_line(error)}): remove or replace it.") from None


def _square(image: Any, *, side: int, mode: str) -> Tensor:
    """An image scaled to cover the square and cropped at its centre: [channels, side, side] uint8."""
    from PIL import Image, ImageOps

    fitted = ImageOps.fit(image.convert(mode), (side, side), Image.Resampling.BILINEAR)
    return torch.from_numpy(np.array(fitted)).view(side, side, -1).permute(2, 0, 1)
