"""The placebo: perturbations of an attack's size that know nothing of the model."""

import torch
from torch import Tensor

from causalnb.attacks import ball

NORMS = {"sign": ("linf",), "uniform": ("linf",), "gauss": ("l2",), "shuffle": ("linf", "l2")}


def noise(
    images: Tensor,
    *,
    kind: str,
    norm: str,
    eps: float | Tensor,
    seed: int,
    perturbation: Tensor | None = None,
) -> Tensor:
    """Images with noise of size `eps` that does not aim at anything, clipped to the box [0, 1].

    images        [n, ...] in [0, 1]
    kind          "sign": every pixel +eps or -eps ("linf"); "uniform": U(-eps, eps) ("linf"); "gauss": a
                  random direction, lengthened so that its L2 norm is eps after the clipping where the box has
                  room ("l2"); "shuffle": the given perturbation with its pixels (all channels together)
                  permuted, before the clipping
    eps           pixel units, one number or [n]: an attack's own distances give it a placebo of its own size
    seed          with each image's pixels it decides the draw, so batch and order do not
    perturbation  [n, ...] for "shuffle": attacked minus clean images, no larger than eps
    returns       [n, ...], inside ball and box

    >>> (noise(torch.full((1, 1, 2, 2), 0.5), kind="sign", norm="linf", eps=0.25, seed=0) - 0.5).abs()
    tensor([[[[0.2500, 0.2500],
              [0.2500, 0.2500]]]])
    """
    _check(images, kind, norm, eps, perturbation)
    key = (int(seed), "noise", kind)
    size = ball.per_image(eps, images)
    if perturbation is not None:
        change = _permuted(images, perturbation, key)
    elif kind == "gauss":
        change = _lengthened(images, size * ball.direction(images, key))
    else:
        change = size * (ball.uniform(images, key).sign() if kind == "sign" else ball.uniform(images, key))
    return ball.inside(images, images + change, norm, eps)


def _check(images: Tensor, kind: str, norm: str, eps: float | Tensor, perturbation: Tensor | None) -> None:
    if norm not in NORMS.get(kind, ()):
        known = "; ".join(f"{kind} in {' and '.join(norms)}" for kind, norms in NORMS.items())
        raise ValueError(f"there is no {kind!r} noise in {norm!r}: known are {known}.")
    sizes = torch.as_tensor(eps, dtype=torch.float64)
    if sizes.shape not in ((), (len(images),)) or not (sizes.isfinite() & (sizes >= 0)).all():
        raise ValueError(
            f"eps must be a finite number from 0, or one for each of the {len(images)} images (a failed "
            "attack's distance is nan: give it 0)."
        )
    if (kind == "shuffle") != (perturbation is not None):
        raise ValueError("perturbation goes with kind='shuffle', and only with it.")
    if perturbation is not None:
        if perturbation.shape != images.shape:
            raise ValueError(
                f"perturbation has shape {tuple(perturbation.shape)}, the images {tuple(images.shape)}."
            )
        if (
            ball.distance(torch.zeros_like(images), perturbation, norm) > sizes.to(images.device) + 1e-6
        ).any():
            raise ValueError(f"the perturbation to shuffle is larger than eps in {norm}.")


def _lengthened(images: Tensor, change: Tensor) -> Tensor:
    """The change times a factor from 1 to 64 for each image, so that the clipping leaves its L2 norm as it
    was.
    """
    wanted = ball.distance(torch.zeros_like(change), change, "l2")
    low, high = torch.ones_like(wanted), torch.full_like(wanted, 64)
    for _ in range(40):
        middle = (low + high) / 2
        short = (
            ball.distance(images, (images + ball.per_image(middle, images) * change).clamp(0, 1), "l2")
            < wanted
        )
        low, high = torch.where(short, middle, low), torch.where(short, high, middle)
    return ball.per_image(low, images) * change


def _permuted(images: Tensor, perturbation: Tensor, key: ball.Key) -> Tensor:
    pixels = perturbation.flatten(2)
    order = ball.draws(
        images, key, lambda generator: torch.randperm(pixels.shape[2], generator=generator, device="cpu")
    )
    return pixels.gather(2, order[:, None].expand_as(pixels)).reshape(images.shape)
