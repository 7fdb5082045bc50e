"""What goes into an attack, checked, and what the model says of it before: each refusal is a sentence."""

import math
from collections.abc import Callable
from inspect import Parameter
from typing import Any

import torch
from torch import Tensor

from causalnb import UserError, console
from causalnb.attacks import ball
from causalnb.attacks.watch import Criterion, score, whole
from causalnb.data.images import tensor

TOLERANCE = 1e-6  # how far pixels and distances may miss their bounds by rounding


def recorded(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings for a record: without tensors, another model by its name."""
    return {
        key: getattr(value, "__qualname__", type(value).__qualname__) if callable(value) else value
        for key, value in settings.items()
        if not isinstance(value, Tensor)
    }


def plain_settings(name: str, parameters: list[Parameter], given: dict[str, Any]) -> dict[str, Any]:
    """The settings as Python's own numbers, whole where an attack takes whole ones."""
    found = {key: ball.plain(value) for key, value in given.items()}
    for parameter in parameters:
        value = found.get(parameter.name)
        if parameter.annotation is int and isinstance(value, float):
            if not value.is_integer():
                raise ValueError(
                    f"{parameter.name} = {value} is not possible for {name}: it is a whole number."
                )
            found[parameter.name] = int(value)
    return found


def ticks(name: str, n: int, chunk: int, settings: dict[str, Any]) -> Any:
    """A bar over about as many forward passes as the attack on n images will take."""
    passes = math.prod(
        settings.get(key, 1) for key in ("restarts", "steps", "queries", "n_targets", "binary_search_steps")
    ) * math.ceil(n / chunk)
    return console.progress(range(passes), what=name, total=passes)


def boxed(images: Tensor) -> tuple[Tensor, Tensor]:
    """The images clipped to [0, 1] where they miss it by rounding, and [n] whether all their pixels are
    finite. Those of 16 bits become float32, whose grid holds small steps.
    """
    images = usable(images, of="images")
    if images.is_floating_point() and images.element_size() < 4:
        images = images.float()
    if not images.is_floating_point() or images.dim() < 2 or not len(images):
        raise ValueError(
            f"images must be floating point [n, ...] with n at least 1, got {images.dtype} "
            f"{tuple(images.shape)}."
        )
    finite = images.isfinite().flatten(1).all(dim=1)
    outside = ((images < -TOLERANCE) | (images > 1 + TOLERANCE)) & ball.aligned(finite, images)
    if outside.any():
        index = outside.nonzero()[0].tolist()
        some = images[finite]
        raise UserError(
            f"images[{', '.join(map(str, index))}] = {images[tuple(index)]:.7g} lies outside [0, 1] (these "
            f"images reach from {some.min():.4g} to "
            f"{some.max():.4g}): give pixels in [0, 1] and keep normalisation inside the model."
        )
    return usable(images.detach().clamp(0, 1), of="images"), usable(finite, of="images")


def usable(given: Any, *, of: str) -> Tensor:
    """What is given as a tensor that autograd takes, also one that was made in inference mode."""
    found = tensor(given, of=of)
    with torch.inference_mode(False):
        return found.clone() if found.is_inference() else found


def criterion_of(images: Tensor, labels: Tensor, targets: Tensor | None) -> Criterion:
    """What counts as success; labels and targets are one whole number for each image."""
    labels = usable(labels, of="labels").to(images.device)
    targets = None if targets is None else usable(targets, of="targets").to(images.device)
    for what, classes in (("labels", labels), ("targets", targets)):
        if classes is not None and (classes.shape != (len(images),) or not whole(classes)):
            raise ValueError(
                f"{what} must be whole numbers [{len(images)}], one for each image, got {classes.dtype} "
                f"{tuple(classes.shape)}."
            )
    if targets is not None and (targets.to(labels.device) == labels).any():
        raise ValueError(
            f"targets[{int((targets.to(labels.device) == labels).nonzero()[0])}] is the image's own label: a "
            "target is another class."
        )
    return Criterion(labels.long(), None if targets is None else targets.long()).to(images.device)


@torch.no_grad()
def logits_of(model: Callable[[Tensor], Tensor], images: Tensor, device: torch.device, chunk: int) -> Tensor:
    """The model's logits [n, classes], on the images' device."""
    return torch.cat([score(model, part.to(device)) for part in torch.split(images, chunk)]).to(images.device)


def right(logits: Tensor, criterion: Criterion, finite: Tensor) -> Tensor:
    """[n] whether the image is usable and its clean prediction right."""
    for what, classes in (("labels", criterion.labels), ("targets", criterion.targets)):
        if classes is not None and not 0 <= int(classes.min()) <= int(classes.max()) < logits.shape[1]:
            raise ValueError(
                f"{what} run from {int(classes.min())} to {int(classes.max())}, the model has classes 0 to "
                f"{logits.shape[1] - 1}."
            )
    usable = finite & logits.isfinite().all(dim=1)
    if finite.any() and not usable.any():
        raise UserError(
            f"the model's outputs are not finite for any of the {int(finite.sum())} images: look at its "
            "weights and its normalisation."
        )
    return usable & (logits.argmax(dim=1) == criterion.labels)
