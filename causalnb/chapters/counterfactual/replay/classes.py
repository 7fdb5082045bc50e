"""Single statistics of the published ImageNet vectors as detectors, and the one comparison in which clean and
attacked images are of the same predicted class: targeted PGD.

The clean vectors are of classes 99 to 149, the attacked images were of classes 0 to 49, so that most
comparisons mix attack and class. The targets of PGD are class c + 100, for which clean vectors are there; the
prediction itself is not published, and this takes each attack to have reached its target.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy import stats
from torch import Tensor

from causalnb import detection
from causalnb.chapters.counterfactual import strategies
from causalnb.chapters.counterfactual.prototypes import Prototypes
from causalnb.chapters.counterfactual.replay.vectors import load
from causalnb.statistics import Estimate, percentile_ends, resampled

TARGET = 100  # a target is the class of the image and so much
STATISTICS: dict[str, Callable[[Tensor], Tensor]] = {
    "zeros": strategies.zeros,
    "causal": strategies.causal,
    "largest": lambda ci: ci.abs().amax(1),
}


def single(statistic: str, attack: str) -> tuple[Estimate, float]:
    """AUC of minus a statistic, attacked against clean, and the share of attacked images that are flagged
    where at most 5 % of the clean ones are.
    """
    clean, attacked = (
        -STATISTICS[statistic](load(f"imagenet.{name}").ci).double().numpy() for name in ("clean", attack)
    )
    flags = detection.threshold_at(0.05, clean).flags(attacked)
    return detection.auc(clean, attacked), float(flags.mean())


# Targeted PGD, class by class ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Matched:
    """A score of clean and of attacked images with the class that each has for the network, [n] each."""

    clean: Tensor
    clean_classes: Tensor
    attacked: Tensor
    attacked_classes: Tensor


def _both() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Clean and attacked vectors, less clean ones that are constant or of a class that is no target."""
    clean, attacked = load("imagenet.clean"), load("imagenet.pgd_t")
    targets = attacked.classes + TARGET
    kept = torch.isin(clean.classes, targets) & (clean.ci != clean.ci[:, :1]).any(1)
    return clean.ci[kept].double(), clean.classes[kept], attacked.ci.double(), targets


def with_class_means() -> Matched:
    """rho with the mean clean vector of the class; a clean image's own vector is left out of it."""
    clean, classes, attacked, targets = _both()
    means = Prototypes(*_means(clean, classes))
    count = (classes[:, None] == classes).sum(1, keepdim=True)
    others = (means.of(classes) * count - clean) / (count - 1)
    return Matched(
        strategies.pearson(clean, others).rho,
        classes,
        strategies.correlation(attacked, targets, means).rho,
        targets,
    )


def _means(ci: Tensor, classes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    known = classes.unique()
    means = torch.stack([ci[classes == one].mean(0) for one in known])
    return means, known, torch.full_like(known, -1)


def closest_classes(*, top: int = 1) -> tuple[int, int, int, int]:
    """How many attacked vectors have the mean clean vector of their target among the `top` that correlate
    best with them, and of how many; the same of clean vectors, left out of their own mean.
    """
    clean, classes, attacked, targets = _both()
    means = Prototypes(*_means(clean, classes))
    hits = int((strategies.rank(attacked, targets, means) <= top).sum())
    count = (classes[:, None] == classes).sum(1, keepdim=True)
    own = (means.of(classes) * count - clean) / (count - 1)
    rho = strategies.pearson(clean[:, None], means.ci).rho
    rho[torch.arange(len(clean)), means.row(classes)] = strategies.pearson(clean, own).rho
    better = (rho > rho.gather(1, means.row(classes)[:, None])).sum(1)
    return hits, len(attacked), int((better < top).sum()), len(clean)


def auc_over_classes(of: Matched, *, level: float = 0.95, seed: int = 0) -> Estimate:
    """AUC of -score, attacked against clean, with a percentile bootstrap over classes: images of one class
    are no independent draws.
    """
    known = torch.cat([of.clean_classes, of.attacked_classes]).unique()
    sides = [(known[:, None] == classes).double() for classes in (of.clean_classes, of.attacked_classes)]
    difference = of.clean[:, None] - of.attacked
    wins = sides[0] @ ((difference > 0).double() + 0.5 * (difference == 0).double()) @ sides[1].T
    pairs = sides[0].sum(1)[:, None] * sides[1].sum(1)
    drawn = [
        (weights @ wins.numpy() * weights).sum(1) / (weights @ pairs.numpy() * weights).sum(1)
        for (weights,) in resampled(len(known), level=level, seed=seed)
    ]
    low, high = percentile_ends(np.concatenate(drawn)[None], level)[:, 0].tolist()
    value = float(wins.sum() / pairs.sum())
    return Estimate(value, low, high, level, "bootstrap over classes", len(known))


def accepted_by_common(*, seed: int = 0) -> dict[tuple[int, int, strategies.Rule], tuple[float, float]]:
    """The shares of clean and of attacked images that S4 accepts, with one clean image drawn for each class
    as its prototype and left out.
    """
    clean, classes, attacked, targets = _both()
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(clean), generator=generator)
    chosen = torch.stack([order[classes[order] == one][0] for one in classes.unique()])
    own = Prototypes(clean[chosen], classes.unique(), chosen)
    rest = torch.ones(len(clean), dtype=torch.bool).index_fill(0, chosen, False)
    found: dict[tuple[int, int, strategies.Rule], tuple[float, float]] = {}
    for n, m in strategies.PAIRS:
        for rule in ("containment", "meeting"):
            first, second = (
                float(strategies.common(ci, y, own, n=n, m=m).accepted(rule).double().mean())
                for ci, y in ((clean[rest], classes[rest]), (attacked, targets))
            )
            found[n, m, rule] = first, second
    return found


# Normality -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Normality:
    """Of a set of vectors that are not constant: how many Shapiro's test leaves as normal at p > 0.05, of how
    many, and their median excess kurtosis (0 for the normal law).
    """

    passed: int
    n: int
    kurtosis: float


def normality(name: str) -> Normality:
    """Whether vectors follow the normal law; with 512 values the test sees small departures too, so the size
    is told beside it.
    """
    rows = [row for row in load(name).ci.double().numpy() if np.ptp(row) > 0]
    passed = sum(stats.shapiro(row).pvalue > 0.05 for row in rows)
    return Normality(int(passed), len(rows), float(np.median([stats.kurtosis(row) for row in rows])))
