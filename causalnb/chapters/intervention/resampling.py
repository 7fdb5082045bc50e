"""Statistics of effects over images, with their intervals: images are resampled, or halved so that what is
chosen on one half is scored on the other.

A statistic is a function of weights [resamples, n], of which each row sums to 1: one such function serves the
point, the interval and several trainings on the same images.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace

import torch
from scipy import stats
from torch import Tensor

from causalnb.chapters.intervention import significance
from causalnb.statistics import (
    Estimate,
    mean,
    percentile_ends,
    proportion,
    resampled,
    sample_digest,
)

Statistic = Callable[[Tensor], Tensor]
Means = Callable[[Tensor], Tensor]
HELD = 4_000_000  # numbers in memory at once
SORTED = 64  # values from which tau is computed by sorting instead of by pairs


def drawn(
    statistic: Statistic, n: int, *, level: float = 0.95, seed: int = 0, wide: int = 1, few: int = 0
) -> tuple[float, Tensor]:
    """A statistic on all n images, and on resampled ones [resamples]; the same seed draws the same images.

    wide   how many numbers the statistic holds for each resample, so that few are held at once
    few    only so many resamples, where each takes its time: an interval from them is rough
    """
    point = float(statistic(torch.full((1, n), 1 / n, dtype=torch.float64))[0])
    parts, left = list[Tensor](), few or math.inf
    for (weights,) in resampled(n, level=level, seed=seed):
        some = torch.from_numpy(weights)[: int(min(left, len(weights)))]
        parts += [statistic(piece) for piece in some.split(max(1, HELD // max(wide, n)))]
        left -= len(some)
        if left <= 0:
            break
    return point, torch.cat(parts)


def estimate(
    statistic: Statistic,
    n: int,
    *,
    level: float = 0.95,
    seed: int = 0,
    within: tuple[float, float] = (-math.inf, math.inf),
    centred: bool = True,
    wide: int = 1,
    few: int = 0,
) -> Estimate:
    """A statistic with the interval of a bootstrap over the images.

    Resampled images bring noise of their own, which pulls a correlation or an agreement of rankings towards
    none: centred, the resamples are moved so that their mean is the point, and the ends stay `within` what is
    possible. A statistic that counts is not moved: its ends are plain percentiles.
    """
    point, values = drawn(statistic, n, level=level, seed=seed, wide=wide, few=few)
    shift = point - float(values.mean()) if centred else 0.0
    low, high = percentile_ends(values.numpy()[None].copy(), level)[:, 0] + shift
    digest = sample_digest(values.numpy())
    low, high = (min(max(end, within[0]), within[1]) for end in (float(low), float(high)))
    return Estimate(point, min(low, point), max(high, point), level, "bootstrap", n, draws=digest)


# Statistics of weights -----------------------------------------------------------------------------------


def kendall(a: Tensor, b: Tensor) -> Tensor:
    """Kendall's tau_b along the last axis, of equal shapes [..., m]; 0 where one of them ties everything, and
    so ranks nothing. Values are taken as they are: round what may be equal.

    >>> kendall(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([1.0, 3.0, 2.0])).item()
    0.3333333333333333
    """
    m = a.shape[-1]
    rows, columns = torch.triu_indices(m, m, offset=1)
    one, other = ((x[..., rows] - x[..., columns]).sign().double() for x in (a, b))
    scale = (one.abs().sum(-1) * other.abs().sum(-1)).sqrt()
    return torch.where(scale > 0, (one * other).sum(-1) / scale.clamp(min=1), 0.0)


def pearson(a: Tensor, b: Tensor) -> Tensor:
    """Pearson's R along the last axis; 0 where one of them does not vary."""
    a, b = (x - x.mean(-1, keepdim=True) for x in (a.double(), b.double()))
    scale = (a.square().sum(-1) * b.square().sum(-1)).sqrt()
    return torch.where(scale > 0, (a * b).sum(-1) / scale.clamp(min=1e-300), 0.0)


def correlation(one: Tensor, other: Tensor) -> Statistic:
    """R over sets (or channels) of the mean effects of two perturbations on the same images, [n, m] each."""
    return lambda weights: pearson(weights @ one.double(), weights @ other.double())


def agreement(one: Tensor, other: Tensor) -> Statistic:
    """The same of tau_b, for many sets by sorting."""

    def statistic(weights: Tensor) -> Tensor:
        a, b = weights @ one.double(), weights @ other.double()
        if a.shape[1] <= SORTED:
            return kendall(a, b)
        taus = [stats.kendalltau(x, y).statistic for x, y in zip(a.numpy(), b.numpy(), strict=True)]
        return torch.tensor(taus, dtype=torch.float64).nan_to_num()

    return statistic


def common(one: Tensor, other: Tensor, k: int) -> Statistic:
    """Of the top k of one, the share that is in the top k of the other."""

    def statistic(weights: Tensor) -> Tensor:
        tops = [(weights @ x.double()).topk(k, dim=1).indices for x in (one, other)]
        return (tops[0][:, :, None] == tops[1][:, None, :]).any(2).double().mean(1)

    return statistic


def least_agreement(table: Tensor | Means, *, base: int = 0) -> Statistic:
    """The least tau_b between the ranking of channels at one size and at each of the others: table [n, sizes,
    channels] of A_j^gamma, or what makes the means [resamples, sizes, channels] of weights; base the place of
    that size (Fig. 4).
    """

    def statistic(weights: Tensor) -> Tensor:
        if isinstance(table, Tensor):
            means = torch.einsum("rn,nsc->rsc", weights, table.double())
        else:
            means = table(weights)
        each = kendall(means, means[:, base : base + 1].expand_as(means))
        return torch.cat([each[:, :base], each[:, base + 1 :]], dim=1).amin(1)

    return statistic


def least_step(means: Tensor) -> Statistic:
    """The least rise of M^gamma from a size to the next: means [n, sizes]."""
    return lambda weights: (weights @ means.double()).diff(dim=1).amin(1)


def share_of_sets(values: Tensor, *, above: float | None = None, below: float | None = None) -> Statistic:
    """The share of sets whose mean effect is at least `above`, or at most `below`: values [n, m]."""

    def statistic(weights: Tensor) -> Tensor:
        means = weights @ values.double()
        held = means >= above - 1e-9 if above is not None else means <= (below or 0.0) + 1e-9
        return held.double().mean(1)

    return statistic


def onset(wrong: Mapping[int, Tensor], reach: float = 0.9) -> Statistic:
    """The first size at which some set is wrong on a share `reach` of the images; one more than the largest
    where none is. wrong: size -> [n, sets].
    """
    sizes = sorted(wrong)

    def statistic(weights: Tensor) -> Tensor:
        best = torch.stack([(weights @ wrong[size].double()).amax(1) for size in sizes], dim=1)
        there = best >= reach - 1e-9
        first = torch.where(there.any(1), there.long().argmax(1), len(sizes))
        return torch.tensor([*sizes, sizes[-1] + 1], dtype=torch.float64)[first]

    return statistic


def participation(shares: Tensor) -> Statistic:
    """Over how many channels an effect is spread, the participation ratio (sum x)^2 / sum x^2 of its means:
    shares [n, channels], from 1 (one channel) to their number.
    """

    def statistic(weights: Tensor) -> Tensor:
        means = weights @ shares.double()
        return means.sum(1) ** 2 / means.square().sum(1).clamp(min=1e-300)

    return statistic


def less(one: Statistic, other: Statistic) -> Statistic:
    """One statistic less another, on the same resampled images."""
    return lambda weights: one(weights) - other(weights)


def excess(one: Tensor, other: Tensor, noise: Tensor, *, level: float = 0.95, seed: int = 0) -> Estimate:
    """By how much two attacks agree more with each other than either does with noise: R(one, other) less the
    greater of R(one, noise) and R(other, noise), over channels.

    one, other, noise   [n, channels] effects of single channels; images and channels are resampled together,
                        as another layer would have other channels
    """
    generator = torch.Generator().manual_seed(seed)

    def of(means: tuple[Tensor, ...]) -> Tensor:
        a, b, c = means
        return pearson(a, b) - torch.maximum(pearson(a, c), pearson(b, c))

    def statistic(weights: Tensor) -> Tensor:
        means = [weights @ x.double() for x in (one, other, noise)]
        shape = (len(weights), one.shape[1])
        if len(weights) == 1 and bool((weights == weights[:, :1]).all()):  # the point: all channels once
            return of((means[0], means[1], means[2]))
        drawn_channels = torch.randint(one.shape[1], shape, generator=generator)
        a, b, c = (x.gather(1, drawn_channels) for x in means)
        return of((a, b, c))

    return estimate(statistic, len(one), level=level, seed=seed, within=(-2, 2))


def split_half(one: Tensor, other: Tensor, *, seed: int = 0) -> float:
    """R of one perturbation's mean effects on half of the images with the other's on the other half, the mean
    of both ways: what the same images have in common by chance does not enter. [n, m] each.
    """
    first = halves(len(one), seed=seed)
    ways = [(one[half].double().mean(0), other[~half].double().mean(0)) for half in (first, ~first)]
    return float(sum(pearson(a, b) for a, b in ways) / 2)


# Halves --------------------------------------------------------------------------------------------------


def halves(n: int, *, seed: int) -> Tensor:
    """Which half each of n images is in, as equal as can be: [n], bool."""
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    return torch.zeros(n, dtype=torch.bool).scatter_(0, order[: n // 2], True)


def held_out(values: Tensor, choose: Callable[[Tensor], Tensor], *, seed: int = 0) -> Tensor:
    """Each image scored by what was chosen on the half that it is not in: [n].

    values   [n, m]; choose: mean effects [m] -> weights [m], such as 1 for the greatest
    """
    first, made = halves(len(values), seed=seed), torch.empty(len(values), dtype=torch.float64)
    for half in (first, ~first):
        made[half] = values[half].double() @ choose(values[~half].double().mean(0)).double()
    return made


def top(k: int = 1) -> Callable[[Tensor], Tensor]:
    """The mean over the k greatest."""
    return lambda means: torch.zeros_like(means).index_fill_(0, means.topk(k).indices, 1 / k)


def bottom(k: int = 1) -> Callable[[Tensor], Tensor]:
    """The mean over the k least."""
    return lambda means: torch.zeros_like(means).index_fill_(0, (-means).topk(k).indices, 1 / k)


def top_less_bottom(k: int) -> Callable[[Tensor], Tensor]:
    """The k greatest less the k least."""
    return lambda means: top(k)(means) - bottom(k)(means)


def top_less_rest(means: Tensor) -> Tensor:
    """The greatest less the mean of all others."""
    first = top()(means)
    return first - (1 - first) / (len(means) - 1)


def chosen(
    values: Tensor, choose: Callable[[Tensor], Tensor], *, level: float = 0.95, seed: int = 0
) -> Estimate:
    """The mean of `held_out`, with a bootstrap over the images."""
    return mean(held_out(values, choose, seed=seed).numpy(), level=level, seed=seed)


def greatest(wrong: Tensor, *, level: float = 0.95, seed: int = 0) -> Estimate:
    """AEA of the set that costs most: held out, so that choosing it adds nothing.

    From the lower end of the held-out share to a bound above the greatest of all sets' shares at once: what a
    claim that no set does it must stay under. wrong: [n, sets], of images that are right when clean.
    """
    own = held_out(wrong, top(), seed=seed)
    found = proportion(int(own.sum()), len(own), level=level)
    high = max(found.ends[1], _above_all(wrong, level=level, seed=seed))
    return replace(found, high=high, method="held out, below all")


def _above_all(wrong: Tensor, *, level: float, seed: int) -> float:
    """The greatest share, and how far any share may lie below its own: by bootstrap over the images, at least
    by Wilson's end.
    """
    means = wrong.double().mean(0)

    def furthest(weights: Tensor) -> Tensor:
        return (means - weights @ wrong.double()).amax(1)

    _, apart = drawn(furthest, len(wrong), level=level, seed=seed, wide=wrong.shape[1])
    reach = float(means.max()) + float(torch.quantile(apart, (1 + level) / 2))
    most = int(wrong.sum(0).max())
    return min(1.0, max(reach, proportion(most, len(wrong), level=level).ends[1]))


# The printed map over sizes ------------------------------------------------------------------------------


def relative_difference(effects: Tensor) -> Statistic:
    """Mean |A_j - A_k| over pairs, over the mean effect: effects [n, channels] at one size."""

    def statistic(weights: Tensor) -> Tensor:
        means = weights @ effects.double()
        rows, columns = torch.triu_indices(means.shape[1], means.shape[1], offset=1)
        return (means[:, rows] - means[:, columns]).abs().mean(1) / means.mean(1)

    return statistic


def printed_map(
    values: Tensor, sets: Tensor, channels: int, *, resamples: int, seed: int
) -> dict[str, Tensor]:
    """Red cells and the median p of the printed map, on all images (first) and on resampled ones:
    [1 + resamples] each. The test takes its time: few resamples, an interval from them is rough.

    values   [n, m] effects of all sets of one size
    """
    generator, n = torch.Generator().manual_seed(seed), len(values)
    rows = [torch.arange(n), *(torch.randint(n, (n,), generator=generator) for _ in range(resamples))]
    maps = [significance.rank_sum_map(values[row].double().mean(0), sets, channels) for row in rows]
    upper = torch.triu_indices(channels, channels, offset=1)
    return {
        "red": torch.tensor([float(significance.red(p)) for p in maps]),
        "p": torch.stack([p[upper[0], upper[1]].median() for p in maps]),
    }


def correlation_p(r: float, n: int) -> float:
    """Two-sided p of R over n independent points, Student's t with n - 2 degrees.

    >>> round(correlation_p(0.497, 16), 3)
    0.05
    """
    t = r * ((n - 2) / max(1 - r * r, 1e-300)) ** 0.5
    return float(2 * stats.t.sf(abs(t), n - 2))
