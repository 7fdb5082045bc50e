"""Robust overfitting on few images and many epochs (Fig. 2's analogue): what Madry's training and M lose
under PGD from the epoch that is best on images held out to the last.
"""

import copy
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from causalnb import data, training
from causalnb.chapters.alignment import experiments
from causalnb.chapters.alignment.experiments import Attacks, packed
from causalnb.chapters.alignment.networks import Run, setting
from causalnb.data import Images
from causalnb.statistics import Floats
from causalnb.store import memo
from causalnb.training import Loss, Recipe

FEW, MANY = 200, 150  # training images, epochs
HELD_OUT = 200


@dataclass(frozen=True)
class Course:
    """Outcomes under PGD at the best epoch and at the last, as bits of n test images; by epoch the accuracy
    on the images held out, [epochs].
    """

    best: Tensor
    last: Tensor
    n: int
    curve: Tensor

    def lost(self) -> Floats:
        """[n] of -1, 0, 1: what is lost from best to last."""
        best, last = (
            np.unpackbits(one.cpu().numpy(), count=self.n).astype(float) for one in (self.best, self.last)
        )
        return best - last


def course(
    model: nn.Module,
    loss: Loss,
    recipe: Recipe,
    train: Images,
    held_out: Images,
    test: Images,
    against: Attacks,
    device: torch.device,
    work: Path | None = None,
) -> Course:
    """Train a network, and keep the weights that are best under PGD on the images held out."""

    def robust(model: nn.Module) -> float:
        images, labels = held_out.images.to(device), held_out.labels.to(device)
        return float(experiments.scored(model, images, labels, against)["pgd"].double().mean())

    own = copy.deepcopy(loss) if isinstance(loss, nn.Module) else loss
    checkpoint = work / "training" if work else None
    made = training.fit(model, train, own, recipe, device=device, checkpoint=checkpoint, validate=robust)
    images, labels = test.images.to(device), test.labels.to(device)
    last = experiments.scored(model.eval(), images, labels, against)["pgd"]
    model.load_state_dict(made.best)
    best = experiments.scored(model, images, labels, against)["pgd"]
    curve = torch.tensor([row["score"] for row in made.history], dtype=torch.float64)
    return Course(packed(best), packed(last), len(test), curve)


def courses(
    run: Run, name: str, *, few: int = FEW, epochs: int = MANY, seeds: range | None = None
) -> dict[str, list[Course]]:
    """Madry's training and M on few images of a set, with each seed."""
    how = setting(run, name)
    pool = data.draw(run.load(name, "train"), few + HELD_OUT, seed=run.p.seed)
    train, held_out = pool.take(slice(few)), pool.take(slice(few, None))
    test = experiments.images(run, name)[1]
    against = Attacks(how.ball.eps, *how.strong, columns=("pgd",))
    found: dict[str, list[Course]] = {}
    for arm in ("at", "m"):
        for seed in seeds or range(run.p.seed, run.p.seed + run.p.n_seeds):
            one = experiments.job(run, name, arm, seed, train, test, against, epochs=epochs)
            what = f"overfitting of {arm} on {name}"
            given = (one.model, one.loss, one.recipe, train, held_out, test, against, run.device)
            found.setdefault(arm, []).append(memo(run.store, what, course, *given))
    return found
