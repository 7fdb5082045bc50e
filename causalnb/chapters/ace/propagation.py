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


@torch.no_grad()
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


@torch.no_grad()
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
    grid, network = images.shape[3] // 2, _Network(model, images.shape[3])
    y, x = pixels % (4 * grid * grid) // (2 * grid), pixels % (2 * grid)
    corner = (pixels // (4 * grid * grid)) * 4 + y % 2 * 2 + x % 2
    cells = (y // 2) * grid + x // 2
    in_order = cells.argsort(stable=True)
    found, sizes = (each.tolist() for each in cells[in_order].unique_consecutive(return_counts=True))
    by_cell = list(
        zip(
            found,
            *(each.split(sizes) for each in (in_order, pixels[in_order], corner[in_order])),
            strict=True,
        )
    )
    for first in range(0, len(images), TOGETHER):
        part = slice(first, first + TOGETHER)
        own, flat = network.forward(images[part]), images[part].flatten(1)
        for cell, places, some, corners in by_cell:
            window = network.window(own, cell // grid, cell % grid, corners)
            change = values[part, places] - flat[:, some, None]
            step = max(1, chunk // change[0].numel())
            for start in range(0, len(flat), step):
                rows = slice(start, min(start + step, len(flat)))
                yield (
                    slice(first + start, first + rows.stop),
                    places,
                    network.propagate(own, window, rows, change[rows]),
                    own.logits[rows, 0],
                )


@dataclass(frozen=True)
class _Own:
    """What the images themselves give at each step, as `_Rule` wants it, and their logits.

    The maps have a cell's four places first: [n, 4, rows, columns, channels], and without them once pooled;
    the rest is [n, 1, features].
    """

    conv1: tuple[Tensor, Tensor]
    conv2: tuple[Tensor, Tensor]
    fc1: tuple[Tensor, Tensor]
    fc2: tuple[Tensor, Tensor]
    logits: Tensor


@dataclass(frozen=True)
class _Window:
    """What a pooling cell's pixels can move: kernels and weights, and the images' own share of it."""

    kernel1: Tensor  # [pixels, 1, 4, inputs of conv2]
    conv1: tuple[Tensor, Tensor]  # [n, 1, 1, 4, inputs of conv2], [n, 1, 1, inputs of conv2]
    kernel2: Tensor  # [inputs of conv2, 4 * inputs of fc1]
    conv2: tuple[Tensor, Tensor]  # [n, 1, 4, inputs of fc1], [n, 1, inputs of fc1]
    weight: Tensor  # [inputs of fc1, fc1]


class _Rule:
    """How an activation, and the pooling behind it, turns a change of what goes in into a change of what
    comes out.

    For the largest of places under relu, relu(max(in + d)) - out = max(max(in - out + d), -out): the images'
    own share, in - out and -out, is taken once, and the rest is a sum and two comparisons.
    """

    def __init__(self, model: LeNet) -> None:
        self.relu = type(model.activation) is nn.ReLU
        self.largest = type(model.pool) is nn.MaxPool2d
        self.activation = torch.relu if self.relu else torch.tanh

    def pooled(self, places: Tensor) -> Tensor:
        """Activation and pooling of [..., 4, inputs]; a non-decreasing activation of the largest is the
        largest activation.
        """
        if self.largest:
            return self.activation(_largest(places))
        a, b, c, d = self.activation(places).unbind(-2)
        return (a + b + c + d) / 4

    def own(self, places: Tensor, out: Tensor, *, pools: bool) -> tuple[Tensor, Tensor]:
        """The images' own share, from what goes in [n, 4, ...] or [n, ...] and what comes out."""
        if self.relu and (self.largest or not pools):
            return places - (out[:, None] if pools else out), -out
        return places, out

    def change(self, moved: Tensor, out: Tensor, *, pools: bool) -> Tensor:
        """The change of what comes out; `moved`, the change of what goes in with the images' own added, may
        be written over.
        """
        if self.relu and (self.largest or not pools):
            moved = _largest(moved) if pools else moved
            return torch.maximum(moved, out, out=moved)
        return (self.pooled(moved) if pools else self.activation(moved)) - out


class _Network:
    """A LeNet's weights laid out for windows."""

    def __init__(self, model: LeNet, size: int) -> None:
        first, second = model.conv1.weight.detach(), model.conv2.weight.detach()
        self.model, self.rule = model, _Rule(model)
        self.places = size // 2 - 2 * REACH  # of the second convolution, along a side
        corners = F.conv2d(_impulses(first.shape[1], 2, first), first, padding=2 * REACH)
        self.kernel1 = _by_cell(corners).flatten(2)[:, None]
        cells = _impulses(second.shape[1], 3, second)
        response = F.pad(F.conv2d(cells, second, padding=2 * REACH), (1, 1, 1, 1))
        self.response = response.view(second.shape[1], 9, *response.shape[1:]).transpose(0, 1).flatten(0, 1)
        self.kernel2: dict[tuple[int, ...], Tensor] = {}  # few windows differ
        self.fc1, self.fc2, self.fc3 = (
            layer.weight.detach().t().contiguous() for layer in (model.fc1, model.fc2, model.fc3)
        )
        side = self.places // 2
        self.weight = self.fc1.view(len(second), side, side, -1).permute(1, 2, 0, 3).contiguous()

    def forward(self, images: Tensor) -> _Own:
        model, act = self.model, self.rule.activation
        conv1_in = model.conv1(images)
        conv2_in = model.conv2(model.pool(act(conv1_in)))
        fc1_in = model.fc1(model.pool(act(conv2_in)).flatten(1))
        fc2_in = model.fc2(act(fc1_in))
        return _Own(
            self._maps(F.pad(conv1_in, (REACH,) * 4)),
            self._maps(conv2_in),
            self.rule.own(fc1_in[:, None], act(fc1_in)[:, None], pools=False),
            self.rule.own(fc2_in[:, None], act(fc2_in)[:, None], pools=False),
            model.fc3(act(fc2_in))[:, None],
        )

    def _maps(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        places = _by_cell(maps)
        pooled = self.rule.pooled(places.flatten(2)).view_as(places[:, 0])
        return self.rule.own(places, pooled, pools=True)

    def window(self, own: _Own, row: int, column: int, corners: Tensor) -> _Window:
        """The window of the pooling cell at (row, column), for the pixels at these corners of it."""
        (top, bottom, y), (left, right, x) = self._span(row), self._span(column)
        near, far = (slice(row, row + 3), slice(column, column + 3)), (slice(top, bottom), slice(left, right))
        return _Window(
            self.kernel1[corners],
            _cut(own.conv1, *near, (1, 1)),
            self._response(y, x),
            _cut(own.conv2, *far, (1,)),
            self.weight[far].flatten(0, 2),
        )

    def _response(self, y: slice, x: slice) -> Tensor:
        """Of the second convolution at these places to each of its inputs in the window."""
        key = (y.start, y.stop, x.start, x.stop)
        if key not in self.kernel2:
            self.kernel2[key] = _by_cell(self.response[..., y, x]).flatten(1)
        return self.kernel2[key]

    def _span(self, cell: int) -> tuple[int, int, slice]:
        """Along one axis: the cells of the second pooling that a cell of the first can move, and where
        `response` has them.
        """
        first = cell - 1 - 2 * REACH
        start, stop = max(0, first) // 2, min(self.places - 1, cell + 1) // 2 + 1
        return start, stop, slice(2 * start - first + 1, 2 * stop - first + 1)

    def propagate(self, own: _Own, window: _Window, rows: slice, change: Tensor) -> Tensor:
        """Logits [rows, p, A, classes] when the window's pixels change by `change` [rows, p, A]."""
        places, out = (share[rows] for share in window.conv1)
        moved = torch.addcmul(places, change[..., None, None], window.kernel1)
        moved = self.rule.change(moved, out, pools=True).flatten(0, 2)
        places, out = (share[rows] for share in window.conv2)
        moved = (moved @ window.kernel2).view(len(change), -1, *places.shape[2:]).add_(places)
        moved = self.rule.change(moved, out, pools=True)
        for weight, share in ((window.weight, own.fc1), (self.fc2, own.fc2)):
            base, out = (values[rows] for values in share)
            moved = self.rule.change((moved @ weight).add_(base), out, pools=False)
        logits: Tensor = (moved @ self.fc3).add_(own.logits[rows])
        return logits.view(*change.shape, -1)


def _largest(places: Tensor) -> Tensor:
    """[..., 4, inputs] -> [..., inputs]."""
    first, second, *others = places.unbind(-2)
    largest = torch.maximum(first, second)
    for other in others:
        torch.maximum(largest, other, out=largest)
    return largest


def _cut(
    shares: tuple[Tensor, Tensor], rows: slice, columns: slice, among: tuple[int, ...]
) -> tuple[Tensor, Tensor]:
    """The window of maps [n, 4, rows, columns, channels] and [n, rows, columns, channels], flat, with axes
    `among` behind the first.
    """
    places, out = (share[..., rows, columns, :] for share in shares)
    return places.reshape(len(places), *among, 4, -1), out.reshape(len(out), *among, -1)


def _impulses(channels: int, side: int, like: Tensor) -> Tensor:
    """One image for each single input set to 1: [channels * side * side, channels, side, side]."""
    return torch.eye(channels * side * side, dtype=like.dtype, device=like.device).view(
        -1, channels, side, side
    )


def _by_cell(maps: Tensor) -> Tensor:
    """[n, channels, 2 h, 2 w] -> [n, 4, h, w, channels]: the four places of each 2 x 2 cell come first."""
    n, channels, height, width = maps.shape
    cells = maps.reshape(n, channels, height // 2, 2, width // 2, 2)
    return cells.permute(0, 3, 5, 2, 4, 1).reshape(n, 4, height // 2, width // 2, channels)
