"""What is trained on each data set, and how: networks, budgets, recipes. At small scale they are our own."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from torch import nn

from causalnb import UserError, chapters, models
from causalnb.chapters.alignment.objectives import Ball
from causalnb.chapters.alignment.parameters import Parameters
from causalnb.data import Images
from causalnb.models.seeding import drawn
from causalnb.training import Recipe

Run = chapters.Run[Parameters]
PIXEL = 1 / 255


def mlp(*, classes: int = 10, channels: int = 1, size: int = 14, seed: int = 0) -> nn.Sequential:
    """size^2 - 128 - 64 - classes, ReLU between them; torch's default initial weights.

    >>> sum(p.numel() for p in mlp().parameters())
    34122
    """

    def make() -> nn.Sequential:
        layers = OrderedDict[str, nn.Module](flat=nn.Flatten())
        for number, (fan_in, fan_out) in enumerate(pairwise((channels * size**2, 128, 64)), 1):
            layers[f"fc{number}"] = nn.Linear(fan_in, fan_out)
            layers[f"relu{number}"] = nn.ReLU()
        return nn.Sequential(OrderedDict(layers, fc3=nn.Linear(64, classes)))

    return drawn(seed, make)


def cnn16(*, classes: int = 10, channels: int = 3, size: int = 16, seed: int = 0) -> nn.Sequential:
    """Four convolutions, 3 x 3 with padding 1, batch norm and ReLU: channels -> 16, pool 2, 32, 64, pool 2,
    64; gap, the mean over what is left; fc. Torch's default initial weights. Pooling early halves the cost.

    >>> sum(p.numel() for p in cnn16().parameters())
    61338
    """

    def make() -> nn.Sequential:
        layers = OrderedDict[str, nn.Module]()
        for number, (fan_in, fan_out) in enumerate(pairwise((channels, 16, 32, 64, 64)), 1):
            layers[f"conv{number}"] = nn.Conv2d(fan_in, fan_out, 3, padding=1, bias=False)
            layers[f"bn{number}"] = nn.BatchNorm2d(fan_out)
            layers[f"relu{number}"] = nn.ReLU()
            if number in (1, 3):
                layers[f"pool{(number + 1) // 2}"] = nn.MaxPool2d(2)
        head = {"gap": nn.AdaptiveAvgPool2d(1), "flat": nn.Flatten(), "fc": nn.Linear(64, classes)}
        return nn.Sequential(OrderedDict(layers, **head))

    return drawn(seed, make)


@dataclass(frozen=True)
class Setting:
    """How a set is learned: `network` makes one from a seed, `ball` is the training's attack, `strong` PGD's
    steps and step in evaluation.
    """

    network: Callable[..., nn.Module]
    ball: Ball
    strong: tuple[int, float]
    recipe: Recipe

    def model(self, images: Images, seed: int) -> nn.Module:
        """A fresh network for a set."""
        _, channels, size, _ = images.images.shape
        return self.network(classes=len(images.classes), channels=channels, size=size, seed=seed)


_SGD = Recipe(rate=0.1, momentum=0.9, batch=128)
_EIGHT = Ball(eps=8 * PIXEL, step=2 * PIXEL, steps=10)
SMALL = {
    "digits8": Setting(
        mlp,
        Ball(0.1, 0.05, 5),
        (20, 0.01),
        _SGD.model_copy(update={"epochs": 8, "batch": 32, "schedule": "cosine"}),
    ),
    "mnist14": Setting(
        mlp, Ball(0.1, 0.025, 10), (20, 0.01), _SGD.model_copy(update={"epochs": 10, "schedule": "cosine"})
    ),
    "cifar16": Setting(
        cnn16,
        replace(_EIGHT, step=4 * PIXEL, steps=5),
        (20, 0.8 * PIXEL),
        _SGD.model_copy(update={"epochs": 10, "schedule": "one-cycle", "weight_decay": 2e-4}),
    ),
}
PAPER = {
    "mnist": Setting(
        models.small_cnn,
        Ball(0.3, 0.01, 40),
        (40, 0.01),
        Recipe(rate=0.01, momentum=0.9, epochs=50, batch=128),
    ),
    "cifar10": Setting(
        models.resnet18,
        _EIGHT,
        (20, 0.8 * PIXEL),
        Recipe(
            rate=0.1,
            momentum=0.9,
            weight_decay=2e-4,
            schedule="steps",
            epochs=120,
            batch=128,
            augmentation="crop-flip",
        ),
    ),
}


def setting(run: Run, name: str) -> Setting:
    """How a set is learned by a run's parameters.

    Refused: the paper's network or training for a set of another size, the wide network, which is not built.
    """
    p = run.p
    if name in SMALL:
        if (p.network, p.recipe) != ("small", "small"):
            raise UserError(
                f"network = {p.network}, recipe = {p.recipe} are not for {name}: give small for both."
            )
        return SMALL[name]
    if p.network == "small" or p.recipe == "small":
        raise UserError(
            f"network and recipe are small for {', '.join(SMALL)}, not for {name}: give the paper's."
        )
    if p.network == "wrn34":
        raise UserError("network = wrn34 is not built here yet: give resnet18.")
    chosen = PAPER[name]
    quick: dict[str, Any] = {
        "epochs": 15,
        "schedule": "one-cycle",
        "precision": "bfloat16",
        "channels_last": True,
    }
    changes: dict[str, Any] = {"paper": {}, "long": {"epochs": 200}, "short": quick}[p.recipe]
    return replace(chosen, recipe=chosen.recipe.model_copy(update=changes))
