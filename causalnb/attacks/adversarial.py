"""Attacks whose images are not judged: for adversarial training, and for models that draw at random."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from causalnb.attacks import ball, foolbox_adapter
from causalnb.attacks.foolbox_adapter import Case
from causalnb.attacks.watch import Criterion, WatchedModel, preserved_state
from causalnb.training import Loss, cross_entropy


def adversarial(*, norm: str, eps: float, step: float, steps: int) -> Loss:
    """The cross-entropy at the end of a PGD path from a random point of the ball: Madry et al. 2018, Eq.
    (2.1).

    Every image is attacked, also those that the model gets wrong. The path sees the model in evaluation mode,
    without dropout and with the running statistics of its batch norms; the loss at its end sees it as it
    trains.
    """

    def loss(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        return cross_entropy(
            model,
            ascend(model, images, labels, norm=norm, eps=eps, step=step, steps=steps, seed=drawn_seed()),
            labels,
        )

    loss.__qualname__ = (
        f"adversarial({norm}, {eps}, {step}, {steps})"  # a checkpoint knows its loss by this name
    )
    return loss


def drawn_seed() -> int:
    """The one number that a training against paths takes from the global generator for each batch."""
    return int(torch.randint(2**31, (), device="cpu"))


def ascend(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    norm: str,
    eps: float,
    step: float,
    steps: int,
    seed: int,
    objective: Callable[[Tensor], Tensor] | None = None,
    start: Tensor | None = None,
) -> Tensor:
    """The ends [n, ...] of PGD's paths within the ball, whether or not they break the model: arguments as
    those of `run`.

    objective   what is ascended instead of the cross-entropy: logits [n, classes] to one number an image, [n]
    start       where the paths begin [n, ...] instead of a random point of the ball, such as `near`
    """
    ball.refuse_budget(eps, images, norm)
    with preserved_state(model, images.device, seed):
        case = Case(WatchedModel(model, images.device, iter(())), images, Criterion(labels), norm, eps, seed)
        case.model.follow(images, case.criterion)
        start = (
            foolbox_adapter._point(case, "pgd") if start is None else ball.inside(images, start, norm, eps)
        )
        loss = None if objective is None else _of_logits(objective)
        ends = foolbox_adapter._ascent(case, start, step, steps, loss=loss)
        return ball.inside(images, ends, norm, eps).detach()


def _of_logits(objective: Callable[[Tensor], Tensor]) -> Callable[[Any, Any], Any]:
    """The objective as foolbox takes it: a sum over the images."""

    def of_model(model: Any, _: Any) -> Callable[[Any], Any]:
        return lambda images: type(images)(objective(model(images).raw).sum())

    return of_model


def near(images: Tensor, *, scale: float = 1e-3, seed: int) -> Tensor:
    """Each image with Gaussian noise of that standard deviation: where TRADES' paths begin (Zhang et al.
    2019), since the divergence from the clean prediction has no gradient at the clean image.
    """
    return images + scale * ball.draws(
        images, (seed, "near"), lambda g: torch.randn(images.shape[1:], generator=g, dtype=images.dtype)
    )
