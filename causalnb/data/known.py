"""The sets that can be named: what is known of each before any of it is read, and how its files are read.

Files are given as bytes that were compared with `SHA256` before.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

TENSORS = ("train_images", "train_labels", "test_images", "test_labels")


@dataclass(frozen=True)
class Known:
    """A named set.

    loader  its class in torchvision.datasets, which downloads it; "" for an embedded set
    files   what is read, below the data root;  read  makes of their bytes the TENSORS: uint8 images with
            `white` as the largest number, int64 labels
    view    what is made of images [n, channels, height, width] in [0, 1] and labels
    channels, side   of its images, as they are loaded
    """

    what: str
    licence: str
    classes: tuple[str, ...]
    read: Callable[[Sequence[bytes]], dict[str, Tensor]]
    megabytes: int = 0
    loader: str = ""
    files: tuple[str, ...] = ()
    view: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] | None = None
    white: int = 255
    channels: int = 1
    side: int = 28


def _enlarged(images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    from torch.nn.functional import interpolate

    return interpolate(images, size=28, mode="bilinear"), labels


def _threes_and_sevens(images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    kept = (labels == 3) | (labels == 7)
    return images[kept], (labels[kept] == 7).long()


def _pooled(images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    from torch.nn.functional import avg_pool2d

    return avg_pool2d(images, 2), labels


def _read_digits(_: Sequence[bytes]) -> dict[str, Tensor]:
    """scikit-learn's digits, 0 to 16; in each class every fourth image is a test image."""
    import torch
    from sklearn.datasets import load_digits

    read = load_digits()
    images, labels = (
        torch.from_numpy(read.images).to(torch.uint8)[:, None],
        torch.from_numpy(read.target).long(),
    )
    test = torch.nn.functional.one_hot(labels).cumsum(0)[torch.arange(len(labels)), labels] % 4 == 0
    return dict(zip(TENSORS, (images[~test], labels[~test], images[test], labels[test]), strict=True))


def _read_idx(contents: Sequence[bytes]) -> dict[str, Tensor]:
    images, labels, test_images, test_labels = map(_array, contents)
    return dict(
        zip(TENSORS, (images[:, None], labels.long(), test_images[:, None], test_labels.long()), strict=True)
    )


def _array(content: bytes) -> Tensor:
    """An array of bytes in IDX: two zeros, the type, the number of axes, their lengths, the values."""
    import torch

    axes = content[3]
    shape = np.frombuffer(content, ">u4", count=axes, offset=4)
    return torch.from_numpy(np.frombuffer(content, np.uint8, offset=4 + 4 * axes).reshape(shape).copy())


def _read_batches(contents: Sequence[bytes]) -> dict[str, Tensor]:
    """CIFAR-10's pickles: five batches to train, one to test, and the classes' names."""
    import torch

    *train, test = (pickle.loads(content, encoding="latin1") for content in contents[:6])
    tensors = {}
    for split, batches in (("train", train), ("test", [test])):
        pixels = np.concatenate([batch["data"] for batch in batches])
        tensors[f"{split}_images"] = torch.from_numpy(pixels.reshape(-1, 3, 32, 32))
        tensors[f"{split}_labels"] = torch.tensor([label for batch in batches for label in batch["labels"]])
    return tensors


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
_DIGITS8 = Known("handwritten digits, 8 x 8", "CC BY 4.0", _DIGITS, _read_digits, white=16, side=8)
_MNIST = Known("handwritten digits, 28 x 28", "CC BY-SA 3.0", _DIGITS, _read_idx, 12, "MNIST", _idx("MNIST"))
_CIFAR10 = Known(
    "colour photographs, 32 x 32",
    "none stated; cite Krizhevsky 2009",
    _THINGS,
    _read_batches,
    170,
    "CIFAR10",
    _BATCHES,
    channels=3,
    side=32,
)
KNOWN = {
    "digits": replace(
        _DIGITS8, what="handwritten digits, 8 x 8 enlarged to 28 x 28", view=_enlarged, side=28
    ),
    "digits8": _DIGITS8,
    "digits37": replace(
        _DIGITS8,
        what="the 3 and 7 of digits8 as classes 0 and 1",
        classes=("3", "7"),
        view=_threes_and_sevens,
    ),
    "shapes": Known(
        "drawn shapes, 28 x 28, with a corner patch that follows the class (rho .9)",
        "this book's",
        (),
        lambda _: {},
    ),
    "mnist": _MNIST,
    "mnist37": replace(
        _MNIST, what="the 3 and 7 of mnist as classes 0 and 1", classes=("3", "7"), view=_threes_and_sevens
    ),
    "fashion_mnist": Known(
        "articles of clothing, 28 x 28", "MIT", _CLOTHES, _read_idx, 31, "FashionMNIST", _idx("FashionMNIST")
    ),
    "cifar10": _CIFAR10,
    "mnist14": replace(_MNIST, what="mnist, means of 2 x 2 pixels", view=_pooled, side=14),
    "cifar16": replace(_CIFAR10, what="cifar10, means of 2 x 2 pixels", view=_pooled, side=16),
}
# Of each file as it was published, unpacked, in the files' order.
_DIGESTS = {
    _idx("MNIST"): (
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    ),
    _idx("FashionMNIST"): (
        "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    ),
    _BATCHES: (
        "54636561a3ce25bd3e19253c6b0d8538147b0ae398331ac4a2d86c6d987368cd",
        "766b2cef9fbc745cf056b3152224f7cf77163b330ea9a15f9392beb8b89bc5a8",
        "0f00d98ebfb30b3ec0ad19f9756dc2630b89003e10525f5e148445e82aa6a1f9",
        "3f7bb240661948b8f4d53e36ec720d8306f5668bd0071dcb4e6c947f78e9682b",
        "d91802434d8376bbaeeadf58a737e3a1b12ac839077e931237e0dcd43adcb154",
        "f53d8d457504f7cff4ea9e021afcf0e0ad8e24a91f3fc42091b8adef61157831",
        "f962466ef690d46b226450fb9aadc74ba4bc64a76aa526b5827fe4bc5c7125cb",
    ),
}
NAMES = tuple(KNOWN)
SHA256 = {
    file: digest for files, digests in _DIGESTS.items() for file, digest in zip(files, digests, strict=True)
}
