"""Folders of pictures: which there are, and their pixels as squares of 8 bits a channel.

The rules: a picture is a JPEG, PNG, PPM, BMP, TIFF or WebP by its content, whatever its name. Its numbers
mean grey levels only where black and white are known: in 1, 8 and 16 bits; others (floating point, 12 and 32
bits, signed) are refused. Transparent pixels, whose ground is unknown, are refused; alpha that hides nothing
is dropped. It is turned as its camera says (EXIF). One of more than `MOST` pixels is refused before it is
decoded.
"""

import struct
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from causalnb import UserError, console, files, vision
from causalnb.data.images import Split

FORMATS = ("JPEG", "PNG", "PPM", "BMP", "TIFF", "WEBP")  # none that runs a program, as EPS does
MOST = 50_000_000  # pixels of a file
LARGEST = 224  # pixels: the side of a picture at most
OPAQUE = ("1", "L", "P", "RGB", "RGBX", "CMYK", "YCbCr")
WITH_ALPHA = ("LA", "PA", "RGBA")
STRAY = ("__MACOSX",)
BITS, PHOTOMETRIC, SAMPLE_FORMAT = 258, 262, 339  # of a TIFF
ORIENTATION = 274  # of EXIF


@dataclass(frozen=True)
class Folder:
    """A folder of pictures as one set.

    files   each under "split/class/name", in the order in which `decode` puts the pictures
    decode  reads them: uint8 images and int64 labels of each split that is there
    """

    classes: tuple[str, ...]
    files: dict[str, Path]
    decode: Callable[[], dict[str, Tensor]]


def find(root: Path, split: Split) -> Folder:
    """The pictures of root/train and root/test (or val), a folder for each class; `split` must be there."""
    folders = {"train": root / "train", "test": root / "test" if (root / "test").is_dir() else root / "val"}
    there = [name for name, folder in folders.items() if folder.is_dir()]
    if split not in there:
        held = _classes(root)
        shown = f"it holds {', '.join(held[:5])}{', ...' if len(held) > 5 else ''}" if held else "it is empty"
        raise UserError(
            f"{root} has no {split} images: a folder of images holds train/ and test/ (or val/), each with "
            f"one folder for each class, and {shown}: put {root / split} there."
        )
    try:
        listed = {name: _listing(folders[name], quiet=name != split) for name in there}
    except FileNotFoundError as error:
        raise UserError(f"A class has no images: {error}; put one there or remove the folder.") from None
    if any(read.classes != listed[split].classes for read in listed.values()):
        raise UserError(
            f"{root} is not one set: {folders['train']} and {folders['test']} hold different classes; give "
            "both the same folders."
        )
    pictures = {
        f"{name}/{Path(file).relative_to(folders[name]).as_posix()}": Path(file)
        for name, read in listed.items()
        for file, _ in read.samples
    }
    return Folder(tuple(listed[split].classes), pictures, partial(_decode, listed))


def _listing(folder: Path, *, quiet: bool) -> Any:
    """torchvision's list of a folder's pictures, with our classes."""
    names = _classes(folder)
    if names != sorted(names) and not quiet:
        console.say(f"{folder}: the classes are numbers, in their order: {', '.join(names)}")

    theirs = vision.import_torchvision().datasets

    def picture(file: str) -> bool:
        name = Path(file).name
        return not name.startswith(".") and name.lower().endswith(theirs.folder.IMG_EXTENSIONS)

    class Listing(theirs.ImageFolder):  # type: ignore[misc, name-defined]
        def find_classes(self, directory: str) -> tuple[list[str], dict[str, int]]:
            if not names:
                raise FileNotFoundError(f"{directory} has no folder")
            return names, {name: k for k, name in enumerate(names)}

    listing = Listing(folder, is_valid_file=picture)
    listing.samples.sort(key=itemgetter(1))
    listing.targets.sort()
    return listing


def _classes(folder: Path) -> list[str]:
    """The folders in a folder, hidden ones and those of archivers aside: by number where all are numbers,
    else by name.
    """
    with files.refusals(folder, "read"):
        names = sorted(
            one.name
            for one in folder.iterdir()
            if one.is_dir() and one.name not in STRAY and not one.name.startswith(".")
        )
    return sorted(names, key=int) if all(name.isdecimal() for name in names) else names


def shape(folder: Folder) -> tuple[int, int]:
    """Channels and side of the images that `decode` makes: the first picture's, at most `LARGEST`."""
    return _shape(str(next(iter(folder.files.values()))))


def _shape(first: str) -> tuple[int, int]:
    read = _open(first)
    return (1 if read.mode in ("1", "L") else 3), min(*read.size, LARGEST)


def _decode(listed: dict[str, Any]) -> dict[str, Tensor]:
    channels, side = _shape(next(iter(listed.values())).samples[0][0])
    square = partial(_square, side=side, mode="L" if channels == 1 else "RGB")
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
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with warnings.catch_warnings():  # of what is refused here
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(file, formats=FORMATS) as image:
                if image.width * image.height > MOST:
                    raise UserError(
                        f"{file} has {image.width} x {image.height} pixels, and at most {MOST:,} are read: "
                        "make it smaller, or remove it."
                    )
                image.verify()  # a PNG's checksums, which loading does not look at
            with Image.open(file, formats=FORMATS) as image:
                image.load()
                read = _eight_bits(image, file)
                read.getexif()[ORIENTATION] = image.getexif().get(ORIENTATION, 1)
                return ImageOps.exif_transpose(read)
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[-1]
        if isinstance(error, UnidentifiedImageError):
            reason = f"it is none of {', '.join(FORMATS)}, or its first bytes are damaged"
        raise UserError(f"{file} cannot be read as an image ({reason}): remove or replace it.") from None


def _eight_bits(image: Any, file: str) -> Any:
    """The picture in a mode of 8 bits a channel (or 1) without transparency: 16 bits are scaled, 65535 to
    255.
    """
    from PIL import Image

    tags = getattr(image, "tag_v2", {})
    grey = image.mode.startswith("I") and "transparency" not in image.info
    if grey and (
        image.format in ("PNG", "PPM")
        or (image.mode.startswith("I;16") and tags.get(BITS) == (16,) and tags.get(PHOTOMETRIC) == 1)
    ):
        return Image.fromarray(((np.asarray(image).astype(np.int32) + 128) // 257).astype(np.uint8))
    if image.mode not in OPAQUE + WITH_ALPHA or set(tags.get(SAMPLE_FORMAT, (1,))) != {1}:
        raise UserError(
            f"{file} holds numbers whose black and white are not known (mode {image.mode}, {image.format}): "
            "save it with 8 or 16 bits a channel, or remove it."
        )
    seen_through = image.mode in WITH_ALPHA or "transparency" in image.info
    if seen_through and image.convert("RGBA").getchannel("A").getextrema()[0] < 255:
        raise UserError(
            f"{file} has transparent pixels, whose ground is not known: save it on a ground of your choice, "
            "without transparency, or remove it."
        )
    return image.copy()


def _square(image: Any, *, side: int, mode: str) -> Tensor:
    """An image scaled to cover the square and cropped at its centre: [channels, side, side] uint8."""
    from PIL import Image, ImageOps

    fitted = ImageOps.fit(image.convert(mode), (side, side), Image.Resampling.BILINEAR)
    return torch.from_numpy(np.array(fitted)).view(side, side, -1).permute(2, 0, 1)
