"""An image and its map of effects, or its vector as bars, as a reader chooses them, packed so small that they
stand in the page itself; cn.js draws them.
"""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from zlib import crc32

from torch import Tensor

from causalnb.figstyle import EFFECT, EFFECT_STOPS
from causalnb.fragments.wording import component

GREYS = [[17 * level] * 3 for level in range(16)]
EFFECTS = EFFECT.resampled(15)(range(15), bytes=True)[:, :3].tolist()


@dataclass(frozen=True)
class Tile:
    """What one combination shows: an image [height, width] in [0, 1], signed effects [height, width], and a
    plain sentence said under them.
    """

    image: Tensor
    effects: Tensor
    said: str


def explorer(
    choices: Mapping[str, Sequence[str]],
    tiles: Mapping[tuple[str, ...], Tile],
    static: str,
    caption: str,
    alt: str,
) -> str:
    """An image and its map as a reader chooses them; `static` stands instead of them without script and on
    paper.

    choices   name -> options, in their order on the page
    tiles     one for every combination of options, in the order of the choices; a ValueError where one is
              missing or shapes differ
    static    the HTML of a figure
    returns   HTML; images have the levels 0 to 15, maps -7 to 7 of their own largest |effect|, and what
              occurs twice is stored once
    """
    every = list(product(*choices.values()))
    shapes = {part.shape for one in tiles.values() for part in (one.image, one.effects)}
    if set(every) != set(tiles) or [len(shape) for shape in shapes] != [2]:
        raise ValueError(
            "tiles are one for every combination and [height, width] alike: "
            f"{set(every) ^ set(tiles) or [tuple(shape) for shape in shapes]}"
        )
    chosen = [tiles[one] for one in every]
    limits = [float(one.effects.abs().max()) for one in chosen]
    images, which = _packed([(15 * one.image).round() for one in chosen])
    maps, whose = _packed(
        [(7 + 7 * one.effects / (limit or 1)).round() for one, limit in zip(chosen, limits, strict=True)]
    )
    texts = [
        [f"{-limit:z.2g}".replace("-", "−"), f"{limit:.2g}".replace("-", "−"), one.said]
        for one, limit in zip(chosen, limits, strict=True)
    ]
    shown = {
        "layers": [{"levels": images, "colours": GREYS}, {"levels": maps, "colours": EFFECTS}],
        "tiles": list(zip(which, whose, texts, strict=True)),
    }
    key = f"live-{crc32(repr((choices, shown, caption)).encode()):08x}"
    return component("explorer")(key, choices, shown, shapes.pop(), EFFECT_STOPS, static, caption, alt)


@dataclass(frozen=True)
class Bars:
    """What one combination shows: an image [channels, height, width] of one or three channels in [0, 1],
    signed values [n] as bars over those of another vector [n], and a plain sentence said under them.
    """

    image: Tensor
    values: Tensor
    over: Tensor
    said: str


def bars(
    choices: Mapping[str, Sequence[str]],
    tiles: Mapping[tuple[str, ...], Bars],
    static: str,
    caption: str,
    alt: str,
) -> str:
    """As `explorer`, for an image and two vectors, each drawn over its own largest size: of 127 levels to
    either side.
    """
    every = list(product(*choices.values()))
    shapes = {(one.image.shape, one.values.shape, one.over.shape) for one in tiles.values()}
    if set(every) != set(tiles) or len(shapes) != 1:
        raise ValueError(f"bars are one for every combination and alike: {set(every) ^ set(tiles) or shapes}")
    chosen = [tiles[one] for one in every]
    parts = [
        _bytes([255 * one.image.expand(3, -1, -1).movedim(0, -1) for one in chosen]),
        _bytes([128 + 127 * one.values / (one.values.abs().max() or 1) for one in chosen]),
        _bytes([128 + 127 * one.over / (one.over.abs().max() or 1) for one in chosen]),
    ]
    texts = [[_size(one.values), _size(one.over), one.said] for one in chosen]
    which = zip(*(each for _, each in parts), texts, strict=True)
    shown = {"parts": [stored for stored, _ in parts], "tiles": list(which)}
    key = f"live-{crc32(repr((choices, shown, caption)).encode()):08x}"
    down = max(_below(each) for one in chosen for each in (one.values, one.over))
    size = (*chosen[0].image.shape, len(chosen[0].values), 1 + round(127 * down))
    return component("bars_explorer")(key, choices, shown, size, static, caption, alt)


def _below(values: Tensor) -> float:
    """How far the lowest bar reaches down, of the largest size."""
    return max(0.0, -float(values.min() / (values.abs().max() or 1)))


def _size(values: Tensor) -> str:
    return f"{float(values.abs().max()):.2g}"


def _bytes(arrays: Sequence[Tensor]) -> tuple[str, list[int]]:
    """The different ones among arrays of levels 0 to 255, a byte a level, in base64; and which each is."""
    each = [bytes(one.round().int().flatten().tolist()) for one in arrays]
    different = list(dict.fromkeys(each))
    return b64encode(b"".join(different)).decode(), [different.index(one) for one in each]


def _packed(pictures: Sequence[Tensor]) -> tuple[str, list[int]]:
    """The different ones among pictures of levels 0 to 15, two levels a byte and the first in its high half,
    in base64; and which of them each is.
    """
    if not all(((one >= 0) & (one <= 15)).all() for one in pictures):
        raise ValueError("a value is outside its range: images are in [0, 1] and effects are finite")
    digits = ["".join(f"{level:x}" for level in one.int().flatten().tolist()) for one in pictures]
    different = list(dict.fromkeys(digits))
    joined = "".join(different)
    return b64encode(bytes.fromhex(joined + "0" * (len(joined) % 2))).decode(), [
        different.index(one) for one in digits
    ]
