"""The networks of chapter 5, each trained once and kept in the store: causal diffusion models in several
arms, plain and adversarially trained classifiers; and the images that they see.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn

from causalnb import chapters, console, data, models, record, training
from causalnb.attacks.adversarial import adversarial
from causalnb.chapters.purification.network import Averaged, CausalDiffusion, causal_diffusion
from causalnb.chapters.purification.objective import CausalLoss, Weights
from causalnb.chapters.purification.parameters import Parameters
from causalnb.data import Images
from causalnb.models.seeding import drawn

Run = chapters.Run[Parameters]
TRAIN, PROBE, ATTACKED = 0, 1, 2  # seeds of the scenes
BATCH, RATE, WARM_UP = 64, 1e-3, 0.2
SIDE = 16
PROBED = 2000
FEW = 1000  # of MNIST's training images, so that accuracy leaves room
ETAS = (0.0, 1e-4, 1e-3, 1e-2, 1e-1)
CLASSIFIER_EPOCHS = 8
SHORT = 200  # steps of a training that takes seconds
CUED = 0.9  # how often brightness follows the label where it is a cue


# Images --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sets:
    """The images of one data set: to train on, to probe latents with, and to attack."""

    name: str
    train: Images
    probe: Images
    attacked: Images


def sets(run: Run, name: str, *, rho: float = 0.0) -> Sets:
    """Of `shapes`, 16 x 16 with brightness as cue; of MNIST, padded and pooled to 16 x 16, a thousand
    training images; of CIFAR-10 as they are.

    rho   how often brightness follows the label in training and probing; attacked images are without it
    """
    p = run.p
    if name == "shapes":
        scenes = partial(data.shapes, cue="brightness", size=SIDE)
        return Sets(
            name,
            replace(scenes(p.n_train, rho=rho, seed=TRAIN), split="train"),
            replace(scenes(PROBED, rho=rho, seed=PROBE), split="test"),
            data.draw(scenes(8 * p.n_images, seed=ATTACKED), p.n_images, seed=p.image_seed),
        )
    train, test = run.load(name, "train"), run.load(name, "test")
    count = min(FEW if name == "mnist" else p.n_train, len(train))
    if name == "mnist":
        train, test = pooled(train), pooled(test)
    train = data.draw(train, count, seed=TRAIN)
    return Sets(
        name, train, data.draw(test, PROBED, seed=PROBE), data.draw(test, p.n_images, seed=p.image_seed)
    )


def pooled(images: Images) -> Images:
    """28 x 28 with a border of 2, and the mean of 2 x 2: 16 x 16."""
    small = nn.functional.avg_pool2d(nn.functional.pad(images.images, (2, 2, 2, 2)), 2)
    return replace(images, images=small, digest=record.digest(f"{images.digest} pooled"))


# Causal diffusion models ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Arm:
    """A way to train.

    two_stage   pre-training for half of the steps, then joint training; else joint from scratch
    s           numbers of S, where other than the parameters say
    """

    name: str
    weights: Weights
    two_stage: bool = True
    s: int | None = None


def arms(p: Parameters) -> dict[str, Arm]:
    """All arms by name: the two readings of the page, one for each eta, one without KL, one without either
    term, and one whose S is starved, as what does separate S from style.
    """
    full = Weights(p.beta, p.beta, p.gamma, p.eta)
    found = [
        Arm("two-stage", full),
        Arm("joint", full, two_stage=False),
        *(Arm(f"eta-{eta:g}", replace(full, eta=eta)) for eta in ETAS if eta != p.eta),
        Arm("no-kl", replace(full, beta_s=0.0, beta_z=0.0)),
        Arm("no-terms", replace(full, beta_s=0.0, beta_z=0.0, eta=0.0)),
        Arm("starved", Weights(3e-2, 3e-3, 1.0, 0.0, free=0.25, starved=True, reversed=0.3), False, s=2),
    ]
    return {arm.name: arm for arm in found}


OF_SET = {
    "shapes": ("two-stage", "joint", "eta-0", "eta-0.0001", "eta-0.01", "eta-0.1", "no-kl", "starved"),
    "mnist": ("two-stage", "no-kl", "no-terms"),
    "cifar10": ("two-stage", "joint"),
}


def stages(p: Parameters, arm: Arm, train: Images) -> list[tuple[CausalLoss, training.Recipe]]:
    """The losses of an arm with their recipes; an epoch is a pass over the training images."""
    parts = 2 if arm.two_stage else 1
    epochs = max(1, round(p.training_steps / parts / math.ceil(len(train) / BATCH)))
    recipe = training.Recipe(optimiser="adam", rate=RATE, schedule="cosine", epochs=epochs, batch=BATCH)
    weights = replace(arm.weights, warm_up=math.ceil(WARM_UP * epochs))
    joint = replace(weights, warm_up=0) if arm.two_stage else weights
    each = [weights.pre_training(), joint] if arm.two_stage else [joint]
    loss = partial(CausalLoss, s=arm.s or p.latents, z=p.latents, classes=len(train.classes))
    return [(drawn(0, partial(loss, one)), recipe) for one in each]


def trained(run: Run, of: Sets, arm: str, *, seeds: Sequence[int], what: str = "") -> list[CausalDiffusion]:
    """The averaged models of an arm, frozen, one a seed.

    what   said behind the set's name, where its training images are others
    """
    p, its = run.p, arms(run.p)[arm]
    channels, size = of.train.images.shape[1:3]

    def first(seed: int) -> Averaged:
        return Averaged(
            causal_diffusion(
                classes=len(of.train.classes),
                channels=channels,
                size=size,
                s=its.s or p.latents,
                z=p.latents,
                width=p.width,
                seed=seed,
            )
        )

    outcomes = training.train_or_load(
        run.store,
        f"causal diffusion ({arm}) on {of.name}{what}",
        first,
        stages(p, its, of.train),
        of.train,
        seeds=seeds,
        device=run.device,
        workers=workers(run.p),
    )
    return [cast(Averaged, one.model).average.eval() for one in outcomes]


def error_curve(run: Run, of: Sets, *, steps: int) -> Tensor:
    """The noise error of each of a few steps of pre-training from the first weights: [steps], float64."""
    [(loss, _), *_] = stages(run.p, arms(run.p)["two-stage"], of.train)
    model = Averaged(causal_diffusion(size=of.train.images.shape[2], seed=run.p.seed))
    optimiser = torch.optim.Adam(model.model.parameters(), lr=RATE)
    order = torch.randperm(len(of.train), generator=torch.Generator().manual_seed(run.p.seed))
    found = []
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(run.p.seed)
        for places in order.repeat(1 + steps * BATCH // len(order)).split(BATCH)[:steps]:
            terms = loss.terms(model, of.train.images[places], of.train.labels[places])
            optimiser.zero_grad()
            (terms["noise"] + run.p.beta * (terms["kl_s"] + terms["kl_z"])).backward()
            optimiser.step()
            found.append(float(terms["noise"].detach()))
    return torch.tensor(found, dtype=torch.float64)


# Classifiers ---------------------------------------------------------------------------------------------


def classifiers(run: Run, of: Sets, *, seeds: Sequence[int], robust: bool = False) -> list[nn.Module]:
    """Plain networks, or with `robust` trained on PGD within the run's Linf eps (Madry et al. 2018)."""
    channels, size = of.train.images.shape[1:3]
    eps = run.p.eps
    loss = adversarial(norm="linf", eps=eps, step=eps / 4, steps=10) if robust else training.cross_entropy
    recipe = training.Recipe(
        optimiser="adam", rate=RATE, schedule="cosine", epochs=CLASSIFIER_EPOCHS, batch=BATCH
    )
    outcomes = training.train_or_load(
        run.store,
        f"{'PGD-trained' if robust else 'plain'} CNN on {of.name}",
        lambda seed: models.small_cnn(classes=len(of.train.classes), channels=channels, size=size, seed=seed),
        [(loss, recipe)],
        of.train,
        seeds=seeds,
        device=run.device,
        workers=workers(run.p),
    )
    return [one.model for one in outcomes]


# All of a profile ----------------------------------------------------------------------------------------


def workers(p: Parameters) -> int | None:
    """Trainings at a time: one a core; a short one is over before another process has begun."""
    return None if p.training_steps > SHORT else 1


def seeds(p: Parameters) -> list[int]:
    """Of the trainings."""
    return list(range(p.seed, p.seed + p.n_trainings))


def train_all(run: Run) -> None:
    """Every training that the run's profile asks for, the first readings first; a killed one goes on."""
    for name in run.p.sets:
        of = sets(run, name)
        for arm in [arm for arm in OF_SET[name] if arm in arms(run.p)]:
            console.say(f"{name}: {arm}")
            trained(run, of, arm, seeds=seeds(run.p))
        for robust in (False, True):
            console.say(f"{name}: {'PGD-trained' if robust else 'plain'} CNN")
            classifiers(run, of, seeds=seeds(run.p), robust=robust)
        if name == "shapes":
            console.say("shapes with a cue")
            cued = sets(run, name, rho=CUED)
            trained(run, cued, "two-stage", seeds=seeds(run.p), what=", cued")
            classifiers(run, replace(cued, name="shapes, cued"), seeds=seeds(run.p))
