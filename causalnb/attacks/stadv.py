"""Spatially transformed adversarial examples (Xiao et al. 2018): pixels keep their values and move.

The one attack loop that is written here: neither foolbox nor pyautoattack has this attack. The threat model
is "flow": eps is the largest displacement in pixels along either axis, and nothing about it can be compared
with budgets in pixel values. From the paper are the warp, the margin and the flow loss; its search is not: it
weighs the flow loss without a budget and runs L-BFGS, where here the flow goes by sign steps inside the
budget.
"""

import math

import torch
from torch import Tensor

from causalnb.attacks import ball
from causalnb.attacks.foolbox_adapter import Case
from causalnb.attacks.watch import Criterion

# A root's slope at 0 is infinite: a hair's breadth, squared, keeps it 0 for neighbours that move alike.
HAIR = 1e-20


def stadv(case: Case, *, step: float, steps: int, smooth: float = 0.05) -> tuple[Tensor, Tensor]:
    """Images warped by a flow of at most `case.eps` pixels that raises the margin and stays smooth. It draws
    nothing.

    step      length of one sign step of every displacement, in pixels
    smooth    weight of `roughness` against the margin, the largest other logit minus the label's (with
              targets: the target's minus the largest other)
    returns   images [n, channels, height, width] in [0, 1], and the size of each flow, [n] float64: its
              largest displacement in pixels. An image's flow is the last one that reached the criterion;
              where none did it is zero, the image clean

    The first flow is zero. Passes for each image: steps + 1 forward, steps backward. Refused: images of
    another shape.
    """
    if case.images.dim() != 4:
        raise ValueError(
            "stadv moves pixels in the plane: images must be [n, channels, height, width], got "
            f"{tuple(case.images.shape)}."
        )
    kept = flow = case.images.new_zeros((len(case.images), 2, *case.images.shape[2:]), dtype=torch.float64)
    for _ in range(steps):
        flow.requires_grad_()
        logits = case.model(warp(case.images, flow))
        gain = (_margin(logits, case.criterion) - smooth * roughness(flow)).sum()
        uphill = torch.autograd.grad(gain, flow)[0].sign()
        flow = flow.detach()
        kept = _last(case, logits, flow, kept)
        flow = (flow + step * uphill).clamp(-case.eps, case.eps)
    with torch.no_grad():
        kept = _last(case, case.model(warp(case.images, flow)), flow, kept)
        return warp(case.images, kept), kept.abs().flatten(1).amax(dim=1)


def warp(images: Tensor, flow: Tensor) -> Tensor:
    """Each pixel takes the value that the image has where its flow points, between pixels bilinearly (Xiao et
    al. 2018, Eq. 1).

    images    [n, channels, height, width] in [0, 1]; beyond its border an image goes on with the border's
              pixels
    flow      [n, 2, height, width] float64, pixels downwards and to the right

    A flow of whole pixels moves the image exactly. There the slope has a kink: its value is the mean of both
    sides, so that left is like right and the border's pixels feel a way inwards.

    >>> flow = torch.tensor([0.0, 1.0]).reshape(1, 2, 1, 1).expand(1, 2, 1, 3)
    >>> warp(torch.tensor([[[[0.1, 0.2, 0.3]]]]), flow)
    tensor([[[[0.2000, 0.3000, 0.3000]]]])
    """
    whole = flow.detach()
    return ((_bilinear(images, flow, whole.floor()) + _bilinear(images, flow, whole.ceil() - 1)) / 2).clamp(
        0, 1
    )


def roughness(flow: Tensor) -> Tensor:
    """The flow loss for each pixel: how far the flow of a pixel is from those of its four neighbours (Xiao et
    al. 2018, Eq. 4, over the pixels).

    >>> roughness(torch.tensor([[[[0.0, 1.0]], [[0.0, 0.0]]]], dtype=torch.float64))
    tensor([1.], dtype=torch.float64)
    """
    pairs = [(flow.diff(dim=axis).square().sum(dim=1) + HAIR).sqrt().flatten(1).sum(dim=1) for axis in (2, 3)]
    return 2 * (pairs[0] + pairs[1]) / flow[0, 0].numel()


def _bilinear(images: Tensor, flow: Tensor, base: Tensor) -> Tensor:
    """The images at `flow`, read off the square of pixels with its upper left corner at `base`, the flow in
    whole pixels.
    """
    height, width = images.shape[2:]
    rows = base[:, 0].long() + torch.arange(height, device=base.device)[:, None]
    columns = base[:, 1].long() + torch.arange(width, device=base.device)
    down, right = (flow - base).to(images.dtype).split(1, dim=1)
    upper = (1 - right) * _pixels(images, rows, columns) + right * _pixels(images, rows, columns + 1)
    lower = (1 - right) * _pixels(images, rows + 1, columns) + right * _pixels(images, rows + 1, columns + 1)
    return (1 - down) * upper + down * lower


def _pixels(images: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """The pixels at rows and columns [n, height, width], the border's where these lie beyond it."""
    height, width = images.shape[2:]
    places = (rows.clamp(0, height - 1) * width + columns.clamp(0, width - 1)).flatten(1)
    return images.flatten(2).gather(2, places[:, None].expand(-1, images.shape[1], -1)).reshape(images.shape)


def _margin(logits: Tensor, criterion: Criterion) -> Tensor:
    """[n] above 0 where the criterion is reached."""
    wanted = criterion.labels if criterion.targets is None else criterion.targets
    own = logits.gather(1, wanted[:, None])[:, 0]
    others = logits.scatter(1, wanted[:, None], -math.inf).amax(dim=1)
    return others - own if criterion.targets is None else own - others


def _last(case: Case, logits: Tensor, flow: Tensor, kept: Tensor) -> Tensor:
    return torch.where(ball.aligned(case.criterion.reached(logits.detach()), flow), flow, kept)
