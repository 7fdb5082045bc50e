"""The long computations of chapter 4: trainings of every arm, their rates chosen on images held out, and what
each network does to each test image. Estimates are measurements.py's.

A training with its evaluation is one entry of the store, `trained_and_scored`, made side by side on all
cores.
"""

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from causalnb import attacks, data, processes, record, training
from causalnb.attacks.suites import Step, evaluate
from causalnb.chapters.alignment.arms import ARMS
from causalnb.chapters.alignment.networks import Run, Setting, setting
from causalnb.chapters.alignment.objectives import CausalAdv
from causalnb.data import Images
from causalnb.statistics import Floats
from causalnb.store import Store, key_of, memo
from causalnb.training import Loss, Recipe

RATES = (0.5, 1.0, 2.0)  # times the recipe's
TUNING = 90_000  # first of the seeds that choose rates and are used for nothing else
HELD_OUT = 1000
TUNED = {"mnist14": (5000, 5), "cifar16": (3000, 3)}  # images, epochs of a tuning: whole ones take long
CAPPED = {"cifar16": (5000, 5000, 1000)}  # images for training, test and APGD at most, on two cores
DECIDING = (
    "at",
    "at-longer",
    "trades",
    "m",
    "t",
    "t-kl",
    "m-nonlinear",
    "m-code",
    "hh",
    "aux",
    "content",
    "random",
    "labels",
)
SHOWN = ("m-i", "m-s1", "mart", "t-one", "t-nonlinear", "t-code", "beta0", "adv0")
MEDIUM = ("at", "m", "hh", "aux", "content", "random", "trades", "t-kl")
MEDIUM_SHOWN = ("t",)
QUICK = ("at", "trades", "m", "t", "t-kl", "hh", "aux", "content", "random")
MEDIUM_SEEDS = 6
COLUMNS = ("nat", "fgsm", "pgd", "cw")
LONG = 500_000  # images times epochs of trainings that are worth processes of their own


@dataclass(frozen=True)
class Attacks:
    """How a network is evaluated: PGD and the margin with `steps` of `step`, and with `strong` images APGD-CE
    and APGD-T beside them; 0 for none.
    """

    eps: float
    steps: int
    step: float
    columns: tuple[str, ...] = COLUMNS
    strong: int = 0
    norm: str = "linf"


@dataclass(frozen=True)
class Scores:
    """Of one trained network: which test images it gets right in each column, eight a byte, their numbers,
    its weights, and the state of its loss: style head and covariance, where it has them.
    """

    bits: dict[str, Tensor]
    n: dict[str, int]
    weights: dict[str, Tensor]
    state: dict[str, Tensor]

    def right(self, column: str) -> Floats:
        """[n] 1 where an image is right in a column, else 0."""
        return np.unpackbits(self.bits[column].cpu().numpy(), count=self.n[column]).astype(np.float64)


def packed(right: Tensor) -> Tensor:
    """[n] of bool as bytes, eight images each, the last filled up with zeros.

    >>> packed(torch.tensor([True, False, True]))
    tensor([160], dtype=torch.uint8)
    """
    return torch.from_numpy(np.packbits(right.cpu().numpy()))


def trained_and_scored(
    model: nn.Module,
    loss: Loss,
    recipe: Recipe,
    train: Images,
    test: Images,
    against: Attacks,
    device: torch.device,
    work: Path | None = None,
) -> Scores:
    """Train a network and put every test image to every attack; `work` is where a killed training goes on."""
    own = copy.deepcopy(loss) if isinstance(loss, nn.Module) else loss
    checkpoint = work / "training" if work else None
    training.fit(model, train, own, recipe, device=device, checkpoint=checkpoint)
    found = scored(model.eval(), test.images.to(device), test.labels.to(device), against)
    return Scores(
        {name: packed(one) for name, one in found.items()},
        {name: len(one) for name, one in found.items()},
        dict(model.state_dict()),
        dict(own.state_dict()) if isinstance(own, nn.Module) else {},
    )


def scored(model: nn.Module, images: Tensor, labels: Tensor, against: Attacks) -> dict[str, Tensor]:
    """[n] whether each image is right, by column: clean, and under each attack. An image that an attack broke
    at any of its steps is broken.
    """
    walk = {"steps": against.steps, "step": against.step}
    settings: dict[str, tuple[str, dict[str, Any]]] = {
        "fgsm": ("fgsm", {}),
        "pgd": ("pgd", walk),
        "cw": ("cw-linf", walk),
    }
    ball: dict[str, Any] = {"norm": against.norm, "eps": against.eps, "seed": 0, "stop": True}
    found = {"nat": training.predict(model, images).argmax(1) == labels}
    for column in against.columns:
        if column in settings:
            name, own = settings[column]
            result = attacks.run(name, model, images, labels, **ball, **own)
            found[column] = result.correct & ~result.found
    if against.strong:
        suite = [Step("apgd-ce", {"steps": 50}), Step("apgd-t", {"steps": 50})]
        some = slice(against.strong)
        made = evaluate(
            model, images[some], labels[some], norm=against.norm, eps=against.eps, suite=suite, seed=0
        )
        found["apgd"] = made.robust
    return found


@dataclass(frozen=True)
class Job:
    """One training of one arm."""

    what: str
    model: nn.Module
    loss: Loss
    recipe: Recipe
    train: Images
    test: Images
    against: Attacks
    device: torch.device

    @property
    def call(self) -> "partial[Scores]":
        """What makes its scores."""
        return partial(
            trained_and_scored,
            self.model,
            self.loss,
            self.recipe,
            self.train,
            self.test,
            self.against,
            self.device,
        )


def all_scores(run: Run, jobs: Sequence[Job]) -> list[Scores]:
    """The scores of every job, those that are missing made side by side where they are long; each alone is
    kept as it ends.
    """
    missing = [job for job in jobs if not run.store.holds(key_of(job.what, job.call))]
    long = sum(job.recipe.epochs * len(job.train) for job in missing) > LONG
    if len(missing) > 1 and long and run.device.type == "cpu":
        for uses in processes.map(partial(_made, run.store.root, run.store.layers), missing):
            known = {use.digest for use in run.store.uses}
            run.store.uses += [use for use in uses if use.digest not in known]
    return [memo(run.store, job.what, job.call) for job in jobs]


def _made(root: Path, layers: tuple[Path, ...], job: Job) -> list[record.Use]:
    store = Store(root, layers)
    memo(store, job.what, job.call)
    return store.uses


def job(
    run: Run,
    name: str,
    arm: str,
    seed: int,
    train: Images,
    test: Images,
    against: Attacks,
    *,
    factor: float = 1.0,
    epochs: int | None = None,
    changes: Mapping[str, float] = MappingProxyType({}),
) -> Job:
    """The training of an arm on a set with a seed, which is that of first weights, batches and starts alike,
    so that arms of one seed are pairs.
    """
    how = setting(run, name)
    recipe = how.recipe.model_copy(
        update={"seed": seed, "rate": how.recipe.rate * factor, "epochs": epochs or how.recipe.epochs}
    )
    model = how.model(train, seed)
    loss = ARMS[arm].loss(model, how.ball, epochs=recipe.epochs, seed=seed, **changes)
    return Job(f"{arm} on {name}", model, loss, recipe, train, test, against, run.device)


def rates(run: Run, name: str, arms: Iterable[str]) -> dict[str, float]:
    """For each arm the factor of the recipe's rate with the greatest accuracy under PGD on training images
    held out, over tuning seeds; the smaller of equals. All 1 where the run tunes nothing.
    """
    arms = list(arms)
    if not run.p.n_tuning:
        return dict.fromkeys(arms, 1.0)
    n, epochs = TUNED.get(name, (run.p.n_train, None))
    pool = data.draw(run.load(name, "train"), n + HELD_OUT, seed=TUNING)
    train, held_out = pool.take(slice(n)), pool.take(slice(n, None))
    against = _against(setting(run, name), ("pgd",))
    asked = [(arm, f, TUNING + k) for arm in arms for f in RATES for k in range(run.p.n_tuning)]
    jobs = [
        job(run, name, arm, seed, train, held_out, against, factor=f, epochs=epochs) for arm, f, seed in asked
    ]
    right: dict[tuple[str, float], float] = {}
    for (arm, factor, _), one in zip(asked, all_scores(run, jobs), strict=True):
        right[arm, factor] = right.get((arm, factor), 0.0) + float(one.right("pgd").mean())
    return {arm: max(RATES, key=lambda factor: (round(right[arm, factor], 9), -factor)) for arm in arms}


def _against(how: Setting, columns: tuple[str, ...], strong: int = 0) -> Attacks:
    steps, step = how.strong
    return Attacks(how.ball.eps, steps, step, columns, strong, how.ball.norm)


@dataclass(frozen=True)
class Compared:
    """What the arms of one set did: `seeds` of those that decide, `factors` of their rates, and for each arm
    the scores of its seeds, in their order.
    """

    name: str
    seeds: tuple[int, ...]
    factors: Mapping[str, float]
    scores: Mapping[str, Sequence[Scores]]

    def right(self, arm: str, column: str) -> Floats:
        """[seeds, n] 1 where an arm's network is right."""
        return np.stack([one.right(column) for one in self.scores[arm]])


def arms_of(run: Run, name: str) -> dict[str, int]:
    """Which arms a set has, and how many seeds each: those that decide, those that are shown."""
    p = run.p
    if name == "mnist14":
        return dict.fromkeys(DECIDING, p.n_seeds) | dict.fromkeys(SHOWN, min(p.n_shown, p.n_seeds))
    if name == "cifar16":
        decide = dict.fromkeys(MEDIUM, min(p.n_seeds, MEDIUM_SEEDS))
        return decide | dict.fromkeys(MEDIUM_SHOWN, min(p.n_seeds, p.n_shown))
    if name == "digits8":
        return dict.fromkeys(QUICK, p.n_seeds)
    return dict.fromkeys(("at", "m"), p.n_seeds)


def images(run: Run, name: str) -> tuple[Images, Images]:
    """The training and the test images of a set that a run draws; order and draw are the run's seed's."""
    train, test = run.load(name, "train"), run.load(name, "test")
    most = CAPPED.get(name, (len(train), len(test)))
    return (
        data.draw(train, min(run.p.n_train, most[0]), seed=run.p.seed),
        data.draw(test, min(run.p.n_images, most[1]), seed=run.p.seed),
    )


def compared(run: Run, name: str) -> Compared:
    """Every arm of a set, each with its own rate, trained with its seeds and evaluated."""
    asked = arms_of(run, name)
    factors = rates(run, name, asked)
    train, test = images(run, name)
    strong = min(run.p.n_strong, len(test), *CAPPED.get(name, ())[2:])
    against = _against(setting(run, name), COLUMNS, strong)
    each = [(arm, run.p.seed + k) for arm, n in asked.items() for k in range(n)]
    jobs = [job(run, name, arm, seed, train, test, against, factor=factors[arm]) for arm, seed in each]
    scores: dict[str, list[Scores]] = {arm: [] for arm in asked}
    for (arm, _), one in zip(each, all_scores(run, jobs), strict=True):
        scores[arm].append(one)
    seeds = tuple(range(run.p.seed, run.p.seed + max(asked.values())))
    return Compared(name, seeds, factors, scores)


def network(run: Run, name: str, one: Scores) -> nn.Module:
    """A trained network again."""
    model = setting(run, name).model(run.load(name, "train"), run.p.seed)
    model.load_state_dict(one.weights)
    return model.to(run.device).eval()


def style_loss(run: Run, name: str, arm: str, model: nn.Module, one: Scores) -> CausalAdv:
    """The loss of a trained network again, with its style head."""
    how = setting(run, name)
    loss = ARMS[arm].loss(model, how.ball, epochs=how.recipe.epochs, seed=run.p.seed)
    assert isinstance(loss, CausalAdv)
    loss.load_state_dict(one.state)
    return loss.to(run.device).eval()
