"""An image and a switch for each of some parts: what any set of them that is switched on does, packed so
small that it stands in the page itself; cn.js draws it.
"""

import json
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from zlib import crc32

from torch import Tensor

from causalnb.fragments.wording import component


@dataclass(frozen=True)
class Switched:
    """What the sets of n parts do to one image. Set number s holds part j where bit j of s is 1.

    image    [channels, height, width] of one or three channels in [0, 1]
    wrong    [2^n] bool: the answer is wrong
    values   name -> Walsh coefficients by set of parts (those left out are 0), from which a number of every
             set is put together: the sum over sets T of (-1)^|s and T| w(T)
    """

    image: Tensor
    wrong: Tensor
    values: Mapping[str, Mapping[int, float]]


def switches(
    shown: Mapping[str, Switched],
    sets: Mapping[str, int],
    static: str,
    caption: str,
    alt: str,
    *,
    says: tuple[str, str] = ("right", "wrong"),
) -> str:
    """A switch for each part, and what the chosen set does to the chosen image; `static` stands instead
    without script and on paper.

    shown    title -> an image, all of equal shapes and names of values
    sets     what a button says -> the set that it chooses
    says     of an answer that is right, and of one that is wrong
    """
    every = list(shown.values())
    parts = {(len(one.wrong).bit_length() - 1, one.image.shape, tuple(one.values)) for one in every}
    if len(parts) != 1 or len(every[0].wrong) & (len(every[0].wrong) - 1):
        raise ValueError(f"images of different shapes, values or numbers of parts: {parts}")
    n, shape, names = parts.pop()
    packed = [
        {
            "image": _bytes(
                (255 * one.image.expand(3, -1, -1).movedim(0, -1)).round().int().flatten().tolist()
            ),
            "wrong": _bytes(_bits(one.wrong)),
            "values": [[[mask, float(f"{w:.4g}")] for mask, w in one.values[name].items()] for name in names],
        }
        for one in every
    ]
    data = {"images": packed, "says": says, "sets": list(sets.values()), "names": names}
    key = f"live-{crc32(json.dumps([list(shown), data, caption]).encode()):08x}"
    return component("switches")(
        key, {"image": list(shown)}, data, shape, n, list(sets), static, caption, alt
    )


def _bits(wrong: Tensor) -> list[int]:
    """Eight sets a byte, the first in its lowest bit."""
    padded = wrong.int().tolist() + [0] * (-len(wrong) % 8)
    return [
        sum(bit << place for place, bit in enumerate(padded[at : at + 8])) for at in range(0, len(padded), 8)
    ]


def _bytes(values: Sequence[int]) -> str:
    return b64encode(bytes(values)).decode()
