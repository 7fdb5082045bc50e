"""The dial of linear.py, trained: Madry's rule and M's on draws of two Gaussian features, whose robust rule
is known. A question of this book: does M's rule lean less on style where style can be turned round?
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from causalnb import training
from causalnb.chapters.alignment import linear
from causalnb.chapters.alignment.arms import ARMS
from causalnb.chapters.alignment.objectives import Ball
from causalnb.data import Images
from causalnb.models.seeding import drawn
from causalnb.store import Store, memo
from causalnb.training import Recipe

WIDE = 16.0  # features in the box [0, 1] are 1/2 + x / WIDE: eight of their units to either side
RECIPE = Recipe(rate=0.5, momentum=0.9, epochs=4, batch=1000, schedule="cosine")


class OneLogit(nn.Module):
    """A linear map of two features to eight and one logit of them, given as z and -z: W_c has rank 1, so that
    a style is left. Two logits of their own would read all that two features hold, and leave none.
    """

    def __init__(self) -> None:
        """Torch's default initial weights, in float64; the second row of the last layer is less the first."""
        super().__init__()
        self.a = nn.Linear(2, 8, bias=False, dtype=torch.float64)
        self.fc = nn.Linear(8, 2, bias=False, dtype=torch.float64)
        self.fc.weight.data[1] = -self.fc.weight.data[0]

    def forward(self, images: Tensor) -> Tensor:
        """Logits [n, 2] of images [n, 1, 1, 2]."""
        logits: Tensor = self.fc(self.a((images.double().flatten(1) - 0.5) * WIDE))
        return logits

    @property
    def rule(self) -> Tensor:
        """w [2], of content and style: how far the second logit is above the first for each unit."""
        last = self.fc.weight.detach()
        return (last[1] - last[0]) @ self.a.weight.detach()


def draws(rho: float, n: int, *, seed: int) -> Images:
    """n draws at a dial, as images [n, 1, 1, 2]."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % 2
    signs = 2.0 * labels[:, None].double() - 1
    mean = torch.tensor([1.0, rho / 2], dtype=torch.float64)
    sd = torch.tensor(linear.DIAL_SD, dtype=torch.float64)
    x = signs * mean + sd * torch.randn(n, 2, generator=generator, dtype=torch.float64)
    images = (0.5 + x / WIDE).clamp(0, 1)[:, None, None]
    return Images(f"dial {rho}", "train", images, labels, ("-1", "1"), "")


@dataclass(frozen=True)
class Leaning:
    """A trained rule [2]."""

    rule: Tensor

    def turned(self, rho: float) -> linear.Turned:
        """What it does at a dial, and where style is turned round."""
        return linear.turned(self.rule.numpy(), rho)


def fitted(arm: str, rho: float, n: int, seed: int, recipe: Recipe = RECIPE) -> Leaning:
    """The rule that an arm learns from n draws at a dial; the attack steps by the whole budget, so that three
    steps end at its corner.
    """
    model = drawn(seed, OneLogit)
    eps = linear.DIAL_EPS / WIDE
    loss = ARMS[arm].loss(model, Ball(eps, eps, 3), epochs=recipe.epochs, seed=seed)
    if isinstance(loss, nn.Module):
        loss = loss.double()
    own = recipe.model_copy(update={"seed": seed})
    training.fit(model, draws(rho, n, seed=seed), loss, own)
    return Leaning(model.rule)


def flipped(store: Store | None, rho: float, n: int, seeds: range) -> dict[str, list[linear.Turned]]:
    """What Madry's rule and M's do at a dial, a training a seed."""
    return {
        arm: [
            memo(store, f"{arm} at the dial {rho}", fitted, arm, rho, n, seed).turned(rho) for seed in seeds
        ]
        for arm in ("at", "m")
    }
