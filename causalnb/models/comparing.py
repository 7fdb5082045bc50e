"""A model against what should be the same: values, gradients and what it leaves in itself, on copies."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from causalnb.models.copies import copied, undone

FEW = 4  # images that are compared where a batch came for another purpose


class _Trial(NamedTuple):
    logits: Tensor
    later: Tensor  # the logits of a second call, without gradients
    gradients: dict[str, Tensor | None] | None
    state: dict[str, Tensor]


def difference(
    model: nn.Module, other: Callable[[nn.Module], Callable[[Tensor], Tensor]], images: Tensor
) -> str | None:
    """In what the model and `other(copy of the model)` differ on images, as a sentence's middle; None where
    they are the same.

    Values, what is left in parameters and buffers, and whether there are gradients, are the same bit for
    bit, gradients up to rounding; both are called twice, with the same random numbers. A model that gives no
    tensor is not compared.
    """
    theirs = _tried(model, lambda own: own, images)
    if theirs is None:
        return None
    try:
        ours = _tried(model, other, images)
    except RuntimeError as error:
        return f"its halves end in an error ({str(error).partition('. ')[0].strip()})"
    if ours is None or not (_same(theirs.logits, ours.logits) and _same(theirs.later, ours.later)):
        again = _tried(model, lambda own: own, images)
        if again is None or not (_same(again.logits, theirs.logits) and _same(again.later, theirs.later)):
            return "the model gives other values when it is called again with the same random numbers"
        return "its halves and the model give different values"
    if (theirs.later.requires_grad != ours.later.requires_grad) or not _alike(
        theirs.gradients, ours.gradients
    ):
        return "its halves and the model give different gradients"
    changed = [name for name, value in theirs.state.items() if not _same(value, ours.state[name])]
    if changed:
        return f"the forward pass changes {changed[0].removeprefix('model.')}, which its halves would not"
    return None


def _tried(
    model: nn.Module, made: Callable[[nn.Module], Callable[[Tensor], Tensor]], images: Tensor
) -> _Trial | None:
    cudnn = torch.backends.cudnn.flags(
        enabled=torch.backends.cudnn.enabled, benchmark=False, deterministic=True
    )
    with undone(model), cudnn, torch.inference_mode(False), torch.enable_grad():
        own = copied(model)
        call, leaf = made(own), images.detach().clone()
        leaf.requires_grad_(leaf.is_floating_point())
        logits = call(leaf.clone())
        if not isinstance(logits, Tensor):
            return None
        gradients = _gradients(logits, {"": leaf, **dict(own.named_parameters())})
        with torch.no_grad():
            later = call(leaf.clone())
        state = {**dict(own.named_buffers()), **dict(own.named_parameters())}
        return _Trial(logits, later, gradients, state)


def _gradients(logits: Tensor, leaves: dict[str, Tensor]) -> dict[str, Tensor | None] | None:
    """Of a fixed mixture of the logits; None where a step has no gradient."""
    asked = {name: value for name, value in leaves.items() if value.requires_grad}
    if not logits.requires_grad:
        return dict.fromkeys(asked)
    weights = torch.randn(logits.shape, generator=torch.Generator().manual_seed(0)).to(logits)
    try:
        found = torch.autograd.grad(logits, list(asked.values()), weights, allow_unused=True)
    except RuntimeError:
        return None
    return dict(zip(asked, found, strict=True))


def _same(a: Tensor, b: Tensor) -> bool:
    return (a.shape, a.dtype, a.device) == (b.shape, b.dtype, b.device) and bool(
        ((a == b) | ((a != a) & (b != b))).all()
    )


def _alike(theirs: dict[str, Tensor | None] | None, ours: dict[str, Tensor | None] | None) -> bool:
    """Whether gradients are the same up to rounding; a model without any has none to keep."""
    if theirs is None or ours is None:
        return theirs is None
    largest = max(
        (float(value.abs().max()) for value in theirs.values() if value is not None and value.numel()),
        default=0.0,
    )
    return all(_close(value, ours[name], largest) for name, value in theirs.items())


def _close(a: Tensor | None, b: Tensor | None, largest: float) -> bool:
    if a is None or b is None:
        return a is b
    rounding = torch.finfo(a.dtype).eps
    bound = rounding**0.5 * a.abs().amax() + 32 * rounding * largest if a.numel() else 0.0
    return bool((((a - b).abs() <= bound) | ((a != a) & (b != b)) | (a == b)).all())
