"""Statistics of effect maps: sparsity and total variation (Guo et al. 2024, Eq. 9 and 10), and one for each
claim of IV-B.

Maps are [n, height, width], or [n, channels, height, width]; masks have their shape; each function returns
one number a map.
"""

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

Border = Literal["inner", "replicate"]


def sparsity(maps: Tensor, *, threshold: float = 0.0) -> Tensor:
    """Sparsity of the positive effects (Guo 2024, Eq. 9): 1 - the share of pixels above `threshold`: [n].

    threshold   as a share of the map's largest |effect|; the paper's is 0

    >>> sparsity(torch.tensor([[[1.0, -1.0], [0.0, 0.001]]]))
    tensor([0.5000])
    >>> sparsity(torch.tensor([[[1.0, -1.0], [0.0, 0.001]]]), threshold=0.01)
    tensor([0.7500])
    """
    flat = maps.flatten(1)
    return 1 - (flat > threshold * flat.abs().amax(1, keepdim=True)).to(flat.dtype).mean(1)


def total_variation(
    maps: Tensor, *, border: Border = "inner", mask: Tensor | None = None, smoothing: float = 0.0
) -> Tensor:
    """Isotropic total variation of each map (Guo 2024, Eq. 10), in the unit of the map: [n].

    border      "inner": differences that exist on both axes; "replicate": the last row and column repeat
    mask        only differences whose three pixels all lie in it
    smoothing   is added under each root, so that there is a gradient where a map is flat

    >>> total_variation(torch.tensor([[[0.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0]]]))
    tensor([3.4142])
    """
    if border not in ("inner", "replicate"):
        raise ValueError(f"border = {border!r}: it is inner or replicate")
    inside = torch.ones_like(maps, dtype=torch.bool) if mask is None else mask
    if border == "replicate":
        maps, inside = _repeat_last(maps), _repeat_last(inside)
    own = maps[..., :-1, :-1]
    down, across = maps[..., 1:, :-1] - own, maps[..., :-1, 1:] - own
    lengths = (down.square() + across.square() + smoothing).sqrt() if smoothing else torch.hypot(down, across)
    return (lengths * (inside[..., :-1, :-1] & inside[..., 1:, :-1] & inside[..., :-1, 1:])).flatten(1).sum(1)


def _repeat_last(maps: Tensor) -> Tensor:
    below = torch.cat([maps, maps[..., -1:, :]], -2)
    return torch.cat([below, below[..., -1:]], -1)


def rescale(maps: Tensor) -> Tensor:
    """Each map over its largest |effect|; a map of zeros stays one.

    >>> rescale(torch.tensor([[[2.0, -4.0]], [[0.0, 0.0]]]))
    tensor([[[ 0.5000, -1.0000]],
    <BLANKLINE>
            [[ 0.0000,  0.0000]]])
    """
    return maps / largest(maps).view(-1, *[1] * (maps.ndim - 1))


def largest(maps: Tensor) -> Tensor:
    """Each map's largest |effect|, 1 for a map of zeros: [n]."""
    found = maps.abs().flatten(1).amax(1)
    return torch.where(found > 0, found, 1)


def digit(images: Tensor) -> Tensor:
    """The pixels that show the object, x > 1/2, as a mask of the maps' shape."""
    return _as_maps(images) > 0.5


def background(images: Tensor) -> Tensor:
    """The pixels that show nothing, x = 0, as a mask of the maps' shape."""
    return _as_maps(images) == 0


def _as_maps(images: Tensor) -> Tensor:
    """Grey images [n, 1, height, width] as [n, height, width]; colour images as they are."""
    return images[:, 0] if images.shape[1] == 1 else images


def positive_mass(maps: Tensor, mask: Tensor) -> Tensor:
    """Sum of the positive effects in the mask: "causal effect intensity of the positive causal effects" (IV-B
    P2).
    """
    return (maps.clamp_min(0) * mask).flatten(1).sum(1)


def negative_mass(maps: Tensor, mask: Tensor) -> Tensor:
    """Sum of the negative effects' sizes in the mask."""
    return positive_mass(-maps, mask)


def positive_share(maps: Tensor, mask: Tensor) -> Tensor:
    """Share of the mask's pixels with a positive effect, P(phi > 0 | mask); 0 for an empty mask."""
    return _share(maps > 0, mask)


def negative_share(maps: Tensor, mask: Tensor) -> Tensor:
    """Share of the mask's pixels with a negative effect: "negative causal effects have increased" (IV-B
    P2).
    """
    return _share(maps < 0, mask)


def flips(before: Tensor, after: Tensor, mask: Tensor) -> Tensor:
    """Share of the mask's pixels "turned from negative causal effects into positive" (IV-B P2).

    The other way round: `flips(after, before, mask)`.
    """
    return _share((before < 0) & (after > 0), mask)


def _share(where: Tensor, mask: Tensor) -> Tensor:
    inside = mask.flatten(1).sum(1)
    return (where & mask).flatten(1).sum(1) / inside.clamp_min(1)


def mean_size(maps: Tensor) -> Tensor:
    """Mean |effect|: "the size of the causal effects" (IV-B (2))."""
    return maps.abs().flatten(1).mean(1)


def correlation(first: Tensor, second: Tensor) -> Tensor:
    """Pearson correlation of two maps over their pixels; 0 where one of them is constant.

    >>> correlation(torch.tensor([[[1.0, 0.0]]]), torch.tensor([[[2.0, 5.0]]])).round(decimals=3)
    tensor([-1.])
    """
    a, b = (maps.flatten(1) - maps.flatten(1).mean(1, keepdim=True) for maps in (first, second))
    return F.cosine_similarity(rescale(a), rescale(b), dim=1).clamp(-1, 1)


def disturbance(clean: Tensor, attacked: Tensor) -> Tensor:
    """How far an attack moved a map, 1 - correlation: "disturbed more" (IV-B, last paragraph)."""
    return 1 - correlation(clean, attacked)


def restore_top(clean: Tensor, attacked: Tensor, ranking: Tensor, *, share: float) -> Tensor:
    """Attacked images with the pixels that rank highest set back to their clean values: do "a few key areas"
    decide? (IV-B (4))

    clean, attacked   [n, channels, height, width]
    ranking           [n, ...], one number for each of an image's values; equal ones in the order of the
                      pixels
    share             of the image's values that go back, e.g. 0.05
    """
    count = round(share * clean[0].numel())
    top = ranking.flatten(1).argsort(dim=1, descending=True, stable=True)[:, :count]
    restored = attacked.flatten(1).clone()
    restored.scatter_(1, top, clean.flatten(1).gather(1, top))
    return restored.view_as(attacked)


def localisation(maps: Tensor, perturbed: Tensor) -> Tensor:
    """AUC of |effect| for the pixels an attack changed: does the map "determine which part" misled the model?
    (I, 4th bullet)

    [n]; NaN for an image of whose pixels all or none are marked: it has no AUC.

    perturbed   mask, e.g. |attacked - clean| > 0.1
    """
    sizes, order = maps.abs().flatten(1).sort(1)
    marked = perturbed.flatten(1).gather(1, order)
    positives, places = marked.sum(1).double(), torch.arange(sizes.shape[1], device=sizes.device)
    rises = sizes[:, 1:] > sizes[:, :-1]
    first = F.pad(rises * places[1:], (1, 0)).cummax(1).values  # of equal sizes
    last = F.pad(torch.where(rises, places[:-1], places[-1]), (0, 1), value=len(places) - 1)
    last = last.flip(1).cummin(1).values.flip(1)
    rank_sum = ((first + last + 2) * marked).sum(1).double() / 2
    return (rank_sum - positives * (positives + 1) / 2) / (positives * (marked.shape[1] - positives))
