"""Interventional expectations of a network's outputs, and average causal effects from them (Guo et al. 2024,
III-B).

E[f_c | do(x_p = alpha)] is the mean over rows of f_c with pixel p set to alpha: the rows keep their other
pixels, so the correlation among those stays as it is in the data. Every forward serves all classes, as logits
and as probabilities. Effects are taken row by row and then averaged: the rows' own spread cancels, and a
pixel without effect gets exactly 0.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Literal, NamedTuple, Self, cast

import torch
from torch import Tensor, nn

from causalnb import UserError, training
from causalnb.chapters.ace import propagation
from causalnb.models import LeNet

Method = Literal["auto", "propagate", "forward"]
Baseline = Literal["uniform", "empirical", "zero"]
SCORES = ("logit", "probability")


class Block(NamedTuple):
    """Some rows and pixels after their interventions.

    rows      which images
    places    [p], positions in the list of pixels
    logits    [rows, p, A, K], after do(x_p = value)
    natural   [rows, K], of the images as they are; an intervention without effect gives exactly these
    """

    rows: slice
    places: Tensor
    logits: Tensor
    natural: Tensor


@torch.no_grad()
def blocks(
    model: nn.Module,
    images: Tensor,
    values: Tensor,
    *,
    pixels: Tensor | None = None,
    method: Method = "auto",
    chunk: int | None = None,
) -> Iterator[Block]:
    """Set each pixel to each of its values, one at a time, and yield the logits in blocks that fit into
    memory.

    images   [n, channels, height, width]; a colour pixel is `channels` inputs, each with an effect of its own
    values   [A] for every pixel, [P, A] for each pixel, or [n, P, A] for each pixel of each image
    pixels   [P], indices into a flattened image; all of them by default
    method   "propagate": recompute only what a pixel moves (a LeNet of this package that nobody changed);
             "forward": whole networks in batches (any model); "auto": the first where its answers are the
             model's, else the second
    chunk    about how many interventions are held at once
    """
    if images.ndim != 4 or not len(images):
        raise ValueError(f"images are [n, channels, height, width] with n >= 1, not {list(images.shape)}")
    if method not in ("auto", "propagate", "forward"):
        raise ValueError(f"method = {method!r}: it is auto, propagate or forward")
    pixels = (
        torch.arange(images[0].numel(), device=images.device) if pixels is None else pixels.to(images.device)
    )
    if not len(pixels) or pixels.min() < 0 or pixels.max() >= images[0].numel():
        raise ValueError(f"pixels are indices from 0 to {images[0].numel() - 1}, one at least")
    values = values.to(images).expand(len(images), len(pixels), values.shape[-1])
    on_cpu = images.device.type == "cpu"
    with training.mode(model, train=False):
        obstacle = "" if method == "forward" else propagation.obstacle(model, images, values, pixels)
        if method == "propagate" and obstacle:
            raise UserError(
                f"method = 'propagate' cannot take a {type(model).__name__} and images of {images.shape[2]} "
                f"x {images.shape[3]}: {obstacle}; choose 'auto' or 'forward'."
            )
        if method == "forward" or obstacle:
            yield from _forward(model, images, values, pixels, chunk or (256 if on_cpu else 2**13))
        else:
            whole = chunk or (1024 if on_cpu else 2**17)
            found = propagation.blocks(cast(LeNet, model), images, values, pixels, chunk=whole)
            yield from (Block(*block) for block in found)


def _forward(model: nn.Module, images: Tensor, values: Tensor, pixels: Tensor, chunk: int) -> Iterator[Block]:
    """Whole networks in batches; where a value is the image's own the logits are the image's own."""
    flat, each = images.flatten(1), values.shape[2]
    at_once = max(1, min(len(pixels), chunk // each))
    step = max(1, chunk // (at_once * each))
    for start in range(0, len(images), step):
        rows = slice(start, start + step)
        natural = model(images[rows].clone())  # a layer that works in place must not change the images
        for first in range(0, len(pixels), at_once):
            places = torch.arange(first, min(first + at_once, len(pixels)), device=images.device)
            new = values[rows, places]
            changed = flat[rows, None, None].repeat(1, *new.shape[1:], 1)
            changed.scatter_(3, pixels[places].view(1, -1, 1, 1).expand(*new.shape, 1), new[..., None])
            logits = model(changed.view(-1, *images.shape[1:])).view(*new.shape, -1)
            same = (new == flat[rows][:, pixels[places], None])[..., None]
            yield Block(rows, places, torch.where(same, natural[:, None, None], logits), natural)


def intervene(
    model: nn.Module,
    images: Tensor,
    values: Tensor,
    *,
    pixels: Tensor | None = None,
    method: Method = "auto",
    chunk: int | None = None,
) -> Tensor:
    """Logits [n, P, A, K] of each image after do(x_p = value), all of them at once; the arguments are those
    of `blocks`.

    >>> flat = nn.Sequential(nn.Flatten(), nn.Linear(4, 1, bias=False))
    >>> _ = nn.init.ones_(flat[1].weight)
    >>> intervene(flat, torch.zeros(1, 1, 2, 2), torch.tensor([0.0, 0.5])).shape
    torch.Size([1, 4, 2, 1])
    """
    wanted = images[0].numel() if pixels is None else len(pixels)
    found = blocks(model, images, values, pixels=pixels, method=method, chunk=chunk)
    first = next(found)
    logits = first.logits.new_empty(len(images), wanted, *first.logits.shape[2:])
    for block in chain([first], found):
        logits[block.rows, block.places] = block.logits
    return logits


def single_and_joint(
    model: nn.Module, before: Tensor, after: Tensor, classes: Tensor, *, chunk: int | None = None
) -> tuple[Tensor, Tensor]:
    """Sum of the effects of setting each pixel alone from `before` to `after`, and the effect of setting all
    at once: [2, n] each.

    An attack is the joint intervention; the two differ by the pixels' interactions. The first axis is
    `SCORES`.

    before, after   [n, channels, height, width]
    classes         [n], whose score
    """
    each = torch.arange(len(before), device=before.device)
    single = torch.zeros(2, len(before), dtype=torch.float64, device=before.device)
    for block in blocks(model, before, after.flatten(1)[..., None], chunk=chunk):
        of = (slice(None), each[: len(block.natural)], classes[block.rows])
        single[:, block.rows] += scores(block.logits).movedim(-1, 2)[of].sum((2, 3)) - scores(block.natural)[
            of
        ] * len(block.places)
    joint = scores(training.predict(model, after)) - scores(training.predict(model, before))
    return single, joint[:, each, classes]


def scores(logits: Tensor) -> Tensor:
    """Both outputs that may be y: [2, ..., K] in float64, logits and probabilities (`SCORES`).

    In float32 the probability of a confident class is 1 up to a few steps of 6e-8, larger than most pixels'
    effects.
    """
    return torch.stack([logits.double(), logits.double().softmax(-1)])


def _by_class(logits: Tensor) -> Tensor:
    """The scores of logits [..., K] as [2, K, ...]: classes first, softmax is several times as fast."""
    classes = logits.movedim(-1, 0)
    found = torch.empty(2, *classes.shape, dtype=torch.float64, device=logits.device)
    torch.softmax(found[0].copy_(classes), 0, out=found[1])
    return found


@dataclass(frozen=True)
class Table:
    """E[f_c | do(x_p = alpha)] for every pixel, grid value and class; the first axis is `SCORES`; float64.

    alphas   [A], ascending
    effect   [2, P, A, K], the expectation less `natural`
    natural  [2, K], E[f_c] without intervention
    error    [2, P, A, K], standard error over the rows of the effect against the uniform baseline; 0 where
             nothing was sampled
    """

    alphas: Tensor
    effect: Tensor
    natural: Tensor
    error: Tensor

    @property
    def expectation(self) -> Tensor:
        """E[f_c | do(x_p = alpha)], Eq. (4): [2, P, A, K]."""
        return self.natural[:, None, None] + self.effect

    def tensors(self) -> dict[str, Tensor]:
        """The fields by name, as the store keeps them."""
        return dict(vars(self))

    def to(self, device: torch.device | str) -> Self:
        """The same table on another device."""
        return type(self)(**{name: values.to(device) for name, values in self.tensors().items()})


def interventional_table(
    model: nn.Module, rows: Tensor, alphas: Tensor, *, method: Method = "auto", chunk: int | None = None
) -> Table:
    """The table of a network over the rows of a data set (Eq. 4 with the empirical distribution of the other
    pixels).

    rows     [n, channels, height, width], n >= 2
    alphas   [A], ascending
    """
    if len(rows) < 2:
        raise ValueError(f"a table needs 2 rows or more for its standard errors, not {len(rows)}")
    found = blocks(model, rows, alphas, method=method, chunk=chunk)
    first = next(found)
    shape = 2, first.logits.shape[-1], rows[0].numel(), len(alphas)
    total = torch.zeros(shape, dtype=torch.float64, device=rows.device)
    squares, natural = torch.zeros_like(total), total.new_zeros(2, len(rows), shape[1])
    for block in chain([first], found):
        own = natural[:, block.rows] = scores(block.natural)
        effect = _by_class(block.logits) - own.mT[..., None, None]
        effect[1] *= effect[0].any(0)  # no logit moves: no probability does, not even by rounding
        total[:, :, block.places] += effect.sum(2)
        squares[:, :, block.places] += effect.sub_(effect.mean(-1, keepdim=True)).square_().sum(2)
    total, squares = total.permute(0, 2, 3, 1).contiguous(), squares.permute(0, 2, 3, 1)
    n, mean = len(rows), total / len(rows)
    centred = mean - mean.mean(2, keepdim=True)
    error = ((squares / n - centred.square()).clamp_min(0) / (n - 1)).sqrt()
    return Table(alphas.to(mean), mean, natural.mean(1), error)


def by_class(tables: Sequence[Table]) -> Table:
    """One table whose class c comes from the c-th of the given ones, e.g. from rows of class c alone."""
    chosen = {
        name: torch.stack([getattr(one, name)[..., c] for c, one in enumerate(tables)], -1)
        for name in ("effect", "natural", "error")
    }
    return Table(tables[0].alphas, **chosen)


def average_effects(table: Table, *, baseline: Baseline = "uniform") -> Tensor:
    """Average causal effects, Eq. (2): [2, P, A, K].

    baseline   "uniform": the mean of E[f_c | do(x_p = alpha)] over the grid, Eq. (3) as the paper computes
               it; "empirical": E[f_c], no intervention; "zero": E[f_c | do(x_p = the grid's first value)]
    """
    first = table.effect[:, :, :1]
    baselines = {
        "uniform": table.effect.mean(2, keepdim=True),
        "empirical": torch.zeros_like(first),
        "zero": first,
    }
    if baseline not in baselines:
        raise ValueError(f"baseline = {baseline!r}: it is uniform, empirical or zero")
    return table.effect - baselines[baseline]


def binary(table: Table) -> Tensor:
    """E[f_c | do(x_p = 1)] - E[f_c | do(x_p = 0)], Eq. (1), between the ends of the grid: [2, P, K]."""
    return table.effect[:, :, -1] - table.effect[:, :, 0]


def look_up(effects: Tensor, alphas: Tensor, values: Tensor, classes: Tensor) -> Tensor:
    """Each image's effects at its own pixel values, for one class an image: [2, n, P], linear between grid
    values.

    effects   [2, P, A, K], e.g. `average_effects(table)`; alphas [A], ascending
    values    [n, P], in the range of the grid
    classes   [n]
    """
    values, pixel = values.to(alphas), torch.arange(values.shape[1], device=values.device)
    above = torch.searchsorted(alphas, values).clamp(1, len(alphas) - 1)
    share = ((values - alphas[above - 1]) / (alphas[above] - alphas[above - 1])).clamp(0, 1)
    low, high = (effects[:, pixel, index, classes[:, None]] for index in (above - 1, above))
    return torch.lerp(low, high, share)
