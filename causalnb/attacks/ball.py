"""The geometry of a budget: distances, the ball cut with the box [0, 1], and draws that belong to one
image.
"""

import hashlib
import math
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from numbers import Real
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor

from causalnb import UserError

Key = tuple[int | str, ...]


def distance(clean: Tensor, images: Tensor, norm: str) -> Tensor:
    """Size of each perturbation in pixel units, [n] float64: "linf" its largest pixel, "l2" its Euclidean
    length.

    >>> distance(torch.zeros(1, 1, 1, 2), torch.tensor([[[[3., 4.]]]]), "l2")
    tensor([5.], dtype=torch.float64)
    """
    change = (images.double() - clean.double()).flatten(1)
    return change.abs().amax(dim=1) if norm == "linf" else change.norm(dim=1)


def radius_of_box(images: Tensor, norm: str) -> float:
    """How far the box [0, 1] reaches from a corner of it: 1 in "linf", the root of the pixels' number in
    "l2".
    """
    return 1.0 if norm == "linf" else math.sqrt(images[0].numel())


def refuse_budget(eps: float, images: Tensor, norm: str) -> None:
    """Refuse what is no budget, and one larger than any perturbation of images in [0, 1]: it is in another
    unit.
    """
    if isinstance(eps, bool) or not (isinstance(eps, Real) and 0 <= eps < math.inf):
        raise ValueError(
            f"eps = {eps!r:.80} is not possible: the attack budget is one number from 0 (pixel units); a "
            "curve is one call for each eps."
        )
    if norm in ("linf", "l2") and eps > (reach := radius_of_box(images, norm)) * (1 + 1e-6):
        raise UserError(
            f"eps = {eps!r:.80} is not possible: in {norm} no two images in [0, 1] lie further apart "
            f"than {reach:.4g}, so give a number up to that (pixel units: 8/255, not 8)."
        )


def plain(value: Any) -> Any:
    """A number as Python's own, whole ones as int: from numpy, fractions, arrays and tensors of one number;
    what is none stays as it is.

    >>> plain(Fraction(1, 4)), plain(Fraction(5)), plain(torch.tensor(3))
    (0.25, 5, 3)
    """
    if isinstance(value, np.ndarray | np.generic | Tensor) and value.ndim == 0:
        value = value.item()
    if not isinstance(value, Fraction | Decimal):
        return value
    try:
        return int(value) if value == int(value) else float(value)
    except (OverflowError, ValueError):  # larger than any float, or no number
        return math.inf


def inside(clean: Tensor, images: Tensor, norm: str, eps: float | Tensor) -> Tensor:
    """The images pulled into the ball of radius `eps` ([n] or one number) around `clean` and into the box [0,
    1].

    The perturbation is shortened in float64 and rounded towards the clean image, so that ball and box hold in
    float64 although the result has the images' own type.
    """
    origin = clean.double()
    change = images.double().clamp(0, 1) - origin
    radius = per_image(eps, clean)
    if norm == "linf":
        change = torch.clamp(change, -radius, radius)
    else:
        change = change * (
            radius / per_image(distance(origin, origin + change, norm), clean).clamp(min=1e-300)
        ).clamp(max=1)
    rounded = (origin + change).to(clean.dtype)
    return torch.where(
        (rounded.double() - origin).abs() > change.abs(), torch.nextafter(rounded, clean), rounded
    )


def per_image(values: float | Tensor, images: Tensor) -> Tensor:
    """One float64 number for each image ([n], or one for all), shaped so that it multiplies the images."""
    numbers = torch.as_tensor(values, dtype=torch.float64, device=images.device)
    return aligned(numbers.expand(len(images)), images)


def aligned(values: Tensor, images: Tensor) -> Tensor:
    """[n] values shaped [n, 1, ...], so that they multiply or choose whole images."""
    return values.reshape(-1, *[1] * (images.dim() - 1))


def draws(images: Tensor, key: Key, sample: Callable[[Generator], Tensor]) -> Tensor:
    """`sample(generator)` once for each image, from a generator seeded by `key` and the image's own pixels.

    An image's draw is thus the same alone, in any batch and any order, on any device; equal images draw
    equally.
    """
    return torch.stack(
        [sample(torch.Generator().manual_seed(seed_of(image, key))) for image in images.cpu()]
    ).to(images.device)


def pgd_schedule(eps: float, steps: int) -> dict[str, Any]:
    """Settings of a search by signs whose steps add up to 2.5 eps (Madry et al. 2018): "steps" and "step"."""
    return {"steps": steps, "step": max(2.5 * eps / steps, 1e-12)}


def seed_of(image: Tensor, key: Key) -> int:
    """The seed that `key` and an image's own pixels make."""
    digest = hashlib.sha256(repr(key).encode() + image.cpu().contiguous().numpy().tobytes()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


def uniform(images: Tensor, key: Key) -> Tensor:
    """A point in the unit cube [-1, 1]^d for each image."""
    return draws(
        images,
        key,
        lambda generator: (
            2 * torch.rand(images.shape[1:], generator=generator, device="cpu", dtype=images.dtype) - 1
        ),
    )


def direction(images: Tensor, key: Key) -> Tensor:
    """A point on the unit sphere for each image."""
    normal = draws(
        images,
        key,
        lambda generator: torch.randn(
            images.shape[1:], generator=generator, device="cpu", dtype=images.dtype
        ),
    )
    return normal / aligned(normal.flatten(1).norm(dim=1), images)


def point(images: Tensor, key: Key, norm: str) -> Tensor:
    """A uniform point of the unit ball for each image."""
    if norm == "linf":
        return uniform(images, key)
    radius = draws(
        images,
        (*key, "radius"),
        lambda generator: torch.rand((), generator=generator, device="cpu", dtype=images.dtype),
    )
    return direction(images, key) * aligned(radius ** (1 / images[0].numel()), images)
