"""Adversarial training of your own classifier by any method of the chapter, in one call."""

import torch
from torch import nn

from causalnb import UserError
from causalnb.chapters.alignment.arms import arm
from causalnb.chapters.alignment.objectives import Ball
from causalnb.data import Images
from causalnb.training import Fit, Recipe, Score, fit

PAPER = Recipe(rate=0.1, momentum=0.9, weight_decay=2e-4, schedule="steps", epochs=120, batch=128)


def train(
    model: nn.Module,
    data: Images,
    method: str = "causaladv-m",
    *,
    eps: float,
    step: float | None = None,
    steps: int = 10,
    weight: float | None = None,
    sigma: float | None = None,
    recipe: Recipe = PAPER,
    seed: int = 0,
    device: str | torch.device = "cpu",
    validate: Score | None = None,
) -> Fit:
    """Train a classifier in place against PGD within eps (L-inf, pixel units), by a method of Zhang et al.
    2022 or one that it is compared with.

    model    logits of images in [0, 1]; its last layer is linear, and what goes into it is the representation
    method   causaladv-m, causaladv-t, each also -nonlinear or -released; madry, trades, mart, half-half
    step     of the attack, eps / 4 by default; steps: how many
    weight   lambda of the methods; sigma: of Eq. (10), for a linear g. None: as in the paper, 1 for M, .5 for
             T, and 0, since sigma is not given there
    recipe   the paper's by default: 120 epochs
    seed     of the batches and the attack's starts, and of the style head's first weights
    returns  the model, its history, and with `validate` its best weights

    >>> import torch
    >>> from causalnb import data, models, training
    >>> model = models.gap_cnn(seed=0)
    >>> some = data.load("digits8").take(slice(64))
    >>> recipe = training.Recipe(rate=0.05, epochs=1)
    >>> made = train(model, some, "causaladv-m", eps=0.1, steps=2, recipe=recipe)
    >>> len(made.history)
    1
    """
    chosen = {name: value for name, value in (("weight", weight), ("sigma", sigma)) if value is not None}
    if idle := [name for name in chosen if name not in arm(method).takes]:
        raise UserError(f"{method} has no {' and no '.join(idle)}: leave it out, or choose causaladv-m.")
    ball = Ball(eps=eps, step=eps / 4 if step is None else step, steps=steps)
    loss = arm(method).loss(model, ball, epochs=recipe.epochs, seed=seed, **chosen)
    own = recipe.model_copy(update={"seed": recipe.seed + seed})
    return fit(model, data, loss, own, device=device, validate=validate)
