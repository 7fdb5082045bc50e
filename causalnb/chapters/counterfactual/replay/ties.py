"""What the last places of the published numbers tell: float32 ties, the grid of probabilities near 1, a mask
that was not put back, and images that were computed twice.
"""

from dataclasses import dataclass

import torch
from scipy import stats
from torch import Tensor

from causalnb.chapters.counterfactual import strategies
from causalnb.chapters.counterfactual.replay.counts import ATTACKS
from causalnb.chapters.counterfactual.replay.vectors import FILTERS, Vectors, load

LAST = FILTERS - 1
GRID = 2.0**24  # of float32 from one half to one
SAME = 1e-8  # a difference of float32 CI that is rounding


# Zeros and confidence ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ties:
    """Zero filters of CIFAR vectors against the spread of their CI, which falls as the probability nears 1.

    n          distinct vectors of the six attacks; many: those with at least `zeros` zero filters
    widest     the largest standard deviation among these
    spread     vectors whose standard deviation is at least `least`; of_many: of them with so many zeros
    spearman   rank correlation of zeros and spread, by attack
    """

    n: int
    many: int
    widest: float
    spread: int
    of_many: int
    spearman: dict[str, float]


def ties(*, zeros: int = 5, least: float = 3e-5) -> Ties:
    """Whether S3 counts features or ties: the standard deviation is the same whichever filter the baseline
    lacks.
    """
    each = {attack: _zeros_and_spread(load(f"cifar.{attack}").ci) for attack in ATTACKS}
    count, spread = (torch.cat(part) for part in zip(*each.values(), strict=True))
    many, wide = count >= zeros, spread >= least
    return Ties(
        n=len(count),
        many=int(many.sum()),
        widest=float(spread[many].max()),
        spread=int(wide.sum()),
        of_many=int((many & wide).sum()),
        spearman={attack: float(stats.spearmanr(*pair).statistic) for attack, pair in each.items()},
    )


def _zeros_and_spread(ci: Tensor) -> tuple[Tensor, Tensor]:
    return strategies.zeros(ci), ci.double().std(1)


def on_grid(ci: Tensor) -> Tensor:
    """[n] whether every CI is a whole multiple of 2^-24: then P and every P' are at least one half, where
    float32 has no finer steps.
    """
    steps = ci.double() * GRID
    return (steps == steps.round()).all(1)


def grids() -> dict[str, tuple[int, int]]:
    """Vectors on the grid, and of how many, for each set of ImageNet."""
    sets = ("clean", *ATTACKS, "pgd16_t")
    return {
        name: (int(on_grid(load(f"imagenet.{name}").ci).sum()), len(load(f"imagenet.{name}")))
        for name in sets
    }


def half_or_more(ci: Tensor) -> Tensor:
    """[n] images that surely had P >= 1/2: some CI is as large, or all lie on the grid."""
    return (ci.amax(1) >= 0.5) | on_grid(ci)


# The mask that was not put back --------------------------------------------------------------------------


def stale(vectors: Vectors) -> Tensor:
    """[n] vectors in which filter 511 is exactly 0: the baseline lacks it already."""
    return vectors.ci[:, LAST] == 0


def zero_frequency(vectors: Vectors) -> tuple[float, float, float]:
    """How often CI is 0 in filter 511, and in the others: their median and largest frequency."""
    often = (vectors.ci == 0).double().mean(0)
    return float(often[LAST]), float(often[:LAST].median()), float(often[:LAST].max())


@dataclass(frozen=True)
class Twice:
    """One image in two records.

    shift      the middle of the differences, stale less fresh; spread: their largest distance from it
    expected   -CI of filter 511 in the fresh record, which the shift is where the mask explains it
    causal     causal filters in the fresh and the stale record
    fresh      whether exactly one of the two is fresh
    """

    key: str
    shift: float
    spread: float
    expected: float
    causal: tuple[int, int]
    fresh: bool


def twice(vectors: Vectors) -> list[Twice]:
    """Images that a file has more than once, each earlier record with the last."""
    return [
        pair(vectors.keys[row], vectors.ci[row], earlier)
        for row, earlier in zip(vectors.again.tolist(), vectors.repeated, strict=True)
    ]


def across(one: Vectors, other: Vectors) -> list[Twice]:
    """Images that two files have under the same key."""
    at = {key: row for row, key in enumerate(other.keys)}
    return [pair(key, one.ci[row], other.ci[at[key]]) for row, key in enumerate(one.keys) if key in at]


def pair(key: str, one: Tensor, other: Tensor) -> Twice:
    """Two records of one image."""
    fresh, old = (other, one) if one[LAST] == 0 and other[LAST] != 0 else (one, other)
    apart = old.double() - fresh.double()
    middle = (apart.max() + apart.min()) / 2
    return Twice(
        key=key,
        shift=float(middle),
        spread=float((apart.max() - apart.min()) / 2),
        expected=-float(fresh[LAST]),
        causal=(int(strategies.causal(fresh)), int(strategies.causal(old))),
        fresh=bool((fresh[LAST] != 0) & (old[LAST] == 0)),
    )


@dataclass(frozen=True)
class Alike:
    """Two published attacks on the same images: common keys but for the prediction, of these with the same
    prediction, and with vectors that are equal bit for bit.
    """

    common: int
    labels: int
    vectors: int


def alike(one: Vectors, other: Vectors) -> Alike:
    """Whether two attacks gave the same images, as far as vectors tell; an image is known by class, target
    and number.
    """
    rows = {(key.source, key.image): row for row, key in enumerate(other.read)}
    pairs = [(row, rows[at]) for row, key in enumerate(one.read) if (at := (key.source, key.image)) in rows]
    same = [(a, b) for a, b in pairs if one.labels[a] == other.labels[b]]
    equal = sum(bool((one.ci[a] == other.ci[b]).all()) for a, b in same)
    return Alike(len(pairs), len(same), equal)


def multiplicity(vectors: Vectors) -> Tensor:
    """[n] how often the commonest value of a vector occurs: a cluster of dead filters would show as a large
    tie.
    """
    return torch.tensor([int(row.unique(return_counts=True)[1].max()) for row in vectors.ci])
