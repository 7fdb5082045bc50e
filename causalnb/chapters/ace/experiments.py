"""The long computations of chapter 1 on a trained network: attacks, placebos, tables, maps; what is expensive
through the store.

What is computed from tensors alone is the method's; estimates are measurements.py's, drawing is figures.py's.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from causalnb import UserError, attacks, data, detection, training
from causalnb.attacks import AttackResult
from causalnb.attacks.noise import noise
from causalnb.chapters.ace import claims, detector, families, readings, specifications, vae
from causalnb.chapters.ace.families import (
    Blocks,
    Columns,
    Decoded,
    Family,
    Gradients,
    Individual,
    Integrated,
    LookedUp,
    OwnRows,
    Population,
)
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
ALIKE = ("R1", "R1e", "R3", "R3m", "R3b", "R7x", "R8")  # maps that are compared with each other
KEPT = tuple(f"{reading}.logit.true" for reading in ALIKE)
DETECTORS = ("R1", "R3m", "R7x")  # readings of the predicted class's logit
RESOLVED = ("R3m.logit.true", "R3m.probability.true")  # whose S is asked over its threshold
DETECTED = tuple(f"{reading}.logit.predicted" for reading in DETECTORS)


# Attacks --------------------------------------------------------------------------------------------------


def attack_settings(p: Parameters, *, eps: float | None = None) -> dict[str, dict[str, Any]]:
    """The arguments of each attack, at the run's eps or another. PGD's steps together cross the ball, 2 eps,
    and none is shorter than foolbox's eps / 30.
    """
    size = p.eps if eps is None else eps
    ball: dict[str, Any] = {"norm": "linf", "eps": size}
    search = {"binary_search_steps": p.cw_searches, "step": 0.05, "initial_const": 1.0}
    return {
        "fgsm": ball,
        "pgd": {**ball, "steps": p.pgd_steps, "step": size * max(1 / 30, 2 / p.pgd_steps)},
        "cw": {"norm": "l2", "eps": None, "steps": p.cw_steps, **search},
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
    right = found["fgsm"].correct.cpu()
    every = {"clean": net.test.images} | {name: one.images for name, one in found.items()}
    return {name: images.cpu()[right] for name, images in every.items()}


def placebo_sets(run: Run, sets: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """For each attack harmless noise of its size: its own perturbation with the pixels shuffled, for C&W
    noise of its own L2 length.
    """
    clean, made = sets["clean"], {}
    for name, kind in PLACEBOS.items():
        change = sets[name] - clean
        flat, asked = change.flatten(1), dict[str, Any](kind=kind, seed=run.p.seed)
        if kind == "gauss":
            made[name] = noise(clean, norm="l2", eps=flat.norm(dim=1), **asked)
        else:
            made[name] = noise(clean, norm="linf", eps=flat.abs().amax(1), perturbation=change, **asked)
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


def all_families(run: Run, net: Trained) -> dict[str, Family]:
    """Every family of readings by its name, with the tables and means that it needs."""
    p, fill, grid = run.p, net.train.images.mean(0), alphas(run.p)
    rows, model = drawn_rows(run, net), generator(run, net, beta=p.vae_beta, seed=p.seed)
    made, their = samples(run, net, model, n=p.n_rows)
    frequencies = net.train.labels.bincount(minlength=len(net.train.classes))
    return {
        "population": Population(table(run, net)),
        "class rows": LookedUp("R1c", class_tables(run, net, rows.images, rows.labels)),
        "second order": LookedUp("R2", second_order_table(run, net)),
        "own rows": OwnRows(p.n_rows, grid),
        "decoder's samples": LookedUp("R5", table(run, net, made)),
        "decoder's samples of a class": LookedUp("R5c", class_tables(run, net, made, their)),
        "decoder": Decoded(vae.decoder_maps(model, frequencies=frequencies, seed=p.seed)),
        "individual": Individual(grid, fill, p.n_individual),
        **{f"blocks of {size}": Blocks(size, fill, p.n_individual) for size in specifications.BLOCKS},
    }


def comparisons(run: Run) -> dict[str, Family]:
    """The maps that people use and the paper does not name (`specifications.COMPARISONS`)."""
    return {"integrated gradients": Integrated(run.p.n_individual), "gradients": Gradients()}


def main_families(run: Run, net: Trained, limit: int = 2**31) -> dict[str, Family]:
    """R1 and R3 with what comes with them: cheap enough for every training and every budget."""
    fill = net.train.images.mean(0)
    individual = Individual(alphas(run.p), fill, limit)
    return {"population": Population(table(run, net).to(run.device)), "individual": individual}


def columns(
    run: Run,
    net: Trained,
    sets: Mapping[str, Tensor],
    noise: Mapping[str, Tensor],
    labels: Tensor,
    found: Mapping[str, AttackResult],
) -> Columns:
    """What the chapter says of the maps of every reading and comparison, a number an image; family after
    family, each kept.

    sets, noise   from `image_sets` and `placebo_sets`; labels [n] of their images; found: the attacks
    """
    broken = {attack: one.found.cpu()[one.correct.cpu()] for attack, one in found.items()}
    images, noisy = ({which: some.to(run.device) for which, some in one.items()} for one in (sets, noise))
    asked: dict[str, Any] = {"seed": run.p.seed, "kept": KEPT, "features": DETECTED, "resolved": RESOLVED}
    own, beside = all_families(run, net), comparisons(run)
    made: Columns = {}
    for name, family in (own | beside).items():
        what = f"columns of {name} on {net.name}"
        given = (family, net.model, images, noisy, labels.to(run.device), broken)
        made |= memo(run.store, what, families.columns, *given, claimed=name in own, **asked)
    return made


def main_maps(run: Run, net: Trained, images: Tensor, labels: Tensor) -> readings.Maps:
    """The maps of the main families, of all the given images."""
    images, labels = images.to(run.device), labels.to(run.device)
    of = readings.classes_of(net.model, images, labels)
    each = [family.maps(net.model, images, of) for family in main_families(run, net).values()]
    return {key: values for maps in each for key, values in maps.items()}


def again(run: Run, net: Trained, n: int, only: Sequence[str] = SETS) -> Columns:
    """The statistics of Table I's sets in the main readings for any network, on the first n images drawn."""
    few = replace(net, test=net.test.take(slice(n)))
    found = attacked(run, few)
    labels = few.test.labels[found["fgsm"].correct.cpu()].to(run.device)
    sets = {which: some.to(run.device) for which, some in image_sets(few, found).items() if which in only}
    made: Columns = {}
    for name, family in main_families(run, few).items():
        what = f"cells of {name} on {net.name}, seed {net.seed}"
        made |= memo(run.store, what, families.cells, family, net.model, sets, labels)
    return made


def untrained(run: Run, net: Trained, images: Tensor, labels: Tensor) -> Columns:
    """T5's columns of the main readings, of the first `n_individual` images, in a network of the same kind
    with drawn weights.
    """
    few, p, classes = slice(run.p.n_individual), run.p, len(net.train.classes)
    model = lenet(variant=p.variant, classes=classes, seed=p.seed).to(run.device).eval()
    given = (model, images[few].to(run.device), labels[few].to(run.device))
    made: Columns = {}
    for name, family in main_families(run, replace(net, model=model)).items():
        what = f"columns of {name}, drawn weights, {net.name}"
        made |= memo(run.store, what, families.shares, family, *given)
    return made


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
            maps = look_up(values, one.alphas, images.flatten(1), labels)
            for score, its in zip(SCORES, maps, strict=True):
                found[f"{score}{name}"] = 1 - (its > 0).double().mean(1).cpu()
        yield size, found


def centred(one: Table) -> dict[str, Tensor]:
    """A table's effects against the uniform baseline, flat, for each score: what two ways of computing it are
    compared in.
    """
    return {name: each.flatten().cpu() for name, each in zip(SCORES, average_effects(one), strict=True)}


def intervention(run: Run, net: Trained) -> dict[str, Any]:
    """What `figures.intervention` draws: the first drawn image, its most effective pixel, and the probability
    of its class over the pixel's value.
    """
    image, of = net.test.images[0, 0], int(net.test.labels[0])
    ends = table(run, net).expectation[1, :, :, of]
    pixel = int((ends.amax(1) - ends.amin(1)).argmax())
    place, grid = divmod(pixel, image.shape[1]), alphas(run.p).tolist()
    return {"image": image, "pixel": place, "alphas": grid, "expectations": ends[pixel].cpu()}


# The promised detector ------------------------------------------------------------------------------------

WEIGHTS = (0.0, 3.0, 10.0)  # of smoothness in the attack on a detector


def detected(
    run: Run,
    net: Trained,
    labels: Tensor,
    clean: Tensor,
    made: Mapping[str, Tensor],
    found: Mapping[str, AttackResult],
) -> dict[str, dict[str, Tensor]]:
    """For each detector and kind of image a number an image whose mean is the AUC against clean ones; attacks
    count where they succeeded.

    Detectors are fitted on FGSM and asked about the first `n_individual` images; nothing, where FGSM broke
    too few for that. Kinds: fgsm, pgd, cw; noise, FGSM's own changes shuffled; evading.W, a PGD that weighs
    smoothness by W.

    clean   the clean images; made: their columns, and those of their attacked versions
    """
    few = slice(min(run.p.n_individual, len(labels)))
    broken = {name: one.found.cpu()[one.correct.cpu()][few] for name, one in found.items()}
    aucs: dict[str, dict[str, Tensor]] = {}
    for reading in DETECTORS if detection.enough(broken["fgsm"]) else ():
        key = f"{reading}.logit.predicted"
        named = {which: which for which in ("clean", *claims.ATTACKS)} | {"noise": "noise-fgsm"}
        features = {kind: made[f"features detector {which} {key}"][few] for kind, which in named.items()}
        misled = broken | {"noise": torch.ones_like(broken["fgsm"])}
        for weight in WEIGHTS:
            images = _evading(run, net, reading, clean[few], labels[few], weight)
            of = {"predicted": training.predict(net.model, images.to(run.device)).argmax(1)}
            maps = _one_map(run, net, images, of, key).cpu()
            features[f"evading.{weight:g}"] = detector.features(maps)
            misled[f"evading.{weight:g}"] = of["predicted"].cpu() != labels[few]
        scores = detection.cross_fitted(features.pop("clean"), features["fgsm"], broken["fgsm"], features)
        aucs[reading] = {
            name: torch.from_numpy(detection.auc_parts(scores["clean"][those], scores[name][those]))
            for name, those in ((name, those.numpy()) for name, those in misled.items())
            if name in features
        }
    return aucs


def _evading(run: Run, net: Trained, reading: str, images: Tensor, labels: Tensor, weight: float) -> Tensor:
    settings = {name: attack_settings(run.p)["pgd"][name] for name in ("eps", "step", "steps")}
    fill = net.train.images.mean(0).to(run.device)
    effects = detector.Effects(reading, net.model, table(run, net).to(run.device), fill)
    what, few = f"PGD on {net.name} and a detector", (images.to(run.device), labels.to(run.device))
    asked = {"weight": weight, "seed": run.p.seed, **settings}
    return memo(run.store, what, detector.evade, net.model, effects, *few, **asked).cpu()


def _one_map(run: Run, net: Trained, images: Tensor, of: Mapping[str, Tensor], key: str) -> Tensor:
    """One reading's maps of new images."""
    made: dict[str, Family] = {
        "R1": Population(table(run, net).to(run.device)),
        "R7x": Gradients(),
        "R3m": Individual(torch.zeros(1), net.train.images.mean(0), len(images)),
    }
    return made[readings.key_parts(key)["reading"]].maps(net.model, images.to(run.device), of)[key]
