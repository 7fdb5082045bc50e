"""Traps of attack libraries, each as a call that anyone can repeat: what the library says, and what is so.

The calls are the libraries' own, with the settings that their manuals or defaults suggest. Where a library is
not installed with the book, the few lines that make the trap are written out.
"""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from causalnb import attacks
from causalnb.attacks.ball import pgd_schedule
from causalnb.chapters.bench import toys


@dataclass(frozen=True)
class Trap:
    """Counts of n images: what the library would have us believe, and what a fresh look at the model
    finds.
    """

    id: str
    library: str
    said: int
    true: int
    n: int


def black_images(model: nn.Module, images: Tensor, labels: Tensor) -> tuple[Trap, int]:
    """F1: C&W of foolbox begins its best image at zeros, so an image that it never breaks comes back black,
    and black is some class.

    One search step and a small constant, so that few images are truly broken. Also returns how many images
    came back black.
    """
    import foolbox

    settings: dict[str, Any] = {"binary_search_steps": 1, "steps": 20, "initial_const": 1e-3}
    library: Any = foolbox
    attack = library.attacks.L2CarliniWagnerAttack(stepsize=0.01, **settings)
    _, found, success = attack(
        library.PyTorchModel(deepcopy(model), bounds=(0, 1), device=images.device),
        images,
        labels,
        epsilons=None,
    )
    ours = attacks.run("cw", model, images, labels, norm="l2", eps=None, step=0.01, seed=0, **settings)
    right = ours.correct
    return Trap("F1", "foolbox", int((success & right).sum()), int(ours.found.sum()), int(right.sum())), int(
        (found == 0).flatten(1).all(dim=1).sum()
    )


def short_steps(model: nn.Module, images: Tensor, labels: Tensor, *, eps: float, steps: int = 10) -> Trap:
    """F13: foolbox's PGD keeps a step of eps / 30 whatever the number of steps: with ten of them no iterate
    crosses the ball. Robust images.
    """
    import foolbox

    short = attacks.run(
        "pgd",
        model,
        images,
        labels,
        norm="linf",
        eps=eps,
        step=eps * foolbox.attacks.LinfPGD().rel_stepsize,
        steps=steps,
        seed=0,
    )
    long = attacks.run("pgd", model, images, labels, norm="linf", eps=eps, seed=0, **pgd_schedule(eps, steps))
    return Trap("F13", "foolbox", short.robust_accuracy[0], long.robust_accuracy[0], len(images))


def masked_with_zeros(logits: Tensor, labels: Tensor) -> Tensor:
    """T1, the loss of torchattacks' CW without its constants: classes are masked by a product with 0, which
    an output below 0 does not survive.
    """
    chosen = nn.functional.one_hot(labels, logits.shape[1])
    own, other = (chosen * logits).amax(dim=1), ((1 - chosen) * logits).amax(dim=1)
    return (own - other).clamp(min=0)


def flat_losses(model: nn.Module, images: Tensor, labels: Tensor) -> dict[str, int]:
    """How many images have no gradient of `masked_with_zeros`, for three heads that decide alike; logits - 50
    is even the same softmax.
    """
    heads: dict[str, Callable[[Tensor], Tensor]] = {
        "logits": lambda logits: logits,
        "log-softmax": lambda logits: logits.log_softmax(dim=1),
        "logits - 50": lambda logits: logits - 50,
    }
    return {
        name: _without_gradient(partial(_replica, model, head, labels), images)
        for name, head in heads.items()
    }


def saturated(
    model: nn.Module, images: Tensor, labels: Tensor, *, eps: float, steps: int
) -> dict[str, tuple[int, int]]:
    """A4: robust images by APGD on the cross-entropy and by APGD-T, for the logits and for the same logits
    times 1000.
    """
    return {
        name: (
            attacks.run(
                "apgd-ce", one, images, labels, norm="linf", eps=eps, steps=steps, seed=0
            ).robust_accuracy[0],
            attacks.run(
                "apgd-t", one, images, labels, norm="linf", eps=eps, steps=steps, n_targets=3, seed=0
            ).robust_accuracy[0],
        )
        for name, one in (("logits", model), ("logits x 1000", toys.Scaled(model, 1000.0).eval()))
    }


def _replica(model: nn.Module, head: Callable[[Tensor], Tensor], labels: Tensor, images: Tensor) -> Tensor:
    return masked_with_zeros(head(model(images)), labels)


def _without_gradient(loss: Callable[[Tensor], Tensor], images: Tensor) -> int:
    asked = images.clone().requires_grad_()
    gradient = torch.autograd.grad(loss(asked).sum(), asked)[0]
    return int((gradient == 0).flatten(1).all(dim=1).sum())
