"""The paper's averages and Shapley values where there are too many sets to swap them all: by permutations of
the channels drawn for each image, with their errors.

Each drawn order is walked forwards and backwards, one more channel swapped at a time; sizes 1, H - 1 and H
are complete. Images are the sampling unit: an order says of its image what it can, more images say more.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from causalnb.chapters.intervention import sets as sets_


@dataclass(frozen=True)
class Sampled:
    """From permutations of H channels on n images; float64.

    phi       [n, H] Shapley values, unbiased for each image; over channels they sum to v(all) exactly
    total     [n, H, H] sums of v over the seen sets of size gamma (second axis) that hold channel j
    count     [n, H, H] how many these are
    mean      [n, H] mean of v over the seen sets of a size, unbiased for M^gamma
    """

    phi: Tensor
    total: Tensor
    count: Tensor
    mean: Tensor

    def take(self, rows: Tensor) -> "Sampled":
        """Some of the images: rows [n], bool."""
        return Sampled(self.phi[rows], self.total[rows], self.count[rows], self.mean[rows])

    def channel(self, weights: Tensor | None = None) -> Tensor:
        """A_j^gamma [..., H, H] over images, the ratio of sums to counts: the mean of one image is undefined
        where no order of its has the channel among the first gamma.

        weights   [..., n] of resampled images; without them all count alike
        """
        weights = torch.ones(len(self.total), dtype=torch.float64) if weights is None else weights.double()
        total, count = (torch.tensordot(weights, one, dims=1) for one in (self.total, self.count.double()))
        return total / count.clamp(min=1e-300)

    @property
    def errors(self) -> Tensor:
        """Standard errors [H, H] of `channel`, over images: of a ratio, by its linear part."""
        n, rate = len(self.total), self.channel()
        left = self.total - rate * self.count
        scale = self.count.double().mean(0).clamp(min=1e-300)
        return left.std(0) / scale / n**0.5


def orders_to_sets(orders: Tensor) -> Tensor:
    """The sets to swap for orders [n, r, H]: of size 1, of size H - 1, all, then the prefixes between, order
    by order; [n, 2 H + 1 + r (H - 3)], where H is at least 3.
    """
    n, _, channels = orders.shape
    ends = torch.cat(
        [sets_.of_size(channels, 1), sets_.of_size(channels, channels - 1), sets_.of_size(channels, channels)]
    )
    between = sets_.prefixes(orders)[..., 1 : channels - 2]
    return torch.cat([ends.expand(n, -1), between.flatten(1)], dim=1)


def sampled(values: Tensor, orders: Tensor) -> Sampled:
    """What the values [n, sets] of the sets of `orders_to_sets` say of the channels.

    Refused: fewer than three channels, of which all sets are soon swapped.
    """
    n, walks, channels = orders.shape
    if channels < 3:
        raise ValueError(f"{channels} channels have few sets: swap them all")
    v = values.double()
    alone, but_one, all_ = v[:, :channels], v[:, channels : 2 * channels], v[:, 2 * channels]
    between = v[:, 2 * channels + 1 :].view(n, walks, channels - 3)
    by_channel = _by_channel(but_one)
    first = alone.gather(1, orders[..., 0])
    last = by_channel.gather(1, orders[..., -1])  # all but the one that comes last
    path = torch.cat(
        [first[..., None], between, last[..., None], all_[:, None, None].expand(-1, walks, 1)], dim=2
    )
    added = path.diff(dim=2, prepend=torch.zeros_like(path[..., :1]))
    phi = torch.zeros(n, walks, channels, dtype=torch.float64).scatter(2, orders, added).mean(1)
    return Sampled(phi, *_sums(path, orders, alone, by_channel, all_))


def _by_channel(but_one: Tensor) -> Tensor:
    """Values of the sets of H - 1 by the channel that each leaves out."""
    channels = but_one.shape[1]
    left_out = (~sets_.members(sets_.of_size(channels, channels - 1), channels)).long().argmax(1)
    return torch.empty_like(but_one).index_copy_(1, left_out, but_one)


def _sums(
    path: Tensor, orders: Tensor, alone: Tensor, by_channel: Tensor, all_: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """`total`, `count` and `mean`, with the complete sizes from all their sets."""
    n, _, channels = path.shape
    place = torch.empty_like(orders).scatter_(
        2, orders, torch.arange(channels).expand_as(orders).contiguous()
    )
    held = place[:, :, None, :] <= torch.arange(channels)[:, None]  # [n, walks, size, channel]
    total = (held * path[..., None]).sum(1)
    count, mean = held.sum(1), path.mean(1)
    total[:, 0], count[:, 0], mean[:, 0] = alone, 1, alone.mean(1)
    whole = by_channel.sum(1, keepdim=True)
    total[:, -2], count[:, -2], mean[:, -2] = whole - by_channel, channels - 1, by_channel.mean(1)
    total[:, -1], count[:, -1], mean[:, -1] = all_[:, None].expand(n, channels), 1, all_
    return total, count, mean
