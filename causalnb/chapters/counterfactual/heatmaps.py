"""Heat maps of causal filters (Debbi 2024, 5): where a prototype's features respond in an image."""

import torch
from torch import Tensor


def heat_maps(activations: Tensor, causal: Tensor) -> Tensor:
    """The mean response of the causal filters at each place, from its least to its greatest as 0 to 1; 0
    everywhere where it does not vary.

    activations  [n, filters, height, width], of the layer whose filters they are
    causal       [n, filters] or [filters], the filters with CI > 0 in the prototype of the predicted class
    returns      [n, height, width]

    The paper draws the most important filters; its code takes all causal ones, each with the same weight, and
    clips at 0.
    """
    weights = causal.to(activations).expand(activations.shape[:2])
    means = torch.einsum("nfhw,nf->nhw", activations, weights) / weights.sum(1).clamp_min(1)[:, None, None]
    means = means.clamp_min(0)
    low, high = (getattr(means.flatten(1), end)(1)[:, None, None] for end in ("amin", "amax"))
    return (means - low) / torch.where(high > low, high - low, torch.ones_like(high))


def overlap(first: Tensor, second: Tensor, *, share: float = 0.2) -> Tensor:
    """Intersection over union [n] of the brightest share of two maps [n, height, width]; a map that does not
    vary has no brightest places, and overlaps with none.
    """
    a, b = (_brightest(maps, share) for maps in (first, second))
    return (a & b).sum(1).double() / (a | b).sum(1).clamp_min(1)


def _brightest(maps: Tensor, share: float) -> Tensor:
    flat = maps.flatten(1)
    edge = flat.quantile(1 - share, dim=1, keepdim=True)
    return (flat >= edge) & (flat.amax(1) > flat.amin(1))[:, None]
