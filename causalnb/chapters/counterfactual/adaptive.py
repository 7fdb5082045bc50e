"""An attacker who knows the detectors: white box, with prototypes and thresholds at hand.

The simplest goes first: `matched` brings an image's features to those of a clean image of another class, one
loss without weights, against every score that is a function of features. `evade` then attacks one detector,
or several at once, by a surrogate of its score on log-odds, which do not saturate, and searches the weight of
it for each image. All see images rounded to 8 bits, through which gradients go straight.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from causalnb import attacks
from causalnb.attacks import AttackResult
from causalnb.attacks.ball import pgd_schedule
from causalnb.attacks.randomised import StraightThrough
from causalnb.chapters.counterfactual import detectors
from causalnb.chapters.counterfactual.detectors import References, eight_bits
from causalnb.chapters.counterfactual.heads import Head
from causalnb.chapters.counterfactual.prototypes import Prototypes
from causalnb.chapters.counterfactual.readings import information, margins
from causalnb.chapters.counterfactual.strategies import PAIRS, causal, common, correlation, zeros

SURE = 1.0  # log-odds of the target up to which the network is fooled further
FIRST, FACTOR = 1.0, 10.0  # the first weight of a detector, and by how much the second differs
SOFT = 0.1  # of the median |log-odds CI|: the width of a step that is made smooth
PLANTED = "planted"
Limits = Mapping[str, float]


@dataclass(frozen=True)
class Evaded:
    """What an attack on detectors came to, for n images.

    images   [n, ...] rounded to 8 bits: fooled and undetected where `found`, else the last that was tried
    found    [n]; correct [n], which were right and so attacked; fooled [n], in any round, detected or not
    weights  [n], the last weight of the detector
    """

    images: Tensor
    found: Tensor
    correct: Tensor
    fooled: Tensor
    weights: Tensor


def rounding(head: Head) -> nn.Sequential:
    """The head behind rounding to 8 bits, whose gradient is taken to be the identity's."""
    return nn.Sequential(StraightThrough(eight_bits), head).eval()


# Features alone ------------------------------------------------------------------------------------------


def matched(
    model: nn.Module, layer: str, images: Tensor, labels: Tensor, guides: Tensor, **settings: Any
) -> AttackResult:
    """PGD down the squared distance of an image's features to those of its guide, [n, d]; for the store.

    settings   eps, steps, seed. Success is any class but the label
    """
    head = Head(model, layer, images[:1])
    size = guides.square().sum(1).clamp_min(torch.finfo(guides.dtype).tiny)

    def near(outputs: Tensor, rows: Tensor) -> Tensor:
        return -(head.features(outputs) - guides[rows]).square().sum(1) / size[rows]

    return pgd(rounding(head), images, labels, loss=near, classes=head.classes, **settings)


def pgd(
    model: nn.Module, images: Tensor, labels: Tensor, *, eps: float, steps: int, **asked: Any
) -> AttackResult:
    """The bench's PGD in L-inf, its schedule by the budget and the steps."""
    return attacks.run(
        "pgd", model, images, labels, norm="linf", eps=eps, **pgd_schedule(eps, steps), **asked
    )


def guides(head: Head, known: References, outputs: Tensor, targets: Tensor) -> Tensor:
    """For each image the features [n, d] of the nearest training image of its target class."""
    features, found = head.features(outputs), torch.empty_like(head.features(outputs))
    for one in targets.unique():
        kept, some = known.kept[known.labels == one].to(features), targets == one
        found[some] = kept[torch.cdist(features[some], kept).argmin(1)]
    return found


def prototype_guides(head: Head, known: References, targets: Tensor) -> Tensor:
    """The features [n, d] of the prototype of each image's target class."""
    at = Prototypes(head.features(known.prototypes), known.classes, known.images)
    return at.of(targets)


def runners_up(head: Head, outputs: Tensor, labels: Tensor) -> Tensor:
    """The class [n] with the largest logit but the label's."""
    return head.logits(outputs).scatter(1, labels[:, None], -torch.inf).argmax(1)


# One detector, or several --------------------------------------------------------------------------------


def evade(
    model: nn.Module,
    layer: str,
    known: References,
    images: Tensor,
    labels: Tensor,
    targets: Tensor,
    *,
    limits: dict[str, float],
    eps: float,
    steps: int,
    rounds: int,
    seed: int,
) -> Evaded:
    """Attack images [n, ...] so that they are taken for another class and no score exceeds its limit; for the
    store.

    targets   [n], the class that each is pushed to; any other class but the label counts too
    limits    the largest score that is not flagged, by the names of `SURROGATES`
    rounds    PGD runs, each with another weight of the detectors for each image: greater where it was fooled
              and detected, smaller where it was not fooled, the factor's root after each; images that are
              found are left out. Plain PGD goes first, so that no result is worse than its
    """
    head, known = Head(model, layer, images[:1]), known.to(images.device)
    watched, at = rounding(head), detectors.prototypes_of(known)
    chased = Chase(head, known, at, targets, limits)
    n, weights, factor = len(images), torch.full((len(images),), FIRST, device=images.device), FACTOR
    none = torch.zeros(n, dtype=torch.bool, device=images.device)
    made = Evaded(eight_bits(images), none, none, none, weights)
    for number in range(1 + rounds):
        left = (~made.found & (made.correct | (number == 0))).nonzero().flatten()
        if not len(left):
            break
        chasing = replace_rows(chased, left)
        found = pgd(
            watched,
            images[left],
            labels[left],
            eps=eps,
            steps=steps,
            seed=seed + number,
            loss=partial(_climbed, chasing, made.weights[left]) if number else None,
            detected=chasing.detected,
            classes=head.classes,
        )
        candidates = eight_bits(found.candidates)
        fooled = found.correct & (head.logits(head.of(candidates).to(images)).argmax(1) != labels[left])
        weights = made.weights[left] * torch.where(fooled, factor, 1 / factor)
        made = Evaded(
            made.images.index_copy(0, left, candidates),
            made.found.index_copy(0, left, found.found),
            made.correct.index_copy(0, left, found.correct),
            made.fooled.index_copy(0, left, made.fooled[left] | fooled | found.found),
            made.weights.index_copy(0, left, weights) if number else made.weights,
        )
        factor = factor**0.5 if number else factor
    return made


def _climbed(chase: "Chase", weights: Tensor, outputs: Tensor, rows: Tensor) -> Tensor:
    return -(chase.confidence(outputs, rows) + weights[rows] * chase.suspicion(outputs, rows))


@dataclass(frozen=True)
class Chase:
    """What is minimised against detectors, for images that are pushed to `targets` [n].

    at    the prototypes, by kind of vector
    """

    head: Head
    known: References
    at: Mapping[str, Prototypes]
    targets: Tensor
    limits: Limits

    def confidence(self, outputs: Tensor, rows: Tensor) -> Tensor:
        """How far the log-odds of the target are below `SURE`, [n]."""
        return (SURE - margins(self.head.logits(outputs), self.targets[rows])).clamp_min(0).to(outputs)

    def suspicion(self, outputs: Tensor, rows: Tensor) -> Tensor:
        """The sum of the surrogates of all scores, [n]."""
        view = View.of(self, outputs, self.targets[rows])
        each = [SURROGATES[name](view, limit) for name, limit in self.limits.items()]
        return torch.stack([one.to(outputs) for one in each]).sum(0)

    @torch.no_grad()
    def detected(self, outputs: Tensor, rows: Tensor) -> Tensor:
        """Which images [n] have a score above its limit: the scores themselves, of the class predicted."""
        found = score_named(self.head, self.known, self.at, outputs, tuple(self.limits))
        return torch.stack([found[name] > limit for name, limit in self.limits.items()]).any(0)


def replace_rows(chase: Chase, rows: Tensor) -> Chase:
    """The same for some of the images."""
    return replace(chase, targets=chase.targets[rows])


def score_named(
    head: Head,
    known: References,
    at: Mapping[str, Prototypes],
    outputs: Tensor,
    names: tuple[str, ...],
) -> dict[str, Tensor]:
    """The scores of these names [n] alone, as `detectors.of_outputs` gives them, and the planted one."""
    made: dict[str, Tensor] = {}
    if set(names) & set(detectors.STRATEGIES.values()):
        found = head.information(outputs)
        n, m = PAIRS[-1]
        made |= {
            "S1": -causal(found.ci).double(),
            "S2.rho": correlation(found.ci, found.classes, at["ci"]).score,
            "S3.0": -zeros(found.ci).double(),
        }
        if m <= head.filters:
            made["S4.10_30"] = -common(found.ci, found.classes, at["ci"], n=n, m=m).count.double()
    if "rho.g" in names:
        classes = head.logits(outputs).argmax(1)
        made["rho.g"] = correlation(head.responses(outputs).double(), classes, at["rho.g"]).score
    if "softmax" in names:
        made["softmax"] = detectors.of_confidence(head.logits(outputs))["softmax"]
    if "mahalanobis" in names:
        made["mahalanobis"] = detectors.nearest_mean(known, head.features(outputs))
    if PLANTED in names:
        made[PLANTED] = planted(known, head.features(outputs))
    return made


def planted(known: References, features: Tensor) -> Tensor:
    """A detector that knows nothing: a random linear score of standardised features, [n]."""
    kept = known.kept.to(features).double()
    direction = torch.randn(
        kept.shape[1], generator=torch.Generator().manual_seed(0), dtype=torch.float64, device="cpu"
    ).to(kept)
    return ((features.double() - kept.mean(0)) / kept.std(0).clamp_min(1e-6)) @ direction


# Surrogates ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class View:
    """What surrogates see of n images that are pushed to a class each.

    odds    [n, filters], how far the target's log-odds fall without each filter; before [n], with all
    step    [n], the width of smooth steps, in log-odds
    """

    chase: Chase
    outputs: Tensor
    targets: Tensor
    odds: Tensor
    before: Tensor
    step: Tensor

    @classmethod
    def of(cls, chase: Chase, outputs: Tensor, targets: Tensor) -> "View":
        """Of outputs with a gradient."""
        found = chase.head.removed(outputs)
        before = margins(found.whole, targets)
        odds = before[:, None] - margins(found.without, targets[:, None])
        sizes = odds.detach().abs()
        step = SOFT * sizes.where(sizes > 0, torch.nan).nanmedian(1).values.nan_to_num(1.0)
        return cls(chase, outputs, targets, odds, before, step)

    @property
    def features(self) -> Tensor:
        """[n, d]."""
        return self.chase.head.features(self.outputs)

    def prototype(self, kind: str) -> Tensor:
        """Of the target class, [n, filters]."""
        return self.chase.at[kind].of(self.targets)


def _causal(view: View, limit: float) -> Tensor:
    """S1: as many filters as are needed, smoothly counted, a safe distance above 0."""
    counted = (view.odds / view.step[:, None] - 4).sigmoid().sum(1)
    return (-limit - counted).clamp_min(0) / max(1.0, -limit)


def _uncorrelated(view: View, limit: float) -> Tensor:
    """S2: 1 - rho of CI itself, in float64 from log-odds."""
    ci = information(view.before, view.before[:, None] - view.odds)
    return _short_of(ci, view.prototype("ci"), limit)


def _short_of(vectors: Tensor, prototype: Tensor, limit: float) -> Tensor:
    a, b = (one.double() - one.double().mean(1, keepdim=True) for one in (vectors, prototype))
    rho = nn.functional.cosine_similarity(a / a.detach().norm(dim=1, keepdim=True).clamp_min(1e-300), b)
    return (-limit - rho + 0.02).clamp_min(0)


def _alive(view: View, limit: float) -> Tensor:
    """S3: zeros are filters that do not respond; as many as are needed are pushed down, the weakest."""
    needed = min(math.ceil(-limit), view.chase.head.filters)
    if needed <= 0:
        return view.before * 0
    responses = view.chase.head.responses(view.outputs).abs()
    weakest = responses.topk(needed, dim=1, largest=False).values
    return weakest.sum(1) / responses.detach().mean(1).clamp_min(1e-12)


def _strangers(view: View, limit: float) -> Tensor:
    """S4: of the image's n most causal filters at least k stand among the prototype's m, where the k-th of
    those is causal and above the (n - k + 1)-th of the others.
    """
    n, m = PAIRS[-1]
    needed = min(n, math.ceil(-limit))
    if needed <= 0:
        return view.before * 0
    top = view.prototype("ci").topk(m, dim=1).indices
    inside = view.odds.gather(1, top).topk(needed, dim=1).values[:, -1]
    others = view.odds.scatter(1, top, -torch.inf).topk(n - needed + 1, dim=1).values[:, -1]
    return ((others.clamp_min(0) - inside) / view.step / 10 + SOFT).clamp_min(0)


def _far(view: View, limit: float) -> Tensor:
    distance = detectors.nearest_mean(view.chase.known, view.features)
    return (distance / limit - 0.98).clamp_min(0)


def _unsure(view: View, limit: float) -> Tensor:
    return (-limit - view.before + 0.1).clamp_min(0)


def _unlike(view: View, limit: float) -> Tensor:
    return _short_of(view.chase.head.responses(view.outputs), view.prototype("rho.g"), limit)


def _planted(view: View, limit: float) -> Tensor:
    return (planted(view.chase.known, view.features) - limit + 0.1).clamp_min(0)


SURROGATES: dict[str, Callable[[View, float], Tensor]] = {
    "S1": _causal,
    "S2.rho": _uncorrelated,
    "S3.0": _alive,
    "S4.10_30": _strangers,
    "mahalanobis": _far,
    "softmax": _unsure,
    "rho.g": _unlike,
    PLANTED: _planted,
}


def limits_of_union(held_out: Mapping[str, Tensor], threshold: float) -> dict[str, float]:
    """The largest score of each strategy that the union does not flag.

    threshold   of the union's score on held-out clean images: flagged above it
    """
    found = {}
    for name in detectors.STRATEGIES.values():
        if name in held_out:
            order = held_out[name].sort(descending=True).values
            found[name] = float(order[max(0, min(len(order), _least(len(order), -threshold)) - 1)])
    return found


def _least(n: int, share: float) -> int:
    """How many of n images make at least this share."""
    return next((k for k in range(max(1, int(share * n) - 1), n + 1) if k / n >= share), n)
