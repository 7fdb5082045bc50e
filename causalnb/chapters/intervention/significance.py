"""Whether channels differ: the printed rank-sum test (App. A), its placebo, and tests whose unit is the
image.

Sets of channels are all there are, and share channels and images: they are no sample. Images are one.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from scipy import stats
from torch import Tensor

from causalnb.chapters.intervention import sets as sets_

RED = 0.05  # below it a cell of the printed maps is red
DIGITS = 9  # to which values are rounded before they are ranked: ties stay ties


# As printed ----------------------------------------------------------------------------------------------


def rank_sum_map(effects: Tensor, sets: Tensor, channels: int) -> Tensor:
    """p of the two-sided Wilcoxon rank-sum test between the effects of the sets with channel j and without
    k, and of those with k and without j (A1, A2), for all pairs: [channels, channels], the diagonal 1.

    effects   [m] AEL of each set (the printed right-hand side of A2 says AEA); sets: [m], of one size
    """
    held, ranked = sets_.members(sets, channels), ranks(effects)
    rows, columns = torch.triu_indices(channels, channels, offset=1)
    found = torch.ones(channels, channels, dtype=torch.float64)
    m = math.comb(channels - 2, int(held[0].sum()) - 1)
    if not m or not len(sets):
        return found
    only = held.T[rows] & ~held.T[columns], held.T[columns] & ~held.T[rows]
    one, other = (ranked.expand(len(rows), -1)[mask].view(len(rows), m) for mask in only)
    other = other.sort(dim=1).values
    below, up_to = (torch.searchsorted(other, one, right=right) for right in (False, True))
    wins = (below + up_to).double().sum(1) / 2  # Mann and Whitney's U, ties by halves
    z = (wins - m * m / 2) / math.sqrt(m * m * (2 * m + 1) / 12)
    found[rows, columns] = found[columns, rows] = torch.from_numpy(2 * stats.norm.sf(z.abs().numpy()))
    return found


def ranks(effects: Tensor) -> Tensor:
    """Ranks of values, ties averaged; rounded before to nine digits of the largest, so that rounding in the
    last place breaks no tie.
    """
    values = effects.double()
    scale = float(values.abs().max()) or 1.0
    rounded = (values / scale * 10**DIGITS).round()
    return torch.from_numpy(stats.rankdata(rounded.numpy()))


def red(p: Tensor) -> int:
    """How many pairs of channels are red in a map."""
    return int((p < RED).triu(1).sum())


def false_alarms(channels: int, size: int) -> float:
    """How often the printed test calls two exchangeable channels of additive effects different, whatever the
    number of images and the size of the effects: 2 Phi(-1.96 / kappa), kappa^2 = (3 / pi) (H - 3)
    C(H - 2, gamma - 1) / ((gamma - 1) (H - 1 - gamma)). Derived here, for 1 < gamma < H - 1.

    >>> [round(false_alarms(16, size), 2) for size in (2, 3, 7, 14)]
    [0.59, 0.78, 0.94, 0.59]
    """
    spread = (size - 1) * (channels - 1 - size)
    if spread <= 0:
        raise ValueError(f"at size {size} of {channels} the test compares one value with one")
    kappa = math.sqrt(3 / math.pi * (channels - 3) * math.comb(channels - 2, size - 1) / spread)
    return float(2 * stats.norm.sf(stats.norm.isf(RED / 2) / kappa))


def shuffled(values: Tensor, sets: Tensor, channels: int, *, seed: int) -> Tensor:
    """The placebo: the channels of each image renamed by a permutation of its own, [n, m].

    Then all channels are exchangeable, while what an image's sets have to do with each other stays.

    values   [n, m] of all sets of one size; sets: [m]
    """
    generator = torch.Generator().manual_seed(seed)
    ascending = sets.argsort()
    in_order = sets[ascending]
    made = torch.empty_like(values)
    for row in range(len(values)):
        renamed = sets_.permuted(sets, torch.randperm(channels, generator=generator))
        place = torch.searchsorted(in_order, renamed)
        if not torch.equal(in_order[place.clamp(max=len(sets) - 1)], renamed):
            raise ValueError("the placebo needs all sets of a size")
        made[row] = values[row, ascending[place]]
    return made


# Images as the unit --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Pairs:
    """All pairs of channels, [channels, channels].

    difference   mean over images of A_j - A_k, antisymmetric
    relative     the same over the mean effect of all channels: what is significant need not be large
    p, holm      of the paired test, as it is and adjusted for all pairs; symmetric, the diagonal 1
    """

    difference: Tensor
    relative: Tensor
    p: Tensor
    holm: Tensor

    @property
    def share(self) -> float:
        """Of the pairs that differ after Holm's adjustment."""
        rows, columns = torch.triu_indices(len(self.holm), len(self.holm), offset=1)
        return float((self.holm[rows, columns] < RED).double().mean())


def paired(effects: Tensor) -> Pairs:
    """Wilcoxon's signed-rank test of A_j against A_k over the images, for all pairs of channels.

    effects   [n, channels], of each image A_j at one size; with 16 channels n >= 13, below which no p can be
              small enough after the adjustment
    """
    values = effects.double()
    channels = values.shape[1]
    rows, columns = torch.triu_indices(channels, channels, offset=1)
    apart = values[:, rows] - values[:, columns]
    apart = torch.where(apart.abs() > 10.0**-DIGITS * values.abs().max(), apart, 0.0)
    moved = (apart != 0).any(0)
    p = torch.ones(len(rows), dtype=torch.float64)
    if moved.any():
        p[moved] = torch.from_numpy(np.atleast_1d(stats.wilcoxon(apart[:, moved].numpy(), axis=0).pvalue))
    mean = apart.mean(0)

    def square(upper: Tensor, sign: int, diagonal: float) -> Tensor:
        made = torch.full((channels, channels), diagonal, dtype=torch.float64)
        made[rows, columns], made[columns, rows] = upper, sign * upper
        return made

    difference = square(mean, -1, 0.0)
    return Pairs(difference, difference / values.mean(), square(p, 1, 1.0), square(holm(p), 1, 1.0))


def holm(p: Tensor) -> Tensor:
    """p adjusted so that any false one among all m is as rare as its value says (Holm 1979).

    >>> holm(torch.tensor([0.5, 0.25, 0.0])).tolist()
    [0.5, 0.5, 0.0]
    """
    order = p.double().argsort()
    steps = p.double()[order] * torch.arange(len(p), 0, -1)
    made = torch.empty(len(p), dtype=torch.float64)
    made[order] = steps.cummax(0).values.clamp(max=1)
    return made


@dataclass(frozen=True)
class Concordance:
    """Friedman's test that images rank the channels no better than chance, and Kendall's W, from 0 (no
    agreement of the images) to 1 (all rank the channels alike).
    """

    p: float
    w: float
    n: int


def concordance(effects: Tensor) -> Concordance:
    """Of effects [n, channels], before any pair is looked at."""
    n, channels = effects.shape
    ranked = torch.stack([ranks(row) for row in effects])
    if (ranked == ranked[:, :1]).all():
        return Concordance(1.0, 0.0, n)  # every image ties all channels
    found = stats.friedmanchisquare(*ranked.T.numpy())
    return Concordance(float(found.pvalue), float(found.statistic) / (n * (channels - 1)), n)
