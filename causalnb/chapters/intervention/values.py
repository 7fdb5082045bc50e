"""What a set function v over sets of channels says of each channel: the paper's averages, Shapley and Banzhaf
values from them, dividends, and shares of variance by order.

v is an effect of one image or its mean over images; v(no channel) = 0 unless it is said otherwise. Tensors
alone, float64.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from causalnb.chapters.intervention import sets as sets_


@dataclass(frozen=True)
class Table:
    """The paper's averages by size and channel, of each of n set functions.

    sizes      the sizes gamma that are there, all their sets being known
    channel    [n, sizes, channels] A_j^gamma, the mean over the sets that hold channel j (Eqs. 7, 11)
    mean       [n, sizes] M^gamma, the mean over all sets of the size
    """

    sizes: tuple[int, ...]
    channel: Tensor
    mean: Tensor

    @property
    def channels(self) -> int:
        """H."""
        return self.channel.shape[-1]

    def at(self, size: int) -> Tensor:
        """A_j^gamma of one size, [n, channels]."""
        return self.channel[:, self.sizes.index(size)]

    def averaged(self) -> "Table":
        """The same of the mean over the n: averages over images and over sets can change places (I11)."""
        return Table(self.sizes, self.channel.mean(0, keepdim=True), self.mean.mean(0, keepdim=True))

    def without(self) -> Tensor:
        """The mean over the sets of a size that do not hold channel j, [n, sizes, channels] (I5); at size H
        there are none, and it is 0.
        """
        size = torch.tensor(self.sizes, dtype=torch.float64)[:, None]
        rest = (self.channels - size).clamp(min=1)
        found = (self.channels * self.mean[..., None] - size * self.channel) / rest
        return torch.where(size == self.channels, 0.0, found)


def table(values: Tensor, sets: Tensor, channels: int) -> Table:
    """The table of the sizes of which all sets are given; the others are left out.

    values   [n, m] v of each set; sets: [m], the same for all n
    """
    of, found = sets_.sizes(sets, channels), []
    for size in range(1, channels + 1):
        held = (of == size).nonzero().flatten()
        if len(held) == math.comb(channels, size) == len(sets[held].unique()):
            found.append((size, values[:, held].double(), sets_.members(sets[held], channels).double()))
    channel = [v @ inside / math.comb(channels - 1, size - 1) for size, v, inside in found]
    mean = [v.mean(1) for _, v, _ in found]
    n = len(values)
    return Table(
        tuple(size for size, _, _ in found),
        torch.stack(channel, 1) if found else torch.zeros(n, 0, channels, dtype=torch.float64),
        torch.stack(mean, 1) if found else torch.zeros(n, 0, dtype=torch.float64),
    )


def shapley(of: Table) -> Tensor:
    """Shapley values [n, channels] from the table of all sizes (I9): phi_j = v(N) / H + sum over gamma < H of
    (A_j^gamma - M^gamma) / (H - gamma).
    """
    h = _all_sizes(of)
    weights = 1 / (h - torch.arange(1, h, dtype=torch.float64))
    apart = of.channel[:, :-1] - of.mean[:, :-1, None]
    return of.mean[:, -1:] / h + (weights[:, None] * apart).sum(1)


def banzhaf(of: Table) -> Tensor:
    """Banzhaf values [n, channels], what a channel adds to a set of the others drawn with equal chances
    (I10).
    """
    h = _all_sizes(of)
    held = torch.tensor([math.comb(h - 1, size - 1) for size in of.sizes], dtype=torch.float64)
    total = torch.tensor([math.comb(h, size) for size in of.sizes], dtype=torch.float64)
    return (2 * (held[:, None] * of.channel).sum(1) - (total * of.mean).sum(1)[:, None]) / 2 ** (h - 1)


def _all_sizes(of: Table) -> int:
    if of.sizes != tuple(range(1, of.channels + 1)):
        raise ValueError(f"these values need every size from 1 to {of.channels}, given {of.sizes}")
    return of.channels


# Over all sets -------------------------------------------------------------------------------------------


def dividends(v: Tensor) -> Tensor:
    """Harsanyi dividends d with v(S) = sum of d(T) over T in S (I14): v [..., 2^H] by set number -> the same.

    Alternating sums: noise grows with the size of T.
    """
    return _butterfly(v, lambda low, high: (low, high - low))


def sums(d: Tensor) -> Tensor:
    """Back again: v(S), the sum of d(T) over T in S."""
    return _butterfly(d, lambda low, high: (low, high + low))


def walsh(v: Tensor) -> Tensor:
    """Walsh coefficients w(S) = 2^-H sum over sets of (-1)^|S and set| v(set) (I16): v [..., 2^H] -> the
    same.
    """
    return _butterfly(v, lambda low, high: (low + high, low - high)) / v.shape[-1]


def shares(v: Tensor) -> Tensor:
    """The share of the variance of v over all sets that is of order 1, 2, ..., H: v [..., 2^H] -> [..., H].

    Order 1 alone where v is additive. A constant v has no variance and shares of 0.

    >>> bits = torch.arange(8)[:, None] >> torch.arange(3) & 1
    >>> [round(share, 9) for share in shares((bits * torch.tensor([1.0, 2.0, 4.0])).sum(1)).tolist()]
    [1.0, 0.0, 0.0]
    """
    channels = v.shape[-1].bit_length() - 1
    of = sets_.sizes(torch.arange(v.shape[-1]), channels)
    squares = walsh(v.double()) ** 2
    by_order = torch.zeros(*v.shape[:-1], channels + 1, dtype=torch.float64)
    by_order.index_add_(-1, of, squares)
    total = by_order[..., 1:].sum(-1, keepdim=True)
    return torch.where(total > 0, by_order[..., 1:] / total.clamp(min=1e-300), 0.0)


def _butterfly(v: Tensor, step: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]) -> Tensor:
    """A step on every pair of sets that differ in one channel, channel by channel."""
    size = v.shape[-1]
    if size & (size - 1):
        raise ValueError(f"{size} values are not one for each set of some channels")
    made = v.double()
    for place in range(size.bit_length() - 1):
        pairs = made.unflatten(-1, (-1, 2, 1 << place))
        made = torch.stack(step(pairs[..., 0, :], pairs[..., 1, :]), dim=-2).flatten(-3)
    return made


def non_monotone(v: Tensor) -> Tensor:
    """The share of (set, channel outside it) at which swapping the channel too lowers v: v [..., 2^H] ->
    [...].
    """
    falls, count = torch.zeros(v.shape[:-1], dtype=torch.float64), 0
    for place in range(v.shape[-1].bit_length() - 1):
        pairs = v.unflatten(-1, (-1, 2, 1 << place))
        lower = (pairs[..., 1, :] < pairs[..., 0, :]).flatten(-2)
        falls, count = falls + lower.sum(-1), count + lower.shape[-1]
    return falls / count
