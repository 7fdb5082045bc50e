"""`shapes`: images whose causal graph is known, with a cue that may stand in for the content.

content -> object, content = label; style (place, size, intensity, background, noise) -> image. The cue is a
corner patch (chapter ace), the object's brightness (chapter purification) or a texture over the whole image
(chapter alignment); with probability rho it follows the content, and it never has an effect on the label.
An image is a function of its factors alone. An intervention is therefore the same scene, drawn again with a
factor set.
"""

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from causalnb import record
from causalnb.data.images import Images, fingerprint

Cue = Literal["corner", "brightness", "texture"]


@dataclass(frozen=True)
class _Scene:
    """Ranges of the factors under one cue; lengths are shares of the image's side."""

    off_centre: float
    half_size: tuple[float, float]
    intensity: tuple[float, float]
    background: float = 0.0
    slope: float = 0.0
    noise: float = 0.0
    strength: float = 0.0


_SCENES: dict[Cue, _Scene] = {
    "corner": _Scene(3 / 28, (4 / 28, 6 / 28), (0.6, 1.0), noise=0.03, strength=0.8),
    "brightness": _Scene(4 / 28, (5 / 28, 8 / 28), (0.55, 1.0), slope=0.3),
    "texture": _Scene(1.5 / 16, (1 / 4, 1 / 4), (0.85, 0.85), background=0.35, noise=0.05, strength=0.15),
}


def shapes(n: int, *, cue: Cue = "corner", rho: float = 0.0, size: int = 28, seed: int = 0) -> Images:
    """Draw `n` scenes: a square, disc, cross or triangle, and a cue that follows it with probability `rho`.

    cue    "corner": a patch of .8 in corner k; k = content with probability rho, else one of the four
           "brightness": intensity `brightness(content)` with probability rho, else uniform in [.55, 1]
           "texture": texture k of amplitude .15 over everything; k as for the corner
    size   side of the image in pixels
    factors  content [n]; centre_y, centre_x, half_size [n] (pixels; of the disc, the others have its area);
             intensity, background, slope [n] (grey levels), angle [n] (radians); noise [n, size, size];
             corner or texture [n] (k) and its strength [n]
    One seed gives the same scenes for every rho but for the cue.

    >>> toy = shapes(5, cue="corner", rho=1.0)
    >>> toy.images.shape, bool((toy.factors["corner"] == toy.labels).all())
    (torch.Size([5, 1, 28, 28]), True)
    """
    if cue not in _SCENES or not 0 <= rho <= 1:
        raise ValueError(
            f"cue = {cue!r}, rho = {rho}: a cue is one of {', '.join(_SCENES)}, rho a probability"
        )
    scene, random = _SCENES[cue], np.random.default_rng(seed)
    content, other = random.integers(len(_DISTANCES), size=(2, n))
    follows = random.random(n) < rho
    middle, off = (size - 1) / 2, scene.off_centre * size
    factors = {
        "content": content,
        "centre_y": random.uniform(middle - off, middle + off, n),
        "centre_x": random.uniform(middle - off, middle + off, n),
        "half_size": random.uniform(*scene.half_size, n) * size,
        "intensity": random.uniform(*scene.intensity, n),
        "background": np.full(n, scene.background),
        "slope": random.uniform(0, scene.slope, n),
        "angle": random.uniform(0, 2 * math.pi, n),
        "noise": scene.noise * random.standard_normal((n, size, size), dtype=np.float32),
    }
    if cue == "brightness":
        factors["intensity"] = np.where(follows, brightness(content), factors["intensity"])
    else:
        factors |= {cue: np.where(follows, content, other), "strength": np.full(n, scene.strength)}
    return _draw(
        {
            name: torch.from_numpy(v if v.dtype == np.int64 else v.astype(np.float32))
            for name, v in factors.items()
        }
    )


def do(images: Images, **factors: Tensor | float) -> Images:
    """The same scenes with some factors set, each to a number or to one value an image; the others are kept.

    >>> toy = shapes(3, rho=1.0)
    >>> moved = do(toy, corner=(toy.labels + 1) % 4)
    >>> bool((moved.images[:, :, 4:24] == toy.images[:, :, 4:24]).all())
    True
    """
    if unknown := factors.keys() - images.factors.keys():
        raise ValueError(
            f"no factor {', '.join(sorted(unknown))}: these images have {', '.join(images.factors) or 'none'}"
        )
    changed = {
        name: torch.as_tensor(value, dtype=images.factors[name].dtype).expand_as(images.factors[name])
        for name, value in factors.items()
    }
    return replace(_draw(images.factors | changed), split=images.split)


def brightness(content: np.ndarray | Tensor) -> np.ndarray | Tensor:
    """The intensity that goes with a content where brightness is the cue: .55 + .45 (k + 1/2) / 4."""
    return 0.55 + 0.45 * (content + 0.5) / 4


def _draw(factors: dict[str, Tensor]) -> Images:
    # Not of the pixels, which differ in the last bit between machines.
    digest = record.digest(fingerprint(factors) + record.code_digest(Path(__file__)))
    return Images("shapes", "all", render(factors), factors["content"], tuple(_DISTANCES), digest, factors)


def render(factors: dict[str, Tensor]) -> Tensor:
    """Images [n, 1, size, size] of scenes, from all of their factors (see `shapes`)."""
    size = factors["noise"].shape[-1]
    a = {name: values.view(-1, 1, 1) for name, values in factors.items() if values.ndim == 1}
    y, x = torch.meshgrid(torch.arange(float(size)), torch.arange(float(size)), indexing="ij")
    inside = torch.sigmoid(
        -3 * _distance(factors["content"], y - a["centre_y"], x - a["centre_x"], a["half_size"])
    )
    along = (
        a["angle"].sin() * (2 * y / (size - 1) - 1) + a["angle"].cos() * (2 * x / (size - 1) - 1)
    ) / math.sqrt(2)
    image = inside * a["intensity"] + (1 - inside) * (a["background"] + a["slope"] * (1 + along) / 2)
    if "corner" in factors:
        image = torch.where(corners(size)[factors["corner"]], a["strength"], image)
    if "texture" in factors:
        image = image + a["strength"] * _textures(size)[factors["texture"]]
    return (image + factors["noise"]).clamp(0, 1)[:, None]


def corners(size: int) -> Tensor:
    """Where the four corner patches lie: [4, size, size] bool; a seventh of the side, in reading order."""
    masks, patch = torch.zeros(4, size, size, dtype=torch.bool), size // 7
    for k, (rows, columns) in enumerate(
        (r, c) for r in (slice(patch), slice(-patch, None)) for c in (slice(patch), slice(-patch, None))
    ):
        masks[k, rows, columns] = True
    return masks


def _textures(size: int) -> Tensor:
    """Rows, columns, checkerboard, diagonals of period 4 pixels: [4, size, size] of -1 and 1."""
    y, x = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    return 1.0 - 2 * torch.stack([y // 2 % 2, x // 2 % 2, (y // 2 + x // 2) % 2, (y + x) // 2 % 2])


def _distance(content: Tensor, dy: Tensor, dx: Tensor, radius: Tensor) -> Tensor:
    """Distance from the object's edge in pixels, negative inside; all four objects have the disc's area."""
    distance = torch.empty_like(dy)
    for k, edge in enumerate(_DISTANCES.values()):
        those = content == k
        distance[those] = edge(dy[those], dx[those], radius[those])
    return distance


def _square(dy: Tensor, dx: Tensor, radius: Tensor) -> Tensor:
    return torch.maximum(dy.abs(), dx.abs()) - radius * math.sqrt(math.pi) / 2


def _disc(dy: Tensor, dx: Tensor, radius: Tensor) -> Tensor:
    return torch.hypot(dy, dx) - radius


def _cross(dy: Tensor, dx: Tensor, radius: Tensor) -> Tensor:
    """Two bars of half-length l and half-width l/3: area 20 l^2 / 9."""
    long, dy, dx = radius * math.sqrt(9 * math.pi / 20), dy.abs(), dx.abs()
    return torch.minimum(torch.maximum(dy - long, dx - long / 3), torch.maximum(dx - long, dy - long / 3))


def _triangle(dy: Tensor, dx: Tensor, radius: Tensor) -> Tensor:
    """As wide as high, 2a: area 2 a^2."""
    a = radius * math.sqrt(math.pi / 2)
    return torch.maximum(dy - a, (2 * dx.abs() - dy - a) / math.sqrt(5))


_DISTANCES = {"square": _square, "disc": _disc, "cross": _cross, "triangle": _triangle}
