"""A few images, clean and attacked, with their counterfactual information in both scales beside that of the
prototypes: what the pictures of the page and its live figure show.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from causalnb import attacks, chapters
from causalnb.attacks.ball import pgd_schedule
from causalnb.chapters.counterfactual import readings, strategies
from causalnb.chapters.counterfactual.filters import Filters, Information
from causalnb.chapters.counterfactual.parameters import Parameters
from causalnb.chapters.counterfactual.prototypes import Prototypes, choose
from causalnb.data import Images
from causalnb.detection import threshold_at
from causalnb.fragments import Bars
from causalnb.store import memo

Run = chapters.Run[Parameters]
Key = tuple[str, str]  # attack and budget
ATTACKS = {"PGD": "pgd", "PGD, targeted": "pgd", "FGSM": "fgsm"}
STEPS = 20
ASKED = ("S1", "S2.rho", "S3.0", "S4.3_10")  # one reading of each strategy
RATE = 0.05  # of held-out clean images, which a strategy may flag
SCALES = ("float32", "log-odds")


class Net(Protocol):
    """What is asked of a network here."""

    @property
    def model(self) -> nn.Module:
        """In evaluation mode."""

    @property
    def layer(self) -> str:
        """Whose filters are asked."""

    @property
    def fitted(self) -> Images:
        """Training images, among which prototypes are chosen."""

    @property
    def held_out(self) -> Images:
        """Clean images on which thresholds are fixed."""

    @property
    def test(self) -> Images:
        """Test images."""


@dataclass(frozen=True)
class Vectors:
    """Counterfactual information of n images in one scale, with the prototypes in the same.

    ci      [n, filters]; classes: [n], the predicted class, whose P it is; probability: [n]
    limits  the least that each of `ASKED` must have to pass
    """

    ci: Tensor
    classes: Tensor
    probability: Tensor
    prototypes: Prototypes
    limits: Mapping[str, float]


def first_right(net: Net, labels: tuple[int, ...]) -> Images:
    """The first test image of each of these classes that the network gets right."""
    with torch.no_grad():
        right = net.model(net.test.images).argmax(1) == net.test.labels
    rows = [int((right & (net.test.labels == label)).nonzero()[0, 0]) for label in labels]
    return net.test.take(torch.tensor(rows))


def attacked(run: Run, net: Net, some: Images, budgets: tuple[float, ...]) -> dict[Key, Tensor]:
    """The images [n, ...] as each attack leaves them at each budget; where it fails they are clean. A target
    is the class after the image's own.
    """
    found = {}
    for (title, name), eps in product(ATTACKS.items(), budgets):
        settings: dict[str, Any] = {} if name == "fgsm" else pgd_schedule(eps, STEPS)
        if "targeted" in title:
            settings["targets"] = (some.labels + 1) % len(some.classes)
        asked = {"norm": "linf", "eps": eps, "seed": run.p.seed, **settings}
        what = f"{title} on a few of {some.name}"
        result = memo(run.store, what, attacks.run, name, net.model, some.images, some.labels, **asked)
        found[title, f"{eps:g}"] = result.images
    return found


def vectors(net: Net, versions: Mapping[Key, Tensor]) -> dict[Key, dict[str, Vectors]]:
    """Of images [n, ...] by attack and budget, CI as float32 gives it and in log-odds, by the names in
    `SCALES`. Prototypes are chosen among the images that the network was fitted on, limits such that each
    strategy flags at most one held-out clean image in twenty.
    """
    filters = Filters(net.model, net.layer)
    chosen = choose(filters(net.fitted.images), net.fitted.labels)
    own = _scales(filters, net.fitted.images[chosen.images])[0]
    prototypes = {name: Prototypes(ci, chosen.classes, chosen.images) for name, ci in own.items()}
    held, clean = _scales(filters, net.held_out.images)
    limits = {name: _limits(ci, clean.classes, prototypes[name]) for name, ci in held.items()}
    found = {}
    for key, images in versions.items():
        scales, of = _scales(filters, images)
        found[key] = {
            name: Vectors(ci, of.classes, of.probability, prototypes[name], limits[name])
            for name, ci in scales.items()
        }
    return found


def _limits(ci: Tensor, classes: Tensor, prototypes: Prototypes) -> dict[str, float]:
    scores = strategies.scores(ci, classes, prototypes)
    return {name: 0.0 - threshold_at(RATE, scores[name].numpy()).value for name in ASKED}


def _scales(filters: Filters, images: Tensor) -> tuple[dict[str, Tensor], Information]:
    of, removed = filters(images), filters.logits(images)
    both = readings.subtracted(removed.whole, removed.without).double(), of.log_odds
    return dict(zip(SCALES, both, strict=True)), of


# The live figure -----------------------------------------------------------------------------------------


def tiles(
    names: Mapping[int, str],
    some: Images,
    versions: Mapping[Key, Tensor],
    found: Mapping[Key, Mapping[str, Vectors]],
) -> tuple[dict[str, list[str]], dict[tuple[str, ...], Bars]]:
    """What `Run.explore` shows: an image under an attack at a budget, its CI in a scale as bars over the
    prototype's.

    names      of the images, by row of `some`
    versions   images [n, ...] by attack and budget, the clean ones under "none" for every budget
    found      their vectors
    """
    attacks_, budgets = (list(dict.fromkeys(key[part] for key in versions)) for part in (0, 1))
    choices = {
        "image": list(names.values()),
        "attack": attacks_,
        "budget": budgets,
        "scale": list(SCALES),
    }
    made: dict[tuple[str, ...], Bars] = {}
    for (row, name), key, scale in product(names.items(), versions, SCALES):
        made[name, *key, scale] = bars(some.classes, versions[key][row], found[key][scale], row, scale)
    return choices, made


def bars(classes: tuple[str, ...], image: Tensor, of: Vectors, row: int, scale: str) -> Bars:
    """One image's CI beside the prototype of its predicted class, filters in the order of the prototype's;
    said: what is predicted, and what the four strategies see.
    """
    theirs = of.prototypes.of(of.classes[row : row + 1])[0]
    order = theirs.argsort(descending=True, stable=True)
    return Bars(image, of.ci[row][order], theirs[order], said(classes, of, row, scale))


def said(classes: tuple[str, ...], of: Vectors, row: int, scale: str) -> str:
    """The prediction, and what each of the four strategies makes of an image with which limit, as one
    sentence each.
    """
    ci, predicted = of.ci[row : row + 1], of.classes[row : row + 1]
    scores = strategies.scores(ci, predicted, of.prototypes)
    rho = strategies.correlation(ci, predicted, of.prototypes)
    told = {
        "S1": f"{int(strategies.causal(ci))} of {ci.shape[1]} filters are causal",
        "S2.rho": f"ρ = {float(rho.rho):.2f}" if rho.undefined == 0 else "ρ is not defined",
        "S3.0": f"{int(strategies.zeros(ci))} have a CI of 0 in {scale}",
        "S4.3_10": f"{-int(scores['S4.3_10'])} of its 3 strongest are among the prototype's 10",
    }
    sentences = [
        _judged(name[:2], words, float(-scores[name]), of.limits[name]) for name, words in told.items()
    ]
    probability = f"Read as {classes[int(predicted)]}, P = {float(of.probability[row]):.4g}."
    return " ".join([probability, *sentences])


def _judged(strategy: str, words: str, value: float, limit: float) -> str:
    verb = "flags" if value < limit else "passes"
    if limit <= 0 and strategy != "S2":
        return f"{strategy} {verb} it: {words}, none is needed."
    return (
        f"{strategy} {verb} it: {words}, {limit:.2f} is needed."
        if strategy == "S2"
        else (f"{strategy} {verb} it: {words}, {limit:.0f} needed.")
    )
