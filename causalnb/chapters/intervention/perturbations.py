"""Perturbations beside an attack's own, for the controls: shrunk to the boundary, lengthened, of another
image, with the sign turned. Noise is `attacks.noise`.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

BEYOND = 1.001  # of the way to the boundary: on it the class changes with the batch
THIN = 1e-4  # a margin nearer to 0 is not sure
HALVINGS = 40

Model = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Scaled:
    """Images along the way from clean to attacked, and beyond.

    images   [n, ...] in [0, 1]
    times    [n] how far, 1 at the attacked image
    sure     [n] whether the image is on the side that it should be on, by a margin above 1e-4
    clipped  [n] the share of pixels that the box cut
    """

    images: Tensor
    times: Tensor
    sure: Tensor
    clipped: Tensor


@torch.no_grad()
def margins(model: Model, images: Tensor, labels: Tensor, *, batch: int = 256) -> Tensor:
    """The logit of the label less the largest other one: [n]."""
    parts = []
    for some, its in zip(images.split(batch), labels.split(batch), strict=True):
        logits = model(some).clone()
        own = logits.gather(1, its[:, None])[:, 0]
        parts.append(own - logits.scatter_(1, its[:, None], -torch.inf).amax(1))
    return torch.cat(parts)


def overshoot(model: Model, clean: Tensor, attacked: Tensor, labels: Tensor) -> Tensor:
    """rho [n]: by how many times its margin an attack moves an image; 1 on the boundary."""
    before, after = (margins(model, images, labels) for images in (clean, attacked))
    return (before - after) / before


def to_boundary(model: Model, clean: Tensor, attacked: Tensor, labels: Tensor) -> Scaled:
    """Each image on the straight way to its attacked one where the class first is seen to change, by
    bisection, and a thousandth beyond. Of an attack that fails the attacked image, not sure.
    """
    found = margins(model, attacked, labels) < 0
    low = torch.zeros(len(clean), dtype=torch.float64, device=clean.device)
    high = torch.ones_like(low)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        wrong = margins(model, _along(clean, attacked, middle), labels) < 0
        low, high = torch.where(wrong, low, middle), torch.where(wrong, middle, high)
    times = torch.where(found, high * BEYOND, 1.0)
    made = _along(clean, attacked, times)
    sure = found & (margins(model, made, labels) < -THIN)
    return Scaled(made, times, sure, torch.zeros_like(times))


def extended(model: Model, clean: Tensor, attacked: Tensor, labels: Tensor, times: Tensor) -> Scaled:
    """Each perturbation `times` [n] as long, clipped to the box; sure where the class is another one."""
    free = _along(clean, attacked, times)
    made = free.clamp(0, 1)
    clipped = ((free < 0) | (free > 1)).flatten(1).double().mean(1)
    return Scaled(made, times, margins(model, made, labels) < -THIN, clipped)


def of_another(clean: Tensor, attacked: Tensor, *, seed: int) -> Tensor:
    """Each image with the perturbation of another one, clipped: no image keeps its own."""
    order = torch.randperm(len(clean), generator=torch.Generator().manual_seed(seed))
    source = torch.empty_like(order)
    source[order] = order.roll(1)
    return (clean + (attacked - clean)[source]).clamp(0, 1)


def flipped(clean: Tensor, attacked: Tensor) -> Tensor:
    """Each image with its perturbation subtracted, clipped."""
    return (2 * clean - attacked).clamp(0, 1)


def _along(clean: Tensor, attacked: Tensor, times: Tensor) -> Tensor:
    shape = (-1, *[1] * (clean.ndim - 1))
    return (clean.double() + times.double().view(shape) * (attacked.double() - clean.double())).to(
        clean.dtype
    )
