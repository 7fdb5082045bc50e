"""The networks of chapter 3, trained once for each seed and kept in the store: ResNet-20 for colour images of
32 pixels, cnn37 for digits, and one that is stopped early.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from causalnb import UserError, chapters, models, training
from causalnb.chapters.intervention import efficientnet
from causalnb.chapters.intervention.parameters import Parameters
from causalnb.data import Images
from causalnb.models.copies import copied
from causalnb.training import PHOTOGRAPHS, Recipe

Run = chapters.Run[Parameters]

LAYER = "conv1"
EARLY = 0.9892  # the printed accuracy, near which a training is stopped
LARGE = 96  # pixels a side from which they take an EfficientNetV2
NATURAL = 32  # pixels a side from which images of three channels take a ResNet-20


@dataclass(frozen=True)
class Net:
    """A trained network with its images.

    seed       of its first weights and its training
    layer      whose channels are swapped
    curve      [epochs], the accuracy on the whole test set after each epoch
    correct    [n] whether each test image is classified right, by the rounded weights
    """

    name: str
    seed: int
    model: nn.Module
    layer: str
    train: Images
    test: Images
    curve: Tensor
    correct: Tensor

    @property
    def accuracy(self) -> tuple[int, int]:
        """How many test images are classified right, of how many."""
        return int(self.correct.sum()), len(self.correct)


def networks(run: Run, name: str, *, seeds: Sequence[int] | None = None) -> list[Net]:
    """One for each seed, from `seed` on as many as the parameters ask for; their weights as they are shipped,
    rounded to 16 bits.
    """
    p, train, test = run.p, run.load(name, "train"), run.load(name, "test")
    if p.model:
        return [given(run, name, train, test)]
    seeds = range(p.seed, p.seed + p.n_trainings) if seeds is None else seeds
    what = "efficientnetv2_b0" if large(train) else "resnet20" if natural(train) else "cnn37"
    outcomes = training.train_or_load(
        run.store,
        f"{what} on {name}",
        lambda seed: untrained(train, seed),
        [(training.cross_entropy, recipe_for(train, p.epochs))],
        train,
        seeds=seeds,
        test=test,
        device=run.device,
        workers=None if len(train) > 5000 else 1,
    )
    return [
        _net(name, seed, one.model, train, test, one.curve) for seed, one in zip(seeds, outcomes, strict=True)
    ]


def given(run: Run, name: str, train: Images, test: Images) -> Net:
    """The model of a user's own file. Its data set gets a name of its own in the record, as its numbers
    decide no row of the paper's.
    """
    p = run.p
    shape = {"classes": len(test.classes), "channels": test.images.shape[1], "size": test.images.shape[-1]}
    model = models.load(p.model or "", p.architecture, mean=p.list_of("mean"), std=p.list_of("std"), **shape)
    layer = f"model.{p.layer}" if isinstance(model, models.Normalised) else p.layer
    if layer not in dict(model.named_modules()):
        convolutions = [at for at, part in model.named_modules() if isinstance(part, nn.Conv2d)]
        raise UserError(
            f"layer = {p.layer} is no layer of this model: convolutions are {', '.join(convolutions[:8])}."
        )
    correct = training.predict(model.to(run.device), test.images).argmax(1).cpu() == test.labels
    return Net(f"{name}-own", p.seed, model, layer, train, test, torch.zeros(0), correct)


def stopped_early(run: Run, name: str, *, seed: int) -> Net:
    """A training on an eighth of the images, stopped after the epoch at which its accuracy on the test images
    is nearest to the printed 98.92 %: a reading of the printed numbers, made to fit one of them.
    """
    train, test = run.load(name, "train"), run.load(name, "test")
    order = torch.randperm(len(train), generator=torch.Generator().manual_seed(seed))
    recipe = recipe_for(train, 8).model_copy(update={"seed": seed})
    made = training.train_or_load(
        run.store,
        f"cnn37 on {name}, stopped early",
        untrained(train, seed),
        [(training.cross_entropy, recipe)],
        train.take(order[: len(train) // 8]),
        validate=partial(nearness, test=test),
        device=run.device,
    )
    return _net(name, seed, made.at_best(), train, test, made.scores)


def nearness(model: nn.Module, test: Images) -> float:
    """The higher, the nearer the accuracy of a model to the printed 98.92 %."""
    return -abs(training.accuracy(model, test) - EARLY)


def untrained(train: Images, seed: int) -> nn.Module:
    """The network with its first weights."""
    _, channels, size, _ = train.images.shape
    if large(train):
        return efficientnet.b0(classes=len(train.classes), seed=seed)
    make = models.resnet20 if natural(train) else models.cnn37
    return make(classes=len(train.classes), channels=channels, size=size, seed=seed)


def large(images: Images) -> bool:
    """Whether they take EfficientNetV2."""
    return images.images.shape[1] == 3 and images.images.shape[-1] >= LARGE


def natural(images: Images) -> bool:
    """Whether they take the network for natural images."""
    return images.images.shape[1] == 3 and images.images.shape[-1] >= NATURAL


def recipe_for(train: Images, epochs: int | None) -> Recipe:
    """One cycle of SGD with crops and flips for natural images; Adam on digits, which have a right way up."""
    if not natural(train):
        rate, batch = (2e-3, 32) if len(train) < 1000 else (1e-3, 128)
        return Recipe(optimiser="adam", rate=rate, epochs=epochs or 6, batch=batch)
    return PHOTOGRAPHS.model_copy(update={"epochs": epochs or 45})


def rounded(model: nn.Module) -> nn.Module:
    """A copy with its floating-point weights rounded to 16 bits, in the precision that they had."""
    made = copied(model)
    with torch.no_grad():
        for value in (*made.parameters(), *made.buffers()):
            if value.is_floating_point():
                value.copy_(value.half())
    return made.eval()


def _net(name: str, seed: int, model: nn.Module, train: Images, test: Images, curve: Tensor) -> Net:
    kept = rounded(model)
    correct = training.predict(kept, test.images).argmax(1).cpu() == test.labels
    layer = efficientnet.LAYER if large(train) else LAYER
    return Net(name, seed, kept, layer, train, test, curve, correct)
