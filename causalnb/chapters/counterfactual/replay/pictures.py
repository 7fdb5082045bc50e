"""The published CIFAR-10 pictures against the test images that they were made from.

They lie in `causadv-published/cifar_adversarial/ATTACK/CLASS/NUMBER.png`; the number is the image's place in
the test set.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from causalnb import UserError
from causalnb.chapters.counterfactual.replay import sources
from causalnb.data import Images

FOLDERS = {"fgsm": "FGSM_10", "bim": "BIM_10", "pgd": "PGD_10"}


@dataclass(frozen=True)
class Pictures:
    """Published pictures of an attack: pixels [n, 3, 32, 32] as whole numbers 0 to 255, and for each the
    class and the number of its test image.
    """

    pixels: Tensor
    classes: Tensor
    numbers: Tensor

    def __len__(self) -> int:
        """How many there are."""
        return len(self.pixels)


def folder() -> Path:
    """Where they lie, or should."""
    return sources.folder() / "cifar_adversarial"


def at_hand() -> bool:
    """Whether they are there."""
    return all((folder() / name).is_dir() for name in FOLDERS.values())


def read(attack: str, *, root: Path | None = None) -> Pictures:
    """The pictures of an attack, by their numbers; refused: none, one that is no picture, or not 32 x 32 in
    colour.
    """
    home = (root or folder()) / FOLDERS[attack]
    files = sorted(home.glob("[0-9]/*.png"), key=lambda file: int(file.stem))
    if not files:
        raise UserError(
            f"No published pictures are at hand: looked for {home}/CLASS/NUMBER.png. Put the folder "
            f"CIFAR/CIFAR_DataSet of {sources.REPOSITORY} there as cifar_adversarial."
        )
    return Pictures(
        torch.stack([_pixels(file) for file in files]),
        torch.tensor([int(file.parent.name) for file in files]),
        torch.tensor([int(file.stem) for file in files]),
    )


def _pixels(file: Path) -> Tensor:
    from PIL import Image

    try:
        with Image.open(file) as image:
            pixels = np.asarray(image.convert("RGB"), dtype=np.int64)
    except (OSError, SyntaxError) as error:
        raise UserError(f"{file} cannot be read as a picture ({error}): fetch it again.") from None
    if pixels.shape != (32, 32, 3):
        raise UserError(
            f"{file} is of {pixels.shape[1]} x {pixels.shape[0]} pixels, not 32 x 32: fetch it again."
        )
    return torch.from_numpy(pixels).permute(2, 0, 1)


@dataclass(frozen=True)
class Change:
    """How far pictures are from their test images, in steps of 1 of 255.

    largest   [n] the largest change of a pixel; least, most: of all signed changes
    mean      the mean size; odd: the share of changes that are odd numbers
    right     how many have the class of their test image in their folder's name
    """

    largest: Tensor
    least: int
    most: int
    mean: float
    odd: float
    right: int


def change(pictures: Pictures, test: Images) -> Change:
    """Pictures against CIFAR-10's test set; ten steps of 1 would leave even changes only where none of them
    is clipped.
    """
    clean = (test.images[pictures.numbers] * 255).round().long()
    apart = pictures.pixels - clean
    return Change(
        largest=apart.abs().flatten(1).amax(1),
        least=int(apart.min()),
        most=int(apart.max()),
        mean=float(apart.abs().double().mean()),
        odd=float((apart % 2 != 0).double().mean()),
        right=int((test.labels[pictures.numbers] == pictures.classes).sum()),
    )


def equal(one: Pictures, other: Pictures) -> tuple[int, int]:
    """How many pictures of the same test image are equal pixel for pixel, and of how many."""
    at = {number: row for row, number in enumerate(other.numbers.tolist())}
    pairs = [(row, at[number]) for row, number in enumerate(one.numbers.tolist()) if number in at]
    return sum(bool((one.pixels[a] == other.pixels[b]).all()) for a, b in pairs), len(pairs)
