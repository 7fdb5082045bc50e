"""Sets of channels as whole numbers: channel j is in the set where bit j is 1 (Coppola & Lee 2024, 3.1)."""

import math
from functools import cache
from itertools import combinations

import torch
from torch import Tensor

from causalnb import UserError

WIDEST = 64  # channels that fit an int64; of 64 the last is the sign
SIGN = -(1 << 63)
MOST = 1 << 20  # sets that are listed


@cache
def of_size(channels: int, size: int) -> Tensor:
    """All sets of `size` channels (Omega^gamma), [C(channels, size)], int64, ascending as bits without a
    sign.

    >>> of_size(4, 2).tolist()
    [3, 5, 6, 9, 10, 12]
    """
    _possible(channels, size)
    if (count := math.comb(channels, size)) > MOST:
        raise UserError(
            f"There are {count:,} sets of {size} of {channels} channels, too many to list: swap fewer "
            "channels, or draw sets."
        )
    if size == 0:
        return torch.zeros(1, dtype=torch.int64)
    chosen = torch.tensor(list(combinations(range(channels), size)))
    made = (1 << chosen).sum(1)
    return made[(made ^ SIGN).argsort()]


def up_to(channels: int, size: int) -> Tensor:
    """All sets of 1 to `size` channels, small ones first."""
    return torch.cat([of_size(channels, one) for one in range(1, size + 1)])


def every(channels: int) -> Tensor:
    """All sets, the empty one first: set number i is i. [2^channels]."""
    _possible(channels, 0)
    if 1 << channels > MOST:
        raise UserError(
            f"There are {1 << channels:,} sets of {channels} channels, too many to list: swap few or nearly "
            "all channels, or draw permutations."
        )
    return torch.arange(1 << channels)


def whole(channels: int) -> int:
    """The set of all channels."""
    return (1 << channels) - 1 if channels < WIDEST else -1


def drawn(channels: int, size: int, n: int, *, seed: int) -> Tensor:
    """n sets of `size` channels, drawn with equal chance, none twice: [n] or all there are, ascending."""
    _possible(channels, size)
    n = min(n, math.comb(channels, size))
    generator, found = torch.Generator().manual_seed(seed), torch.zeros(0, dtype=torch.int64)
    while len(found) < n:
        ranks = torch.rand(2 * n, channels, generator=generator).argsort(1)[:, :size]
        new = (1 << ranks).sum(1)
        new = torch.cat([found, new])
        _, first = torch.unique(new, return_inverse=True)
        keep = torch.full((int(first.max()) + 1,), len(new)).scatter_reduce(
            0, first, torch.arange(len(new)), "amin"
        )
        found = new[keep.sort().values][:n]
    return found.sort().values


def members(sets: Tensor, channels: int) -> Tensor:
    """Whether each channel is in each set: sets [...] -> [..., channels], bool.

    >>> members(torch.tensor([5]), 4).tolist()
    [[True, False, True, False]]
    """
    return (sets[..., None] >> torch.arange(channels, device=sets.device)) & 1 == 1


def sizes(sets: Tensor, channels: int) -> Tensor:
    """How many channels each set has (gamma): [...], int64."""
    return members(sets, channels).sum(-1)


def permutations(channels: int, n: int, pairs: int, *, seed: int) -> Tensor:
    """Orders of the channels for n images, `pairs` drawn ones and each of them backwards: [n, 2 pairs,
    channels].
    """
    generator = torch.Generator().manual_seed(seed)
    forward = torch.rand(n, pairs, channels, generator=generator).argsort(2)
    return torch.cat([forward, forward.flip(2)], dim=1)


def prefixes(orders: Tensor) -> Tensor:
    """The sets of the first 1, 2, ... channels of each order: orders [..., channels] -> [..., channels]."""
    return (1 << orders).cumsum(-1)


def permuted(sets: Tensor, order: Tensor) -> Tensor:
    """The sets with channel j called order[j]: sets [m], order [channels]."""
    return (members(sets, len(order)).long() << order).sum(-1)


def _possible(channels: int, size: int) -> None:
    if not 1 <= channels <= WIDEST:
        raise UserError(
            f"A layer of {channels} channels has more sets than can be numbered here: name a layer of 1 to "
            f"{WIDEST} channels, or part of it."
        )
    if not 0 <= size <= channels:
        raise UserError(
            f"{size} of {channels} channels cannot be swapped: give a number from 0 to {channels}."
        )
