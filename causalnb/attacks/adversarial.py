"""Attacks whose images are not judged: for adversarial training, and for models that draw at random."""

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
        seed = int(torch.randint(2**31, (), device="cpu"))
        return cross_entropy(
            model,
            ascend(model, images, labels, norm=norm, eps=eps, step=step, steps=steps, seed=seed),
            labels,
        )

    loss.__qualname__ = (
        f"adversarial({norm}, {eps}, {step}, {steps})"  # a checkpoint knows its loss by this name
    )
    return loss


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
) -> Tensor:
    """The ends [n, ...] of PGD's paths within the ball, whether or not they break the model: arguments as
    those of `run`.
    """
    ball.refuse_budget(eps, images, norm)
    with preserved_state(model, images.device, seed):
        case = Case(WatchedModel(model, images.device, iter(())), images, Criterion(labels), norm, eps, seed)
        case.model.follow(images, case.criterion)
        return ball.inside(images, foolbox_adapter.pgd(case, step=step, steps=steps), norm, eps).detach()
