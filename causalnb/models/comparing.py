"""A model against what should be the same: values, gradients and what it leaves in itself, on copies."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from causalnb.models.copies import copied, undone


class _Trial(NamedTuple):
    logits: Tensor
    later: Tensor  # the logits of a second call, without gradients
    gradients: dict[str, Tensor | None] | None
    state: dict[str, Tensor]


FEW = 8  # images that are compared, where the model takes so few


def difference(
    model: nn.Module, other: Callable[[nn.Module], Callable[[Tensor], Tensor]], images: Tensor
) -> str | None:
    """In what the model and `other(copy of the model)` differ on the first images, as a sentence's middle;
    None where they are the same.

    Values, parameters and buffers afterwards, and whether there are gradients, are the same bit for bit,
    gradients up to rounding; both are called twice, with the same random numbers. A model that gives no
    tensor is not compared, and one that cannot take these images raises.
    """
    some = images[:FEW]
    try:
        theirs = _tried(model, _itself, some)
    except Exception:  # a model may want more images than a few
        if len(images) == len(some):
            raise
        some = images
        theirs = _tried(model, _itself, some)
    if theirs is None:
        return None
    try:
        found = _unlike(theirs, _tried(model, other, some))
    except (RuntimeError, TypeError, ValueError, LookupError, AttributeError) as error:
        found = f"its halves end in an error ({first_sentence(error)})"
    if found and _unlike(theirs, _tried(model, _itself, some)):
        found = "the model differs from itself when it is called again with the same random numbers"
    return f"on {len(some)} images {found}" if found else None


def first_sentence(error: BaseException) -> str:
    """What an error says, without its full stop."""
    return str(error).partition(". ")[0].partition("\n")[0].strip().rstrip(".")


def _itself(model: nn.Module) -> Callable[[Tensor], Tensor]:
    return model


def _unlike(theirs: _Trial, ours: _Trial | None) -> str:
    if ours is None or not (_same(theirs.logits, ours.logits) and _same(theirs.later, ours.later)):
        return "its halves and the model give different values"
    if theirs.later.requires_grad != ours.later.requires_grad or not _alike(theirs.gradients, ours.gradients):
        return "its halves and the model give different gradients"
    changed = [name for name, value in theirs.state.items() if not _same(value, ours.state[name])]
    return f"its halves leave another {changed[0].removeprefix('model.')} than the model" if changed else ""


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
