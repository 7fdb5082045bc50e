"""A numeric check for each step of what an attack solves, in float64 on seeded numbers unless it says so."""

from collections.abc import Callable

import torch
from torch import Generator, Tensor, nn

from causalnb.attacks import ball
from causalnb.chapters import Check, within


def _normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=Generator().manual_seed(seed), dtype=torch.float64)


def sign_step(n: int = 10_000, eps: float = 0.1) -> Check:
    """No change within the budget raises a linear loss by more than the step along the gradient's sign does,
    eps |g|_1 (Goodfellow et al. 2015, Section 3): the most of n random ones, over that.
    """
    gradient, changes = _normal(64), eps * (2 * _normal(n, 64, seed=1).sigmoid() - 1)
    share = float((changes @ gradient).max() / (eps * gradient.abs().sum()))
    return within("check.sign", "most that a random change gains, over the sign step's gain", share, 1.0, n)


def least_change(n: int = 200) -> Check:
    """The least L-inf change that turns a linear decision is |margin| / |w|_1: largest miss of the margin
    that the step of just this size leaves.
    """
    weight, images = _normal(64), torch.sigmoid(_normal(n, 1, 8, 8, seed=1))
    margin = images.flatten(1) @ weight
    size = margin / weight.abs().sum()
    moved = images - ball.per_image(size, images) * weight.sign().reshape(1, 1, 8, 8)
    left = float((moved.flatten(1) @ weight).abs().max())
    return within("check.least", "largest margin left after the least change", left, 1e-12, n)


def slope(n: int = 200) -> Check:
    """The gradient of the cross-entropy by the logits is softmax minus the label's unit vector."""
    logits, labels = _normal(n, 10).requires_grad_(), torch.arange(n) % 10
    loss = nn.functional.cross_entropy(logits, labels, reduction="sum")
    formula = logits.detach().softmax(dim=1) - nn.functional.one_hot(labels, 10)
    miss = float((torch.autograd.grad(loss, logits)[0] - formula).abs().max())
    return within("check.slope", "largest |autograd - (softmax - label)|", miss, 1e-12, n)


def silence(n: int = 200) -> Check:
    """In float32 that gradient is exactly zero where the label leads by more than 104 logits, as exp(-104)
    has no float32: largest entry.
    """
    labels = torch.arange(n) % 10
    logits = (_normal(n, 10).clamp(-2, 2).float() + 110 * nn.functional.one_hot(labels, 10)).requires_grad_()
    loss = nn.functional.cross_entropy(logits, labels, reduction="sum")
    most = float(torch.autograd.grad(loss, logits)[0].abs().max())
    return within("check.silence", "largest gradient at leads above 104 logits, float32", most, 0.0, n)


CHECKS: dict[str, Callable[[], Check]] = {
    "sign": sign_step,
    "least": least_change,
    "slope": slope,
    "silence": silence,
}
