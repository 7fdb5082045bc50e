"""Setting one pixel of a LeNet's input, and recomputing only what moves.

A pixel reaches 5 x 5 places of the first convolution, 3 x 3 cells of its pooling, at most 8 x 8 places of the
second convolution and 4 x 4 cells of its pooling; only from there on is everything touched. The four pixels
of a pooling cell share these windows, so a window is a few dense products over many images and values at
once. Every step adds the change to what the image gave, so that an intervention without effect gives exactly
the image's own logits.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from causalnb.chapters.ace import structure
from causalnb.models import LeNet

REACH = 2  # a 5 x 5 kernel reaches two places to each side
TOGETHER = 512  # images whose own values are held at once
FEW = (2, 7, 2)  # images, pixels and values of each that are held against whole networks
ROUNDING = 1000  # how far from these, in units of the precision of the largest logit


def obstacle(model: nn.Module, images: Tensor, values: Tensor, pixels: Tensor) -> str:
    """Why `blocks` cannot take these, as the end of a sentence, or "" where it can.

    The model's structure is looked at, part by part, and then a few of its answers are held against whole
    networks: what no list foresees shows there. Arguments are those of `blocks`.
    """
    if found := structure.obstacle(model, images):
        return found
    if not values.isfinite().all():
        return "the values are not finite"
    return (
        "" if _agrees(cast(LeNet, model), images, values, pixels) else "it gave other logits than the model"
    )


def _agrees(model: LeNet, images: Tensor, values: Tensor, pixels: Tensor) -> bool:
    """Whether logits of some images, pixels and values, the first and the last among them, are the whole
    network's but for rounding.
    """
    rows, places, which = (
        torch.linspace(0, length - 1, min(length, few), device=images.device).round().long()
        for length, few in zip(values.shape, FEW, strict=True)
    )
    images, values, pixels = images[rows], values[rows][:, places][:, :, which], pixels[places]
    changed = images.flatten(1)[:, None, None].repeat(1, *values.shape[1:], 1)
    changed.scatter_(3, pixels[None, :, None, None].expand(*values.shape, 1), values[..., None])
    with _full_precision():
        whole = model(changed.view(-1, *images.shape[1:])).view(*values.shape, -1)
        ours = torch.full_like(whole, torch.nan)
        for part, window, logits, _ in blocks(model, images, values, pixels, chunk=values.numel()):
            ours[part, window] = logits
    allowed = ROUNDING * torch.finfo(whole.dtype).eps * whole.abs().max()
    return bool(((ours - whole).abs() <= allowed).all())


def _full_precision() -> AbstractContextManager[None]:
    """A GPU's convolutions without TF32, whose rounding would hide a difference."""
    cudnn = torch.backends.cudnn
    return cudnn.flags(
        enabled=cudnn.enabled,
        benchmark=cudnn.benchmark,
        deterministic=cudnn.deterministic,
        allow_tf32=False,
    )


def blocks(
    model: LeNet, images: Tensor, values: Tensor, pixels: Tensor, *, chunk: int
) -> Iterator[tuple[slice, Tensor, Tensor, Tensor]]:
    """Logits after do(x_p = value), for a few images and the pixels of one window at a time.

    images   [n, channels, size, size]
    values   [n, P, A], what each of the P pixels is set to
    pixels   [P], indices into a flattened image
    chunk    about how many interventions are held at once
    yields   (rows, places in `pixels` [p], logits [rows, p, A, classes], the images' own logits [rows,
             classes])
    """
    grid = images.shape[3] // 2
    network = _Network(model, images.shape[3])
    y, x = pixels % (4 * grid * grid) // (2 * grid), pixels % (2 * grid)
    corner = (pixels // (4 * grid * grid)) * 4 + y % 2 * 2 + x % 2
    cells = (y // 2) * grid + x // 2
    for first in range(0, len(images), TOGETHER):
        part = slice(first, first + TOGETHER)
        own, flat = network.forward(images[part]), images[part].flatten(1)
        for cell in sorted(set(cells.tolist())):
            places = (cells == cell).nonzero()[:, 0]
            window = network.window(own, cell // grid, cell % grid, corner[places])
            change = values[part, places] - flat[:, pixels[places], None]
            step = max(1, chunk // change[0].numel())
            for start in range(0, len(flat), step):
                rows = slice(start, min(start + step, len(flat)))
                yield (
                    slice(first + start, first + rows.stop),
                    places,
                    network.propagate(own, window, rows, change[rows]),
                    own.logits[rows],
                )


@dataclass(frozen=True)
class _Own:
    """What the images themselves give; a pre-activation where the name ends in _in."""

    conv1_in: Tensor
    conv2_in: Tensor
    fc1_in: Tensor
    fc1: Tensor
    fc2_in: Tensor
    fc2: Tensor
    logits: Tensor


@dataclass(frozen=True)
class _Window:
    """What a pooling cell's pixels can move: kernels, and the images' own values in the window (4 = places of
    a cell).
    """

    kernel1: Tensor  # [4, pixels, inputs of conv2]
    conv1_in: Tensor  # [4, n, inputs of conv2]
    pool1: Tensor  # [n, inputs of conv2]
    kernel2: Tensor  # [4, inputs of conv2, inputs of fc1]
    conv2_in: Tensor  # [4, n, inputs of fc1]
    pool2: Tensor  # [n, inputs of fc1]
    weight: Tensor  # [inputs of fc1, fc1]


class _Network:
    """A LeNet's weights laid out for windows."""

    def __init__(self, model: LeNet, size: int) -> None:
        first, second = model.conv1.weight.detach(), model.conv2.weight.detach()
        self.model, self.grid = model, size // 2
        self.activation = torch.relu if isinstance(model.activation, nn.ReLU) else torch.tanh
        self.places = self.grid - 2 * REACH  # of the second convolution, along a side
        corners = _impulses(first.shape[1], 2, first)
        self.kernel1 = _by_cell(F.conv2d(corners, first, padding=2 * REACH))
        cells = _impulses(second.shape[1], 3, second)
        response = F.pad(F.conv2d(cells, second, padding=2 * REACH), (1, 1, 1, 1))
        self.response = response.view(second.shape[1], 3, 3, *response.shape[1:])
        self.fc1, self.fc2, self.fc3 = (
            layer.weight.detach().t().contiguous() for layer in (model.fc1, model.fc2, model.fc3)
        )

    def forward(self, images: Tensor) -> _Own:
        model, act = self.model, self.activation
        conv1_in = model.conv1(images)
        conv2_in = model.conv2(model.pool(act(conv1_in)))
        fc1_in = model.fc1(model.pool(act(conv2_in)).flatten(1))
        fc2_in = model.fc2(act(fc1_in))
        outside = F.pad(conv1_in, (REACH,) * 4)
        return _Own(outside, conv2_in, fc1_in, act(fc1_in), fc2_in, act(fc2_in), model.fc3(act(fc2_in)))

    def window(self, own: _Own, row: int, column: int, corners: Tensor) -> _Window:
        """The window of the pooling cell at (row, column), for the pixels at these corners of it."""
        conv1_in = _by_cell(own.conv1_in[:, :, 2 * row : 2 * row + 6, 2 * column : 2 * column + 6])
        (top, bottom, y), (left, right, x) = self._span(row), self._span(column)
        inputs = (
            self.response[..., y, x].permute(1, 2, 0, 3, 4, 5).flatten(0, 2)
        )  # a cell outside the grid reaches none of these places
        conv2_in = _by_cell(own.conv2_in[:, :, 2 * top : 2 * bottom, 2 * left : 2 * right])
        side = self.places // 2
        weight = (
            self.fc1.view(-1, side, side, self.fc1.shape[1])[:, top:bottom, left:right]
            .permute(1, 2, 0, 3)
            .flatten(0, 2)
        )
        return _Window(
            self.kernel1[:, corners],
            conv1_in,
            self.pooled(conv1_in),
            _by_cell(inputs),
            conv2_in,
            self.pooled(conv2_in),
            weight,
        )

    def _span(self, cell: int) -> tuple[int, int, slice]:
        """Along one axis: the cells of the second pooling that a cell of the first can move, and where
        `response` has them.
        """
        first = cell - 1 - 2 * REACH
        start, stop = max(0, first) // 2, min(self.places - 1, cell + 1) // 2 + 1
        return start, stop, slice(2 * start - first + 1, 2 * stop - first + 1)

    def pooled(self, places: Tensor) -> Tensor:
        """Activation and pooling over the first axis; a non-decreasing activation of the largest is the
        largest activation.
        """
        if isinstance(self.model.pool, nn.MaxPool2d):
            largest: Tensor = self.activation(
                torch.maximum(torch.maximum(places[0], places[1]), torch.maximum(places[2], places[3]))
            )
            return largest
        a, b, c, d = self.activation(places)
        mean: Tensor = (a + b + c + d) / 4
        return mean

    def propagate(self, own: _Own, window: _Window, rows: slice, change: Tensor) -> Tensor:
        """Logits [rows, p, A, classes] when the window's pixels change by `change` [rows, p, A]."""
        act = self.activation
        conv1_in = torch.addcmul(
            window.conv1_in[:, rows, None, None], change[None, ..., None], window.kernel1[:, None, :, None]
        )
        moved = (self.pooled(conv1_in) - window.pool1[rows, None, None]).flatten(0, 2)
        conv2_in = (
            torch.matmul(moved, window.kernel2)
            .view(4, len(change), change[0].numel(), -1)
            .add_(window.conv2_in[:, rows, None])
        )
        moved = (self.pooled(conv2_in) - window.pool2[rows, None]) @ window.weight
        moved = (act(moved.add_(own.fc1_in[rows, None])) - own.fc1[rows, None]) @ self.fc2
        moved = (act(moved.add_(own.fc2_in[rows, None])) - own.fc2[rows, None]) @ self.fc3
        logits: Tensor = moved.add_(own.logits[rows, None]).view(*change.shape, -1)
        return logits


def _impulses(channels: int, side: int, like: Tensor) -> Tensor:
    """One image for each single input set to 1: [channels * side * side, channels, side, side]."""
    return torch.eye(channels * side * side, dtype=like.dtype, device=like.device).view(
        -1, channels, side, side
    )


def _by_cell(maps: Tensor) -> Tensor:
    """[n, channels, 2 h, 2 w] -> [4, n, h * w * channels]: the four places of each 2 x 2 cell come first."""
    n, channels, height, width = maps.shape
    cells = maps.reshape(n, channels, height // 2, 2, width // 2, 2)
    return cells.permute(3, 5, 0, 2, 4, 1).reshape(4, n, -1)
