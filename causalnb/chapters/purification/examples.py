"""A few images, attacked and purified step by step: the first picture of the page and its live figure."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import product

import torch
from torch import Tensor, nn

from causalnb.attacks.randomised import StraightThrough
from causalnb.chapters.purification import experiments
from causalnb.chapters.purification.defence import Defence, Settings, fixed, infer, purify
from causalnb.chapters.purification.evaluation import Purified, Threat, searched
from causalnb.chapters.purification.network import CausalDiffusion
from causalnb.chapters.purification.networks import Run
from causalnb.data import Images
from causalnb.fragments import Tile
from causalnb.store import memo

KNOWS = ("the encoder", "the purifier and its noise")
EPS = ("0", "0.1", "0.2")
STEPS = (0, 1, 3, 5)
Key = tuple[str, str]  # what the attacker knows, and eps


@dataclass(frozen=True)
class Stage:
    """Images after some steps of purification, and what is read off them.

    images   [n, 1, height, width] in [0, 1]
    encoder  [n] the class that the encoder names; answer, chance: [n], the class from s*, and its probability
    """

    images: Tensor
    encoder: Tensor
    answer: Tensor
    chance: Tensor


def first_right(model: CausalDiffusion, of: Images, labels: tuple[int, ...]) -> Images:
    """The first image of each of these classes that the encoder gets right."""
    with torch.no_grad():
        right = model(of.images).argmax(1) == of.labels
    return of.take(torch.tensor([int((right & (of.labels == one)).nonzero()[0, 0]) for one in labels]))


def attacked(run: Run, model: CausalDiffusion, some: Images) -> dict[Key, Tensor]:
    """The images [n, ...] under each attack at each eps: PGD on the encoder, or one through the purifier with
    its noise fixed and known.
    """
    p = run.p
    found: dict[Key, Tensor] = {}
    images, labels = some.images.to(run.device), some.labels.to(run.device)
    for name in EPS:
        eps = float(name)
        if not eps:
            found |= {(knows, name): images for knows in KNOWS}
            continue
        own = experiments.settings(p, images, eps=eps)
        threat = Threat("linf", eps, p.attack_steps, 1)
        found[KNOWS[0], name] = experiments.pgd(run, model, images, labels, threat)
        what = f"a few images through the purifier, eps {name}"
        found[KNOWS[1], name] = memo(
            run.store, what, through, model, images, labels, own, threat, seed=p.seed
        )["images"]
    return found


def through(
    model: nn.Module, images: Tensor, labels: Tensor, settings: Settings, threat: Threat, *, seed: int
) -> dict[str, Tensor]:
    """ "images": of the ends through a smooth purifier and past the sign purifier, both with the noise of the
    seed, for each image the first that misleads the defence with that noise, else the last.
    """
    assert isinstance(model, CausalDiffusion)
    alone = replace(settings, searches=0)
    smooth = Defence(model, replace(alone, kind="smooth"), seed=seed)
    past = nn.Sequential(StraightThrough(Purified(model, alone, seed)), model)
    judged = Defence(model, settings, seed=seed)
    ends = [searched(judged, one, images, labels, threat, seed=seed) for one in (smooth, past)]
    with torch.no_grad():
        first = judged(ends[0]).argmax(1) != labels
    return {"images": torch.where(first.view(-1, 1, 1, 1), ends[0], ends[1])}


def stages(
    run: Run, model: CausalDiffusion, versions: Mapping[Key, Tensor]
) -> dict[tuple[str, str, int], Stage]:
    """Each version after 0, 1, 3 and 5 steps of purification, with the run's noise; all are read at once."""
    purified: dict[tuple[str, str, int], Tensor] = {}
    for (knows, eps), images in versions.items():
        own = experiments.settings(run.p, images, eps=float(eps) or run.p.eps)
        draw = fixed(own, images, run.p.seed)
        for count in STEPS:
            some = replace(draw, t=draw.t[:count], purifying=draw.purifying[:count])
            with torch.no_grad():
                x = purify(model, 2 * images - 1, replace(own, steps=count), some)
            purified[knows, eps, count] = x
    whole = torch.cat(list(purified.values()))
    own = experiments.settings(run.p, whole)
    with torch.no_grad():
        chances = model.classify(infer(model, whole, own, fixed(own, whole, run.p.seed))).softmax(1)
    found = {}
    for (key, x), each in zip(
        purified.items(), chances.split([len(x) for x in purified.values()]), strict=True
    ):
        with torch.no_grad():
            named = model(versions[key[:2]]).argmax(1)
        shown = (x + 1) / 2 if key[2] else versions[key[:2]]
        found[key] = Stage(shown, named, each.argmax(1), each.amax(1))
    return found


def tiles(
    some: Images, versions: Mapping[Key, Tensor], found: Mapping[tuple[str, str, int], Stage]
) -> tuple[dict[str, list[str]], dict[tuple[str, ...], Tile]]:
    """What `Run.explore` shows: what is classified, and what of it differs from the clean image."""
    names = [f"a {some.classes[int(label)]}" for label in some.labels]
    choices = {
        "image": names,
        "attacker knows": list(KNOWS),
        "eps": list(reversed(EPS)),
        "steps": [str(count) for count in STEPS],
    }
    made: dict[tuple[str, ...], Tile] = {}
    for (row, name), knows, eps, count in product(enumerate(names), KNOWS, EPS, STEPS):
        at, clean = found[knows, eps, count], some.images[row, 0]
        image = at.images[row, 0].cpu()
        said = (
            f"The encoder alone reads the image as it came as {some.classes[int(at.encoder[row])]}. "
            f"After {count} step{'s' * (count != 1)} of purification and the search for s*: "
            f"{some.classes[int(at.answer[row])]}, P = {float(at.chance[row]):.2f}."
        )
        made[name, knows, eps, str(count)] = Tile(image.clamp(0, 1), image - clean, said)
    return choices, made


def pictured(
    some: Images, versions: Mapping[Key, Tensor], found: Mapping[tuple[str, str, int], Stage], eps: str
) -> list[tuple[list[str], list[Tensor]]]:
    """Rows for `charts.stages`: the first image clean, attacked and purified, a row for what is known."""
    rows = []
    for knows in KNOWS:
        last, start = found[knows, eps, STEPS[-1]], found[knows, eps, 0]
        read = [some.classes[int(one)] for one in (some.labels[0], start.encoder[0], last.answer[0])]
        titles = [f"clean: {read[0]}", f"attacked: {read[1]}", f"purified: {read[2]}"]
        shown = [some.images[0], versions[knows, eps][0].cpu(), last.images[0].cpu().clamp(0, 1)]
        rows.append((titles, shown))
    return rows
