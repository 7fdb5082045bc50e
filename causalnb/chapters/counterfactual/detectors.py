"""Detectors of attacked images as scores, greater for more suspicious: the four strategies, what they are
compared with, and the ablations that decide whether counterfactual information adds anything.

Everything is fitted on clean training images (`fit`); thresholds are no business of this file. Nearly all
scores are functions of a head's outputs alone (`of_outputs`); two ask the network about other images
(`squeezed`, `under_noise`).
"""

import math
from dataclasses import dataclass, fields

import torch
from torch import Tensor, nn

from causalnb import training
from causalnb.attacks.ball import draws
from causalnb.chapters.counterfactual import readings
from causalnb.chapters.counterfactual.filters import Information
from causalnb.chapters.counterfactual.heads import Head, at_once
from causalnb.chapters.counterfactual.prototypes import Prototypes
from causalnb.chapters.counterfactual.routes import Removed
from causalnb.chapters.counterfactual.strategies import causal, correlation, scores, zeros

STRATEGIES = {
    "s1": "S1",
    "s2": "S2.rho",
    "s3": "S3.0",
    "s4": "S4.10_30",
}  # one reading of each, for the union
BASELINES = ("softmax", "margin", "energy", "squeezing", "mahalanobis", "odds", "density")
ABLATIONS = ("rho.g", "rho.gW", "rho.gW.runner", "rho.gradient")
UNION = "union"
RIDGE = 1e-4  # of the features' mean variance, on the covariance's diagonal
NEIGHBOURS = 1000  # training images at most by which a kernel's width is found
NUMBERS = 2**24  # of one step at most, where images are taken in parts
Scores = dict[str, Tensor]


@dataclass(frozen=True)
class References:
    """What detectors know of clean training images.

    prototypes   [k, classes + d], outputs of each class's prototype; classes [k], their classes; images [k],
                 their places
    vectors      [k, filters] of these prototypes, by kind of vector
    filters      how many there are; where each has several places among the features d, distances are taken
                 of its mean over them
    means        [k, filters] of each class; precision [filters, filters], the inverse of their covariance
    kept         [m, d], features of the training images; labels [m]
    width        of the kernel, in the features' unit
    """

    prototypes: Tensor
    classes: Tensor
    images: Tensor
    vectors: dict[str, Tensor]
    filters: int
    means: Tensor
    precision: Tensor
    kept: Tensor
    labels: Tensor
    width: float

    def to(self, device: torch.device) -> "References":
        """The same on another device."""
        held = {one.name: getattr(self, one.name) for one in fields(self)}
        moved = {name: one.to(device) for name, one in held.items() if isinstance(one, Tensor)}
        vectors = {name: one.to(device) for name, one in self.vectors.items()}
        return References(**held | moved | {"vectors": vectors})

    def pooled(self, features: Tensor) -> Tensor:
        """The mean of each filter's features [n, d] over its places, [n, filters] float64."""
        return features.double().unflatten(1, (self.filters, -1)).mean(2)


@torch.no_grad()
def fit(head: Head, outputs: Tensor, labels: Tensor) -> References:
    """From the outputs [m, classes + d] and labels [m] of clean training images."""
    rows = surest(head, outputs, labels)
    kinds = _together([_kinds(head, some) for some in head.parts(outputs[rows])])
    kept, classes = head.features(outputs), labels.unique()
    features = kept.double().unflatten(1, (head.filters, -1)).mean(2)
    means = torch.stack([features[labels == one].mean(0) for one in classes])
    centred = features - means[torch.searchsorted(classes, labels)]
    covariance = centred.T @ centred / len(features)
    ridge = RIDGE * covariance.diagonal().mean() + torch.finfo(torch.float64).tiny
    precision = torch.linalg.inv(covariance + ridge * torch.eye(len(covariance), dtype=torch.float64))
    width = _nearest(features[:NEIGHBOURS], labels[:NEIGHBOURS])
    return References(
        outputs[rows], labels[rows], rows, kinds, head.filters, means, precision, kept, labels, width
    )


def _kinds(head: Head, outputs: Tensor) -> dict[str, Tensor]:
    removed = head.removed(outputs)
    return vectors(head, outputs, removed, head.information(outputs, removed))


def _together(parts: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    return {name: torch.cat([one[name] for one in parts]) for name in parts[0]}


def surest(head: Head, outputs: Tensor, labels: Tensor) -> Tensor:
    """The prototype of each class that has one, as places [k]: of the images that are right the one with the
    largest log-odds.
    """
    logits = head.logits(outputs)
    margin = readings.margins(logits, logits.argmax(1))
    right = logits.argmax(1) == labels
    return torch.stack(
        [torch.where(right & (labels == one), margin, -torch.inf).argmax() for one in labels[right].unique()]
    )


def drawn(outputs: Tensor, labels: Tensor, head: Head, *, seed: int) -> Tensor:
    """A random clean image of each class that is right, instead of the surest: places [k]."""
    right = head.logits(outputs).argmax(1) == labels
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    found = order[right[order]]
    return torch.stack([found[labels[found] == one][0] for one in labels[right].unique()])


def _nearest(features: Tensor, labels: Tensor) -> float:
    """The median distance of an image to the nearest of its class."""
    found = []
    for one in labels.unique():
        apart = torch.cdist(features[labels == one], features[labels == one])
        found.append(apart.fill_diagonal_(torch.inf).amin(1))
    near = torch.cat(found)
    return float(near[near.isfinite()].median()) or 1.0


# From what a head shows ----------------------------------------------------------------------------------


def of_outputs(head: Head, known: References, outputs: Tensor) -> Scores:
    """Every score that is a function of a head's outputs [n, classes + d] alone: [n] each, float64.

    "S1", "S2.rho", ... from CI in float64; "float32.S1", "float32.S3.0" from CI as published code computes
    it; "odds.S1", ... from log-odds CI; "softmax", "margin", "energy", "mahalanobis", "density"; "rho.g",
    "rho.gW", "rho.gW.runner", "rho.gradient": strategy 2 on the filters' responses, on what they add to the
    predicted class's logit, to its lead over the runner-up, and on gradient x activation.
    """
    return _together([_of_few(head, known, some) for some in head.parts(outputs)])


def _of_few(head: Head, known: References, outputs: Tensor) -> Scores:
    with torch.no_grad():
        removed = head.removed(outputs)
    found, at = head.information(outputs, removed), prototypes_of(known)
    single = readings.subtracted(removed.whole, removed.without)
    odds = scores(found.log_odds, found.classes, at["odds"])
    made = scores(found.ci, found.classes, at["ci"])
    made |= {"float32.S1": -causal(single).double(), "float32.S3.0": -zeros(single).double()}
    made |= {f"odds.{name}": one for name, one in odds.items() if name in STRATEGIES.values()}
    for name, one in vectors(head, outputs, removed, found).items():
        if name in ABLATIONS:
            made[name] = correlation(one, found.classes, at[name]).score
    return made | of_confidence(head.logits(outputs)) | of_features(head, known, outputs)


def vectors(head: Head, outputs: Tensor, removed: Removed, found: Information) -> dict[str, Tensor]:
    """A number for each filter and image, by what it is: [n, filters] each."""
    votes, top = removed.whole[:, None] - removed.without, head.logits(outputs).topk(2, dim=1).indices
    own, other = (
        votes.gather(2, top[:, None, k, None].expand(-1, votes.shape[1], 1))[..., 0] for k in (0, 1)
    )
    return {
        "ci": found.ci,
        "odds": found.log_odds,
        "rho.g": head.responses(outputs).double(),
        "rho.gW": own,
        "rho.gW.runner": own - other,
        "rho.gradient": head.sensitivity(outputs),
    }


def prototypes_of(known: References) -> dict[str, Prototypes]:
    """The classes' prototypes, in every kind of vector."""
    return {name: Prototypes(one, known.classes, known.images) for name, one in known.vectors.items()}


def of_confidence(logits: Tensor) -> Scores:
    """What logits [n, classes] say alone: 1 - the largest softmax, as log-odds, which do not round; minus the
    lead over the runner-up; minus the log of the sum of their exponentials.
    """
    z = logits.double()
    top = z.topk(2, dim=1).values
    return {
        "softmax": -readings.margins(z, z.argmax(1)),
        "margin": top[:, 1] - top[:, 0],
        "energy": -z.logsumexp(1),
    }


def of_features(head: Head, known: References, outputs: Tensor) -> Scores:
    """Distance of the features to the nearest class (Lee et al. 2018, last layer only), and minus the log of
    their density among the predicted class's training images (Feinman et al. 2017).
    """
    return {
        "mahalanobis": nearest_mean(known, head.features(outputs)),
        "density": sparsity(known, head.features(outputs), head.logits(outputs).argmax(1)),
    }


def nearest_mean(known: References, features: Tensor) -> Tensor:
    """The least Mahalanobis distance [n], squared, to a class's mean; differentiable."""
    found = []
    for some in known.pooled(features).split(max(1, NUMBERS // known.means.numel())):
        apart = some[:, None] - known.means
        found.append(torch.einsum("nkd,de,nke->nk", apart, known.precision, apart).amin(1))
    return torch.cat(found)


def sparsity(known: References, features: Tensor, classes: Tensor) -> Tensor:
    """Minus the log of a Gaussian kernel's mean over the training images of the class, [n]; a class without
    any is as far as can be.
    """
    found = torch.full((len(features),), torch.inf, dtype=torch.float64, device=features.device)
    pooled = known.pooled(features)
    for one in classes.unique():
        kept, some = known.pooled(known.kept[known.labels == one]), classes == one
        if len(kept):
            apart = torch.cdist(pooled[some], kept) ** 2 / (2 * known.width**2)
            found[some] = math.log(len(kept)) - (-apart).logsumexp(1)
    return found.nan_to_num(posinf=torch.finfo(torch.float64).max)


# From other images ---------------------------------------------------------------------------------------


def predicted(model: nn.Module, images: Tensor) -> Tensor:
    """Logits [n, classes] of images [n, ...], as many at a time as memory has room for."""
    return training.predict(model, images, batch=at_once(images, 1000))


def eight_bits(images: Tensor) -> Tensor:
    """Rounded to multiples of 1/255, as a file keeps them."""
    return (images * 255).round() / 255


def fewer_bits(images: Tensor, bits: int) -> Tensor:
    """Rounded to 2^bits levels."""
    most = 2**bits - 1
    return (images * most).round() / most


def median(images: Tensor, size: int = 2) -> Tensor:
    """The median of each window of size x size pixels, the image mirrored at its edges."""
    before, after = (size - 1) // 2, size // 2
    padded = nn.functional.pad(images, (before, after, before, after), mode="reflect")
    windows = padded.unfold(2, size, 1).unfold(3, size, 1)
    few = max(1, NUMBERS // windows[:1].numel())
    return torch.cat([some.flatten(4).quantile(0.5, dim=4) for some in windows.split(few)])


def noisy(images: Tensor, *, size: float, seed: int, draw: int = 0) -> Tensor:
    """Images with Gaussian noise of standard deviation `size`, which an image's own pixels and the seed
    decide.
    """
    key = (int(seed), "normal", draw)
    noise = draws(images, key, lambda generator: torch.randn(images.shape[1:], generator=generator))
    return (images + size * noise).clamp(0, 1)


def squeezed(model: nn.Module, images: Tensor) -> Tensor:
    """How far the softmax moves, in L1, when images are squeezed: to 4 bits, by a 2 x 2 median, the greater
    [n] (Xu et al. 2018; without their third squeezer, non-local means).
    """
    before = predicted(model, images).softmax(1).double()
    others = (fewer_bits(images, 4), median(images))
    moved = [(predicted(model, one).softmax(1).double() - before).abs().sum(1).cpu() for one in others]
    return torch.stack(moved).amax(0)


def shifts(model: nn.Module, images: Tensor, *, size: float, repeats: int, seed: int) -> Tensor:
    """How the lead of every class over the predicted one changes under noise, in the mean over `repeats`
    draws: [n, classes] float64, 0 for the predicted class (Roth et al. 2019).
    """
    before = predicted(model, images).double()
    y = before.argmax(1, keepdim=True)
    total = torch.zeros_like(before)
    for draw in range(repeats):
        after = predicted(model, noisy(images, size=size, seed=seed, draw=draw)).double()
        total += (after - after.gather(1, y)) - (before - before.gather(1, y))
    return (total / repeats).cpu()


@dataclass(frozen=True)
class Odds:
    """Means and standard deviations [classes, classes] of `shifts` on clean training images: of the class in
    the second place where the first is predicted.
    """

    mean: Tensor
    sd: Tensor


def fit_odds(moved: Tensor, predicted: Tensor) -> Odds:
    """From the shifts [m, classes] and predictions [m] of clean training images; a class with fewer than two
    has those of all.
    """
    classes = moved.shape[1]
    mean, sd = moved.mean(0).expand(classes, -1).clone(), moved.std(0).expand(classes, -1).clone()
    for one in range(classes):
        own = moved[predicted == one]
        if len(own) > 1:
            mean[one], sd[one] = own.mean(0), own.std(0)
    return Odds(mean, sd.clamp_min(1e-12))


def of_odds(known: Odds, moved: Tensor, predicted: Tensor) -> Tensor:
    """The largest standardised shift [n] towards another class."""
    away = (moved - known.mean[predicted]) / known.sd[predicted]
    return away.scatter(1, predicted[:, None], -torch.inf).amax(1)


# The union -----------------------------------------------------------------------------------------------


def union(held_out: Scores, found: Scores) -> Tensor:
    """The strategies together, one number [n]: minus the smallest, over the strategies, of the share of
    held-out clean images with a score at least as great.

    "If one strategy fails with an attack, another strategy might perform better" (6): flagged where any
    strategy finds it rarer than a threshold, which is fixed for all at once.
    """
    rare = [rarity(held_out[name], found[name]) for name in STRATEGIES.values() if name in found]
    return -torch.stack(rare).amin(0)


def rarity(held_out: Tensor, found: Tensor) -> Tensor:
    """The share [n] of held-out clean scores that are at least as great."""
    order = held_out.sort().values
    return (len(order) - torch.searchsorted(order, found.contiguous())).double() / len(order)
