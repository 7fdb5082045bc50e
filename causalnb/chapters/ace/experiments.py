"""The long computations of chapter 1, each through the store: training, attacks, tables, maps.

What is computed from tensors alone is the method's; estimates are measurements.py's, drawing is figures.py's.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn

from causalnb import attacks, data, training
from causalnb.attacks import AttackResult
from causalnb.chapters.ace import readings, vae
from causalnb.chapters.ace.interventions import SCORES, Table, average_effects, intervene, interventional_table, single_and_joint
from causalnb.chapters.ace.parameters import Parameters
from causalnb.chapters.ace.taylor import taylor_table
from causalnb.data import Images
from causalnb.models import lenet
from causalnb.record import module_digest
from causalnb.store import Store

PLACEBOS = {"fgsm": "shuffle", "pgd": "shuffle", "cw": "gauss"}
METHOD = "causalnb.chapters.ace"


class Lab(Protocol):
    """What a run offers to an experiment."""

    p: Parameters
    store: Store
    device: torch.device

    def load(self, name: str, split: data.Split = "test") -> Images:
        """A data set."""

    def level(self, id: str) -> float:
        """The level that the interval of a measurement must have."""


@dataclass(frozen=True)
class Trained:
    """A LeNet with its data: `test` are the drawn images, `curve` [epochs] the accuracy on the whole test set after each epoch."""

    name: str
    model: nn.Module
    train: Images
    test: Images
    curve: Tensor
    key: dict[str, Any]


# Training --------------------------------------------------------------------------------------------------------


def trained(lab: Lab, name: str) -> Trained:
    """A LeNet trained on a data set by the recipe in the parameters, its accuracy after each epoch, and the test images that the run draws."""
    p = lab.p
    recipe = training.Recipe(optimiser=p.optimiser, rate=p.rate, momentum=p.momentum, epochs=p.epochs_for(name), batch=p.batch, seed=p.seed)
    train, test = lab.load(name, "train"), lab.load(name, "test")
    key = {"what": f"LeNet on {name}", "variant": p.variant, "recipe": recipe.model_dump(), "data": train.digest,
           "code": module_digest("causalnb.training", "causalnb.models.lenet5")}
    model = lenet(variant=p.variant, classes=len(train.classes), seed=recipe.seed)

    def make() -> dict[str, Tensor]:
        fitted = training.fit(model, train, training.cross_entropy, recipe, device=lab.device, checkpoint=lab.store.folder(key) / "checkpoint",
                              evaluate=lambda now: training.accuracy(now, test))
        curve = torch.tensor([epoch["value"] for epoch in fitted.history], dtype=torch.float64)
        return {"curve": curve, **{f"weights.{part}": tensor for part, tensor in fitted.model.state_dict().items()}}

    kept = lab.store.get_or_make(key, make, device=str(lab.device))
    model.load_state_dict({part.removeprefix("weights."): tensor for part, tensor in kept.items() if part.startswith("weights.")})
    drawn = data.draw(test, min(p.n_images, len(test)), seed=p.seed)
    return Trained(name, model.to(lab.device).eval(), train, drawn, kept["curve"], key)


# Attacks ---------------------------------------------------------------------------------------------------------


def attack_settings(p: Parameters) -> dict[str, dict[str, Any]]:
    """The arguments of each attack. PGD's steps together cross the ball, 2 eps, and none is shorter than foolbox's eps / 30."""
    return {
        "fgsm": {"norm": "linf", "eps": p.eps},
        "pgd": {"norm": "linf", "eps": p.eps, "steps": p.pgd_steps, "step": p.eps * max(1 / 30, 2 / p.pgd_steps)},
        "cw": {"norm": "l2", "eps": None, "steps": p.cw_steps, "binary_search_steps": p.cw_searches, "step": 0.05, "initial_const": 1.0},
    }


def attacked(lab: Lab, net: Trained) -> dict[str, AttackResult]:
    """The three attacks on the drawn images, and "cw-clipped": C&W minimises the L2 norm, here it is held to `eps` in it."""
    found = {name: _attacked(lab, net, name, settings) for name, settings in attack_settings(lab.p).items()}
    return found | {"cw-clipped": found["cw"].within(lab.p.eps)}


def _attacked(lab: Lab, net: Trained, name: str, settings: dict[str, Any]) -> AttackResult:
    images, labels = net.test.images.to(lab.device), net.test.labels.to(lab.device)
    key = {"what": f"{name} on {net.name}", "model": net.key, "settings": settings, "draw": [lab.p.n_images, lab.p.seed]}
    return attacks.kept(lab.store, key, lambda: attacks.run(name, net.model, images, labels, seed=lab.p.seed, **settings), device=lab.device)


def image_sets(net: Trained, found: Mapping[str, AttackResult]) -> dict[str, Tensor]:
    """Table I's rows: images [m, 1, h, w] that the network gets right when they are clean; C&W as it returns them and held to an L2 of eps."""
    right, clean = found["fgsm"].correct.cpu(), net.test.images
    return {name: images.cpu()[right] for name, images in {"clean": clean, **{name: one.images for name, one in found.items()}}.items()}


def placebo_sets(lab: Lab, sets: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """For each attack harmless noise of its size: its own perturbation with the pixels shuffled, for C&W noise of its own L2 length."""
    clean, made = sets["clean"], {}
    for name, kind in PLACEBOS.items():
        change = sets[name] - clean
        size = change.flatten(1).norm(dim=1) if kind == "gauss" else change.flatten(1).abs().amax(1)
        made[name] = attacks.noise(clean, kind=kind, norm="l2" if kind == "gauss" else "linf", eps=size, seed=lab.p.seed,
                                   perturbation=change if kind == "shuffle" else None)
    return made


# Tables and maps -------------------------------------------------------------------------------------------------


def alphas(p: Parameters) -> Tensor:
    """The intervention values: uniform over [0, 1], both ends in."""
    return torch.linspace(0, 1, p.n_alphas)


def table(lab: Lab, net: Trained) -> Table:
    """The interventional table over rows drawn from the training set."""
    key = {"what": f"interventional table of {net.name}", "model": net.key, "rows": [lab.p.n_rows, lab.p.seed], "alphas": lab.p.n_alphas,
           "code": module_digest(f"{METHOD}.interventions", f"{METHOD}.propagation")}

    def make() -> dict[str, Tensor]:
        rows = data.draw(net.train, min(lab.p.n_rows, len(net.train)), seed=lab.p.seed).images.to(lab.device)
        return interventional_table(net.model, rows, alphas(lab.p)).tensors()

    return Table(**lab.store.get_or_make(key, make, device=str(lab.device)))


def second_order_table(lab: Lab, net: Trained) -> Table:
    """Eq. (8) at the training mean with the training covariance; order 0 for a network whose logits are curved."""
    order = 2 if lab.p.variant == "relu-max" else 0
    key = {"what": f"Taylor table of {net.name}", "model": net.key, "alphas": lab.p.n_alphas, "order": order,
           "code": module_digest(f"{METHOD}.taylor", f"{METHOD}.interventions")}

    def make() -> dict[str, Tensor]:
        mean, covariance = moments(net.train.images)
        return taylor_table(net.model, mean.to(lab.device), covariance.to(lab.device), alphas(lab.p), order=order).tensors()

    return Table(**lab.store.get_or_make(key, make, device=str(lab.device)))


def moments(images: Tensor) -> tuple[Tensor, Tensor]:
    """Mean [channels, height, width] and covariance [D, D] of the pixels."""
    flat = images.flatten(1)
    return images.mean(0), torch.cov(flat.T)


def decoder(lab: Lab, net: Trained) -> Tensor:
    """R6: the map of each class by the decoder of a beta-VAE trained on the same set, [classes, h, w]."""
    p, train = lab.p, net.train
    batch = 64
    epochs = max(1, round(p.vae_steps * batch / len(train)))
    recipe = training.Recipe(optimiser="adam", rate=1e-3, epochs=epochs, batch=batch, seed=p.seed)
    key = {"what": f"beta-VAE on {net.name}", "beta": p.vae_beta, "recipe": recipe.model_dump(), "data": train.digest,
           "code": module_digest("causalnb.training", f"{METHOD}.vae")}

    def make() -> dict[str, Tensor]:
        untrained = vae.beta_vae(classes=len(train.classes), size=train.images.shape[-1], seed=p.seed)
        loss = vae.elbo_loss(beta=p.vae_beta)
        fitted = training.fit(untrained, train, loss, recipe, device=lab.device, checkpoint=lab.store.folder(key) / "checkpoint")
        frequencies = train.labels.bincount(minlength=len(train.classes)).double()
        model = cast(vae.BetaVAE, fitted.model)
        return {"maps": vae.decoder_maps(model, frequencies=frequencies, seed=p.seed)}

    return lab.store.get_or_make(key, make, device=str(lab.device))["maps"]


def effect_maps(lab: Lab, net: Trained, images: Tensor, labels: Tensor) -> readings.Maps:
    """Every reading's map of each image, for the class predicted on that image and for the true one.

    Readings that need forwards of their own take the first `n_individual` images; the others take all.
    """
    images, labels = images.to(lab.device), labels.to(lab.device)
    of = readings.classes_of(net.model, images, labels)
    few = slice(min(lab.p.n_individual, len(images)))
    sampled, taylor = table(lab, net).to(lab.device), second_order_table(lab, net).to(lab.device)
    first = {name: classes[few] for name, classes in of.items()}
    return {
        **readings.population(sampled, images, of),
        **readings.expanded(taylor, images, of),
        **readings.individual(net.model, images[few], first, alphas=alphas(lab.p), fill=net.train.images.mean(0)),
        **readings.decoded(decoder(lab, net).to(lab.device), of),
        **readings.gradients(net.model, images, of),
    }


def centred(one: Table) -> dict[str, Tensor]:
    """A table's effects against the uniform baseline, flat, for each score: what two ways of computing it are compared in."""
    return {score: effects.flatten().cpu() for score, effects in zip(SCORES, average_effects(one), strict=True)}


def idea(lab: Lab, net: Trained) -> dict[str, Any]:
    """What `figures.idea` draws: the first drawn image, its most effective pixel, and every pixel's effect on its class."""
    one, of = net.test.images[0, 0], int(net.test.labels[0])
    sampled = table(lab, net)
    effects = readings.population(sampled.to("cpu"), one[None, None], {"true": torch.tensor([of])})["R1.probability.true"][0]
    pixel = int(effects.abs().argmax())
    return {"image": one, "pixel": divmod(pixel, one.shape[1]), "alphas": sampled.alphas.tolist(),
            "expectations": sampled.expectation[1, pixel, :, of].cpu(), "effects": effects}


# Where the truth is known ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Corner:
    """How a network trained at one rho uses the corner patch, which has no effect on the label.

    accuracy    on new images of the same rho; `without` on images whose corners say nothing
    single      [n] effect on the logit of setting each pixel of the own corner alone, summed; joint: all at once
    pixel       [n] the mean over the corner's pixels of the average causal effect from 0 to 1, for each class's own corner
    """

    rho: float
    accuracy: tuple[int, int]
    without: tuple[int, int]
    single: Tensor
    joint: Tensor
    pixel: Tensor


def corner(lab: Lab, rho: float, *, images: int = 100) -> Corner:
    """Train on `shapes` with a corner that follows the content with probability rho; intervene on the corner of new images."""
    train = data.shapes(lab.p.n_shapes, rho=rho, seed=lab.p.seed)
    new, free = (data.shapes(1000, rho=r, seed=lab.p.seed + 1) for r in (rho, 0.0))
    recipe = training.Recipe(optimiser="adam", rate=2e-3, batch=50, epochs=4 if lab.p.n_shapes >= 4000 else 8, seed=lab.p.seed)
    key = {"what": f"LeNet on shapes, rho {rho}", "recipe": recipe.model_dump(), "data": train.digest,
           "code": module_digest("causalnb.training", "causalnb.models.lenet5")}
    model = lenet(classes=len(train.classes), seed=recipe.seed).to(lab.device)

    def make() -> dict[str, Tensor]:
        fitted = training.fit(model, train, training.cross_entropy, recipe, device=lab.device, checkpoint=lab.store.folder(key) / "checkpoint")
        return dict(fitted.model.state_dict())

    model.load_state_dict(lab.store.get_or_make(key, make, device=str(lab.device)))
    some = free.take(slice(images))
    without = data.do(some, corner=some.labels, strength=0.0)
    with_patch = data.do(some, corner=some.labels)
    single, joint = single_and_joint(model.eval(), without.images.to(lab.device), with_patch.images.to(lab.device), some.labels.to(lab.device))
    pixel = own_corner_effect(model, some.images.to(lab.device), some.labels)
    return Corner(rho, _right(model, new), _right(model, free), single[0].cpu(), joint[0].cpu(), pixel)


def _right(model: nn.Module, images: Images) -> tuple[int, int]:
    return round(training.accuracy(model, images) * len(images)), len(images)


def own_corner_effect(model: nn.Module, rows: Tensor, labels: Tensor) -> Tensor:
    """E[f_c | do(x_p = 1)] - E[f_c | do(x_p = 0)], Eq. (1), row by row: the mean over the pixels of its own class's corner; [n] logits."""
    masks = data.corners(rows.shape[-1]).flatten(1)
    effects = torch.empty(len(rows), dtype=torch.float64)
    for c, mask in enumerate(masks):
        those = labels == c
        logits = intervene(model, rows[those], torch.tensor([0.0, 1.0]), pixels=mask.nonzero().flatten())
        effects[those] = (logits[:, :, 1, c] - logits[:, :, 0, c]).double().mean(1).cpu()
    return effects
