"""Single digits before and after a search, as a reader sees them: pictures with the class that is read, and
the tiles of the live figure.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import torch
from torch import Tensor, nn

from causalnb import attacks
from causalnb.attacks.ball import pgd_schedule
from causalnb.attacks.noise import noise
from causalnb.chapters.bench.experiments import drawn, first_broken, kept_attack
from causalnb.chapters.bench.networks import Net, Run
from causalnb.data import Images
from causalnb.fragments import Tile

SEARCHES = {"PGD": "pgd", "PGD, margin": "cw-linf"}
FACTORS = (1, 2, 1 / 3)  # of the plain network's budget; none is 0, the clean image


@dataclass(frozen=True)
class Example:
    """One image [height, width] as a search left it, and the class that the network reads in it."""

    what: str
    image: Tensor
    read: str


def first(run: Run, net: Net, blinded: nn.Module) -> list[Example]:
    """The first drawn image that PGD breaks: clean, under noise, under PGD; and, where it has to look at
    `blinded`, which decides as the network does, under PGD and under PGD on the margin.
    """
    result, row = first_broken(run, net)
    images, labels = result.clean[row : row + 1], result.criterion.labels[row : row + 1]
    asked: dict[str, Any] = {"norm": "linf", "eps": net.eps, "seed": run.p.seed}
    walk = pgd_schedule(net.eps, run.p.steps)
    versions = {
        "clean": images,
        "noise": noise(images, kind="sign", **asked),
        "attack": result.images[row : row + 1],
        "blinded": attacks.run("pgd", blinded, images, labels, **asked, **walk).images,
        "knowing": attacks.run("cw-linf", blinded, images, labels, **asked, **walk).images,
    }
    classes = run.load(run.p.data).classes
    return [Example(what, one[0, 0].cpu(), classes[read(net.model, one)]) for what, one in versions.items()]


@torch.no_grad()
def read(model: nn.Module, image: Tensor) -> int:
    """The class that the model gives one image [1, ...]."""
    return int(model(image).argmax())


def told(examples: Sequence[Example]) -> str:
    """What the network reads in each, in a sentence."""
    *parts, last = (f"{one.read} ({one.what})" for one in examples)
    return f"One network reads {', '.join(parts)} and {last}."


def blinded(net: Net, model: nn.Module) -> Net:
    """The network with another model in its place."""
    return replace(net, name="masked", model=model)


# The live figure ------------------------------------------------------------------------------------------


def tiles(
    run: Run, nets: Mapping[str, Net], *, images: int = 2
) -> tuple[dict[str, list[str]], dict[tuple[str, ...], Tile]]:
    """What `Run.explore` shows: each search on each network at several budgets, on the first digits that PGD
    breaks on the first network and all the others have right.

    nets    by the name that a reader chooses; the first one's budget, its double and its third are shown
    """
    some, eps = _shown(run, list(nets.values()), images), next(iter(nets.values())).eps
    digits = [f"{place + 1}: {some.classes[int(label)]}" for place, label in enumerate(some.labels)]
    budgets = {f"{size:.2g}": size for size in (min(factor * eps, 1.0) for factor in FACTORS)}
    choices = {
        "digit": digits,
        "network": list(nets),
        "search": [*SEARCHES, "noise"],
        "budget": [*budgets, "0"],
    }
    found: dict[tuple[str, ...], Tile] = {}
    for network, search, budget in product(nets, choices["search"], choices["budget"]):
        each = _searched(run, nets[network], some, search, budgets.get(budget, 0.0))
        for place, digit in enumerate(digits):
            found[digit, network, search, budget] = _tile(some, place, each)
    return choices, found


def _shown(run: Run, nets: Sequence[Net], n: int) -> Images:
    """The first images that PGD breaks on the first network; those that a network has wrong when clean come
    last.
    """
    some, broken = drawn(run, run.p.n_panel), first_broken(run, nets[0])[0].found.cpu()
    with torch.no_grad():
        right = [net.model(some.images.to(run.device)).argmax(dim=1).cpu() == some.labels for net in nets]
    rows = broken.nonzero().flatten()
    wrong = ~torch.stack(right).all(dim=0)[rows]
    return some.take(rows[wrong.int().argsort(stable=True)][:n])


def _searched(
    run: Run, net: Net, some: Images, search: str, eps: float
) -> tuple[list[str], Tensor, list[int]]:
    """What is told of each image, the images [n, ...] as the search leaves them, and the classes read."""
    images, told = some.images.to(run.device), ["Noise, which aims at nothing" if eps else "The clean image"]
    if eps and search in SEARCHES:
        walk = pgd_schedule(eps, run.p.steps)
        result = kept_attack(run, net, some, SEARCHES[search], "linf", eps, **walk)
        words = ["Found" if one else "Nothing found: the clean image comes back" for one in result.found]
        return words, result.images, result.predicted.tolist()
    if eps:
        images = noise(images, kind="sign", norm="linf", eps=eps, seed=run.p.seed)
    return told * len(some), images, [read(net.model, one) for one in images.split(1)]


def _tile(some: Images, place: int, searched: tuple[list[str], Tensor, list[int]]) -> Tile:
    words, images, classes = searched
    image, clean = images[place, 0].cpu(), some.images[place, 0]
    seen, label = some.classes[classes[place]], some.classes[int(some.labels[place])]
    return Tile(image, image - clean, f"{words[place]}. Read as {seen}; the label is {label}.")
