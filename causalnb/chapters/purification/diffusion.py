"""The forward process of a diffusion model and its noise error (Ho, Jain & Abbeel 2020); images in [-1, 1].

Time runs from 0, hardly any noise, to 999, hardly any image. A model of the noise is a callable (x_t, t, c)
-> noise, c being latents or None for "no latents".
"""

from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor

Noise = Callable[[Tensor, Tensor, Tensor | None], Tensor]

STEPS = 1000
FIRST, LAST = 1e-4, 0.02


@cache
def betas() -> Tensor:
    """The variance that each step adds, straight from 1e-4 to 0.02: [1000] float64."""
    return torch.linspace(FIRST, LAST, STEPS, dtype=torch.float64)


@cache
def kept() -> Tensor:
    """a_t, the share of an image's variance that is left at time t: [1000] float64.

    >>> [round(float(kept()[t]), 4) for t in (0, 100, 999)]
    [0.9999, 0.8951, 0.0]
    """
    return (1 - betas()).cumprod(0)


def kept_at(t: Tensor, like: Tensor) -> Tensor:
    """a_t for whole times t [n], in the type and on the device of images, shaped to multiply them."""
    return kept().to(like.device, like.dtype)[t].view(-1, *(1,) * (like.ndim - 1))


def noised(images: Tensor, t: Tensor, noise: Tensor) -> Tensor:
    """x_t = sqrt(a_t) x + sqrt(1 - a_t) noise, for images and noise [n, ...] and times t [n]."""
    a = kept_at(t, images)
    return a.sqrt() * images + (1 - a).sqrt() * noise


def noise_error(
    model: Noise, images: Tensor, t: Tensor, noise: Tensor, latents: Tensor | None = None
) -> Tensor:
    """The mean squared error of the predicted noise, for each image: [n]. Small where images are likely."""
    return (noise - model(noised(images, t, noise), t, latents)).square().flatten(1).mean(1)


def cleaned(model: Noise, images: Tensor, t: Tensor, noise: Tensor, latents: Tensor | None = None) -> Tensor:
    """What the model takes x_t for in one step: (x_t - sqrt(1 - a_t) predicted) / sqrt(a_t), in [-1, 1]."""
    a, x = kept_at(t, images), noised(images, t, noise)
    return ((x - (1 - a).sqrt() * model(x, t, latents)) / a.sqrt()).clamp(-1, 1)


@torch.no_grad()
def sample(model: Noise, start: Tensor, latents: Tensor | None = None, *, steps: int = 20) -> Tensor:
    """Images from noise `start` [n, ...] in some steps without new noise (DDIM, Song et al. 2021), the guess
    of the image held to [-1, 1] at each.
    """
    x, times = start, torch.linspace(STEPS - 1, 0, steps).round().long().tolist()
    for number, time in enumerate(times):
        t = torch.full((len(x),), time, device=x.device)
        a = kept_at(t, x)
        image = ((x - (1 - a).sqrt() * model(x, t, latents)) / a.sqrt()).clamp(-1, 1)
        if number + 1 == len(times):
            return image
        noise = (x - a.sqrt() * image) / (1 - a).sqrt()
        x = noised(image, torch.full_like(t, times[number + 1]), noise)
    return x
