"""The long computations of chapter 1 on a trained network: attacks, placebos, tables, maps; what is expensive
through the store.

What is computed from tensors alone is the method's; estimates are measurements.py's, drawing is figures.py's.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from causalnb import UserError, attacks, data, training
from causalnb.attacks import AttackResult
from causalnb.chapters.ace import detector, readings, vae
from causalnb.chapters.ace.interventions import (
    SCORES,
    Table,
    average_effects,
    by_class,
    interventional_table,
    look_up,
)
from causalnb.chapters.ace.networks import Run, Trained, generator, samples
from causalnb.chapters.ace.parameters import Parameters
from causalnb.chapters.ace.taylor import taylor_table
from causalnb.models import lenet
from causalnb.store import memo

PLACEBOS = {"fgsm": "shuffle", "pgd": "shuffle", "cw": "gauss"}
SETS = ("clean", "cw", "fgsm", "pgd")  # Table I's rows


# Attacks --------------------------------------------------------------------------------------------------


def attack_settings(p: Parameters, *, eps: float | None = None) -> dict[str, dict[str, Any]]:
    """The arguments of each attack, at the run's eps or another. PGD's steps together cross the ball, 2 eps,
    and none is shorter than foolbox's eps / 30.
    """
    size = p.eps if eps is None else eps
    return {
        "fgsm": {"norm": "linf", "eps": size},
        "pgd": {
            "norm": "linf",
            "eps": size,
            "steps": p.pgd_steps,
            "step": size * max(1 / 30, 2 / p.pgd_steps),
        },
        "cw": {
            "norm": "l2",
            "eps": None,
            "steps": p.cw_steps,
            "binary_search_steps": p.cw_searches,
            "step": 0.05,
            "initial_const": 1.0,
        },
    }


def attacked(run: Run, net: Trained) -> dict[str, AttackResult]:
    """The three attacks on the drawn images, and "cw-clipped": C&W minimises the L2 norm, here it is held to
    `eps` in it.
    """
    found = {
        name: attack(run, net, name, settings, net.test) for name, settings in attack_settings(run.p).items()
    }
    if (right := int(found["fgsm"].correct.sum())) < 2:
        raise UserError(
            f"The network on {net.name} gets {right} of {len(net.test)} images right, and an attack begins "
            "at those: train longer (epochs)."
        )
    return found | {"cw-clipped": found["cw"].within(run.p.eps)}


def attack(run: Run, net: Trained, name: str, settings: Mapping[str, Any], on: data.Images) -> AttackResult:
    """One attack on the given images, kept in the store."""
    images, labels = on.images.to(run.device), on.labels.to(run.device)
    asked = {"seed": run.p.seed, **settings}
    return memo(run.store, f"{name} on {net.name}", attacks.run, name, net.model, images, labels, **asked)


def image_sets(net: Trained, found: Mapping[str, AttackResult]) -> dict[str, Tensor]:
    """Table I's rows: images [m, 1, h, w] that the network gets right when they are clean; C&W as it returns
    them and held to an L2 of eps.
    """
    right, clean = found["fgsm"].correct.cpu(), net.test.images
    return {
        name: images.cpu()[right]
        for name, images in {"clean": clean, **{name: one.images for name, one in found.items()}}.items()
    }


def placebo_sets(run: Run, sets: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """For each attack harmless noise of its size: its own perturbation with the pixels shuffled, for C&W
    noise of its own L2 length.
    """
    clean, made = sets["clean"], {}
    for name, kind in PLACEBOS.items():
        change = sets[name] - clean
        size = change.flatten(1).norm(dim=1) if kind == "gauss" else change.flatten(1).abs().amax(1)
        made[name] = attacks.noise(
            clean,
            kind=kind,
            norm="l2" if kind == "gauss" else "linf",
            eps=size,
            seed=run.p.seed,
            perturbation=change if kind == "shuffle" else None,
        )
    return made


# Tables ---------------------------------------------------------------------------------------------------


def alphas(p: Parameters) -> Tensor:
    """The intervention values: uniform over [0, 1], both ends in."""
    return torch.linspace(0, 1, p.n_alphas)


def drawn_rows(run: Run, net: Trained, n: int | None = None) -> data.Images:
    """Training images for a table, `n_rows` of them or n."""
    return data.draw(net.train, min(n or run.p.n_rows, len(net.train)), seed=run.p.seed)


def table(run: Run, net: Trained, rows: Tensor | None = None) -> Table:
    """The interventional table over rows [n, 1, h, w], by default over rows drawn from the training set."""
    images = drawn_rows(run, net).images if rows is None else rows
    what, grid = f"interventional table of {net.name}", alphas(run.p)
    return memo(run.store, what, interventional_table, net.model, images.to(run.device), grid)


def class_tables(run: Run, net: Trained, rows: Tensor, labels: Tensor) -> Table:
    """Class c's column from the rows of class c alone."""
    if (fewest := int(labels.bincount(minlength=len(net.train.classes)).min())) < 2:
        raise UserError(
            f"n_rows = {run.p.n_rows} is not possible: it leaves {fewest} rows of a class of {net.name}, and "
            "a table needs 2. Give more."
        )
    return by_class([table(run, net, rows[labels == c]) for c in range(len(net.train.classes))])


def second_order_table(run: Run, net: Trained) -> Table:
    """Eq. (8) at the training mean with the training covariance; order 0 for a network whose logits are
    curved.
    """
    order = 2 if run.p.variant == "relu-max" else 0
    what, grid = f"Taylor table of {net.name}", alphas(run.p)
    asked: dict[str, Any] = {"device": run.device, "order": order}
    return memo(run.store, what, taylor_at_mean, net.model, net.train, grid, **asked)


def taylor_at_mean(
    model: nn.Module, images: data.Images, alphas: Tensor, *, device: torch.device, order: int
) -> Table:
    """Eq. (8) at the mean of images, with their covariance."""
    mean, covariance = moments(images.images)
    return taylor_table(model, mean.to(device), covariance.to(device), alphas, order=order)


def moments(images: Tensor) -> tuple[Tensor, Tensor]:
    """Mean [channels, height, width] and covariance [D, D] of the pixels."""
    flat = images.flatten(1)
    return images.mean(0), torch.cov(flat.T)


# Maps -----------------------------------------------------------------------------------------------------


def effect_maps(run: Run, net: Trained, images: Tensor, labels: Tensor) -> readings.Maps:
    """Every reading's map of each image, for the class predicted on that image and for the true one.

    Readings that need forwards of their own take the first `n_individual` images; the others take all.
    """
    images, labels = images.to(run.device), labels.to(run.device)
    of = readings.classes_of(net.model, images, labels)
    few = slice(min(run.p.n_individual, len(images)))
    first, fill = {name: classes[few] for name, classes in of.items()}, net.train.images.mean(0)
    return {
        **_looked_up(run, net, images, of),
        **readings.individual(net.model, images[few], first, alphas=alphas(run.p), fill=fill),
        **readings.integrated_gradients(net.model, images[few], first),
        **{
            key: maps
            for size in readings.BLOCKS
            for key, maps in readings.by_blocks(net.model, images[few], first, fill=fill, size=size).items()
        },
        **readings.gradients(net.model, images, of),
    }


def main_maps(run: Run, net: Trained, images: Tensor, labels: Tensor) -> readings.Maps:
    """R1 and R3 with what comes with them, of all the given images: cheap enough for every training and every
    budget.
    """
    images, labels = images.to(run.device), labels.to(run.device)
    of = readings.classes_of(net.model, images, labels)
    return {
        **readings.population(table(run, net).to(run.device), images, of),
        **readings.individual(net.model, images, of, alphas=alphas(run.p), fill=net.train.images.mean(0)),
    }


def _looked_up(run: Run, net: Trained, images: Tensor, of: Mapping[str, Tensor]) -> readings.Maps:
    """The readings that look a pixel's value up in a table, over each kind of rows, and the decoder's own
    map.
    """
    rows, model = drawn_rows(run, net), generator(run, net, beta=run.p.vae_beta, seed=run.p.seed)
    made, their = samples(run, net, model, n=run.p.n_rows)
    frequencies = net.train.labels.bincount(minlength=len(net.train.classes))
    tables = {
        "R1c": class_tables(run, net, rows.images, rows.labels),
        "R2": second_order_table(run, net),
        "R4": table(run, net, images[: run.p.n_rows]),
        "R5": table(run, net, made),
        "R5c": class_tables(run, net, made, their),
    }
    found = readings.population(table(run, net), images, of)
    for reading, one in tables.items():
        found |= readings.at_own_values(one, images, of, {reading: "uniform"})
    return found | readings.decoded(vae.decoder_maps(model, frequencies=frequencies, seed=run.p.seed), of)


def again(run: Run, net: Trained) -> dict[str, readings.Maps]:
    """Table I's sets and their main maps for any training, on the first `n_strength` drawn images."""
    few = replace(net, test=net.test.take(slice(run.p.n_strength)))
    found = attacked(run, few)
    labels, sets = few.test.labels[found["fgsm"].correct.cpu()], image_sets(few, found)
    return {which: main_maps(run, few, sets[which], labels) for which in SETS}


def untrained_maps(run: Run, net: Trained, images: Tensor, labels: Tensor) -> readings.Maps:
    """The main maps of the first `n_individual` images in a network of the same kind with drawn weights."""
    few = slice(run.p.n_individual)
    model = (
        lenet(variant=run.p.variant, classes=len(net.train.classes), seed=run.p.seed).to(run.device).eval()
    )
    return main_maps(run, replace(net, model=model), images[few], labels[few])


def degenerate(run: Run, net: Trained) -> dict[str, float]:
    """R9 to R11 over the training rows, probabilities: the greatest |sum over the classes|, the least maximum
    over alpha, the greatest |mean over alpha|.
    """
    effects = average_effects(table(run, net))[1]
    return {
        "R9": effects.sum(-1).abs().max().item(),
        "R10": effects.amax(1).min().item(),
        "R11": effects.mean(1).abs().max().item(),
    }


def by_rows(run: Run, net: Trained, sizes: Sequence[int]) -> Iterator[tuple[int, dict[str, Tensor]]]:
    """S of the clean images in the reading R1, true class, against the number of rows: for each size, by
    score, [n] each.

    "logit" counts a pixel as positive where its effect is above 0, "logit.resolved" where it is above two
    standard errors.
    """
    images, labels = net.test.images.to(run.device), net.test.labels.to(run.device)
    for size in sizes:
        one, found = table(run, net, drawn_rows(run, net, size).images), {}
        effects = average_effects(one)
        for name, values in (("", effects), (".resolved", effects - 2 * one.error)):
            for score, maps in zip(
                SCORES, look_up(values, one.alphas, images.flatten(1), labels), strict=True
            ):
                found[f"{score}{name}"] = 1 - (maps > 0).double().mean(1).cpu()
        yield size, found


def centred(one: Table) -> dict[str, Tensor]:
    """A table's effects against the uniform baseline, flat, for each score: what two ways of computing it are
    compared in.
    """
    return {
        score: effects.flatten().cpu() for score, effects in zip(SCORES, average_effects(one), strict=True)
    }


def idea(run: Run, net: Trained) -> dict[str, Any]:
    """What `figures.idea` draws: the first drawn image, its most effective pixel, and every pixel's effect on
    its class.
    """
    one, of = net.test.images[0, 0], int(net.test.labels[0])
    sampled = table(run, net)
    effects = readings.population(sampled.to("cpu"), one[None, None], {"true": torch.tensor([of])})[
        "R1.probability.true"
    ][0]
    pixel = int(effects.abs().argmax())
    return {
        "image": one,
        "pixel": divmod(pixel, one.shape[1]),
        "alphas": sampled.alphas.tolist(),
        "expectations": sampled.expectation[1, pixel, :, of].cpu(),
        "effects": effects,
    }


# The promised detector ------------------------------------------------------------------------------------

DETECTORS = ("R1", "R3m", "R7x")  # readings of the predicted class's logit
WEIGHTS = (0.0, 3.0, 10.0)  # of smoothness in the attack on a detector


def detected(
    run: Run,
    net: Trained,
    labels: Tensor,
    sets: Mapping[str, Tensor],
    effects: Mapping[str, readings.Maps],
    noisy: Mapping[str, readings.Maps],
    found: Mapping[str, AttackResult],
) -> dict[str, dict[str, Tensor]]:
    """For each detector and kind of image a number an image whose mean is the AUC against clean ones; attacks
    count where they succeeded.

    Detectors are fitted on FGSM and asked about the first `n_individual` images; nothing, where FGSM broke
    too few for that. Kinds: fgsm, pgd, cw; noise, FGSM's own changes shuffled; evading.W, a PGD that weighs
    smoothness by W.
    """
    few = slice(min(run.p.n_individual, len(labels)))
    broken = {name: one.found.cpu()[one.correct.cpu()][few] for name, one in found.items()}
    made: dict[str, dict[str, Tensor]] = {}
    for reading in DETECTORS if detector.enough(broken["fgsm"]) else ():
        key = f"{reading}.logit.predicted"
        asked = {name: effects[name][key][few] for name in ("clean", "fgsm", "pgd", "cw")} | {
            "noise": noisy["fgsm"][key][few]
        }
        misled = broken | {"noise": torch.ones_like(broken["fgsm"])}
        for weight in WEIGHTS:
            images = _evading(run, net, reading, sets["clean"][few], labels[few], weight)
            of = {"predicted": training.predict(net.model, images.to(run.device)).argmax(1)}
            asked[f"evading.{weight:g}"], misled[f"evading.{weight:g}"] = (
                _one_map(run, net, images, of, key),
                of["predicted"].cpu() != labels[few],
            )
        features = {name: detector.features(maps.cpu()) for name, maps in asked.items()}
        scores = detector.scored(features.pop("clean"), features["fgsm"], broken["fgsm"], features)
        made[reading] = {
            name: detector.auc_parts(scores["clean"][those], scores[name][those])
            for name, those in misled.items()
            if name in features
        }
    return made


def _evading(run: Run, net: Trained, reading: str, images: Tensor, labels: Tensor, weight: float) -> Tensor:
    settings = {name: attack_settings(run.p)["pgd"][name] for name in ("eps", "step", "steps")}
    fill = net.train.images.mean(0).to(run.device)
    effects = detector.Effects(reading, net.model, table(run, net).to(run.device), fill)
    what, few = f"PGD on {net.name} and a detector", (images.to(run.device), labels.to(run.device))
    asked = {"weight": weight, "seed": run.p.seed, **settings}
    return memo(run.store, what, detector.evade, net.model, effects, *few, **asked).cpu()


def _one_map(run: Run, net: Trained, images: Tensor, of: Mapping[str, Tensor], key: str) -> Tensor:
    """One reading's maps of new images."""
    images = images.to(run.device)
    made = {
        "R1": lambda: readings.population(table(run, net).to(run.device), images, of),
        "R7x": lambda: readings.gradients(net.model, images, of),
        "R3m": lambda: readings.individual(
            net.model, images, of, alphas=torch.zeros(1), fill=net.train.images.mean(0)
        ),
    }
    return made[readings.key_parts(key)["reading"]]()[key]
