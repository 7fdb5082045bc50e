"""The networks of chapter 1, each trained once and kept in the store: LeNets by the printed recipe and beside
it, beta-VAEs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn

from causalnb import chapters, data, training
from causalnb.chapters.ace import vae
from causalnb.chapters.ace.parameters import Parameters
from causalnb.data import Images
from causalnb.models import lenet
from causalnb.models.lenet5 import Variant

PLAIN = "relu-max"  # the variant whose weights the book carries
CITED: Variant = "tanh-average"  # LeCun et al. 1998
BETAS = (1.0, 4.0)  # beside the one in the parameters


Run = chapters.Run[Parameters]


@dataclass(frozen=True)
class Trained:
    """A LeNet with its data: `test` are the drawn images, `curve` [epochs] the accuracy on the whole test set
    after each epoch.
    """

    name: str
    recipe: training.Recipe
    model: nn.Module
    train: Images
    test: Images
    curve: Tensor

    @property
    def seed(self) -> int:
        """Of the first weights and of the training."""
        return self.recipe.seed


def trained(run: Run, name: str, *, seed: int | None = None, momentum: float | None = None) -> Trained:
    """A LeNet trained on a data set by the recipe in the parameters, its accuracy after each epoch, and the
    test images that the run draws.

    seed, momentum   other than the parameters say, for the trainings beside the first
    """
    [one] = trainings(run, name, seeds=[run.p.seed if seed is None else seed], momentum=momentum)
    return one


def trainings(
    run: Run,
    name: str,
    *,
    seeds: Sequence[int],
    momentum: float | None = None,
    variant: Variant | None = None,
) -> list[Trained]:
    """The same with each of the seeds; variant: other than the parameters say."""
    p, variant = run.p, variant or run.p.variant
    recipe = training.Recipe(
        optimiser=p.optimiser,
        rate=p.rate,
        momentum=p.momentum if momentum is None else momentum,
        epochs=p.epochs_for(name),
        batch=p.batch,
    )
    train, test = run.load(name, "train"), run.load(name, "test")
    outcomes = training.train_or_load(
        run.store,
        f"LeNet on {name}" if variant == PLAIN else f"LeNet ({variant}) on {name}",
        lambda seed: lenet(variant=variant, classes=len(train.classes), seed=seed),
        [(training.cross_entropy, recipe)],
        train,
        seeds=seeds,
        test=test,
        device=run.device,
        workers=workers(train),
    )
    drawn = data.draw(test, min(p.n_images, len(test)), seed=p.image_seed)
    recipes = [recipe.model_copy(update={"seed": seed}) for seed in seeds]
    return [
        Trained(name, its, one.model, train, drawn, one.curve)
        for its, one in zip(recipes, outcomes, strict=True)
    ]


def workers(train: Images) -> int | None:
    """One a core; on few images a training is over before another process has begun."""
    return None if len(train) > 10_000 else 1


def others(run: Run, name: str) -> dict[str, list[Trained]]:
    """The trainings beside the first, by recipe: the printed one again with the next seeds ("plain"), with
    momentum with each seed ("momentum"; none where the parameters ask for none), and the LeNet that the paper
    cites, with tanh and averaging, by the printed recipe ("cited"; none where it is the first).
    """
    p = run.p
    seeds = range(p.seed, p.seed + p.n_trainings)
    with_momentum = seeds if p.other_momentum else []
    return {
        "plain": trainings(run, name, seeds=seeds[1:]),
        "momentum": trainings(run, name, seeds=with_momentum, momentum=p.other_momentum),
        "cited": trainings(run, name, seeds=[p.seed] * (p.variant != CITED), variant=CITED),
    }


def generator(run: Run, net: Trained, *, beta: float, seed: int) -> vae.BetaVAE:
    """A beta-VAE trained on the network's training images (III-B3)."""
    [one] = generators(run, net, beta=beta, seeds=[seed])
    return one


def generators(run: Run, net: Trained, *, beta: float, seeds: Sequence[int]) -> list[vae.BetaVAE]:
    """The same with each of the seeds, one after another: two processes with the training set of their own
    would bring a laptop's run to 4 GB.
    """
    train, batch = net.train, 64
    epochs = max(1, round(run.p.vae_steps * batch / len(train)))
    recipe = training.Recipe(optimiser="adam", rate=1e-3, epochs=epochs, batch=batch)
    outcomes = training.train_or_load(
        run.store,
        f"beta-VAE ({beta:g}) on {net.name}",
        lambda seed: vae.beta_vae(classes=len(train.classes), size=train.images.shape[-1], seed=seed),
        [(partial(vae.elbo_loss, beta=beta), recipe)],
        train,
        seeds=seeds,
        device=run.device,
    )
    return [cast(vae.BetaVAE, one.model) for one in outcomes]


@dataclass(frozen=True)
class Latents:
    """What a beta-VAE's latents carry.

    kl      [latents] nats, on test images
    labels  of its samples, how many a LeNet takes for their own label, of how many
    images  [classes, 1, h, w], a sample of each class
    """

    beta: float
    seed: int
    kl: Tensor
    labels: tuple[int, int]
    images: Tensor

    @property
    def active(self) -> int:
        """Latents that carry more than `vae.ACTIVE` nats."""
        return int((self.kl > vae.ACTIVE).sum())


def latents(run: Run, net: Trained) -> list[Latents]:
    """The printed beta with each seed, then the others with the first; on a thousand test images, and a
    hundred samples.
    """
    p, found = run.p, []
    test = run.load(net.name).take(slice(1000))
    seeds = {p.vae_beta: range(p.seed, p.seed + p.n_trainings)} | {
        beta: range(p.seed, p.seed + 1) for beta in BETAS if beta != p.vae_beta
    }
    for beta, its in seeds.items():
        for seed, model in zip(its, generators(run, net, beta=beta, seeds=its), strict=True):
            images, labels = samples(run, net, model, n=100)
            right = int((training.predict(net.model, images).argmax(1) == labels).sum())
            kl = vae.latent_kl(model, test.images.to(run.device), test.labels.to(run.device)).cpu()
            found.append(Latents(beta, seed, kl, (right, len(labels)), images[: len(test.classes)].cpu()))
    return found


def samples(run: Run, net: Trained, model: vae.BetaVAE, *, n: int) -> tuple[Tensor, Tensor]:
    """Images [n, 1, h, w] from the decoder, the labels in turn, z from N(0, 1); and their labels [n]."""
    labels = (torch.arange(n) % len(net.train.classes)).to(run.device)
    return vae.sample(model, labels, seed=run.p.seed), labels
