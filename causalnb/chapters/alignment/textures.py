"""Shapes with a texture that follows the class nine times in ten, so that style predicts the label: what
Madry's training and M lose where each class gets the texture of the next one. It leaves the graph as drawn.
"""

from dataclasses import replace

import numpy as np
import torch

from causalnb import data
from causalnb.chapters.alignment import experiments
from causalnb.chapters.alignment.arms import ARMS
from causalnb.chapters.alignment.experiments import Attacks, Job
from causalnb.chapters.alignment.networks import Run, Setting, cnn16
from causalnb.chapters.alignment.objectives import Ball
from causalnb.data import Images
from causalnb.record import digest
from causalnb.statistics import Floats
from causalnb.training import Recipe

RHO = 0.9
TESTED = 1000
RECIPE = Recipe(rate=0.1, momentum=0.9, epochs=8, batch=128, schedule="one-cycle", weight_decay=2e-4)
SETTING = Setting(cnn16, Ball(0.06, 0.02, 5), (20, 0.006), RECIPE)


def scenes(n: int, *, seed: int) -> Images:
    """Drawn scenes whose texture follows the class with probability `RHO`."""
    return data.shapes(n, cue="texture", rho=RHO, size=16, seed=seed)


def both(test: Images) -> Images:
    """Scenes as they are, then the same scenes with the texture of the next class: [2n]."""
    turned = data.do(test, texture=(test.labels + 1) % len(test.classes))
    return Images(
        "shapes",
        "test",
        torch.cat([test.images, turned.images]),
        test.labels.repeat(2),
        test.classes,
        digest(test.digest + turned.digest),
    )


def lost(
    run: Run, n: int, seeds: range, *, how: Setting = SETTING, tested: int = TESTED
) -> dict[str, Floats]:
    """[seeds, tested] clean accuracy that each arm's networks lose where textures are turned round."""
    train, test = replace(scenes(n, seed=0), split="train"), both(scenes(tested, seed=1))
    against = Attacks(how.ball.eps, *how.strong, columns=("pgd",))
    made: dict[str, Floats] = {}
    for arm in ("at", "m"):
        jobs = []
        for seed in seeds:
            model = how.model(train, seed)
            loss = ARMS[arm].loss(model, how.ball, epochs=how.recipe.epochs, seed=seed)
            recipe = how.recipe.model_copy(update={"seed": seed})
            jobs.append(Job(f"{arm} on shapes", model, loss, recipe, train, test, against, run.device))
        right = np.stack([one.right("nat") for one in experiments.all_scores(run, jobs)])
        made[arm] = right[:, :tested] - right[:, tested:]
    return made
