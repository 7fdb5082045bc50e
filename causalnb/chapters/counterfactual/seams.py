"""Where filters are removed: the output of a layer, and the logits that follow from it.

A filter is a channel of that output. Where the network can be cut behind the layer, only what follows is run
again; where values flow past it, as in a residual block, the whole network is, with the output replaced.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from causalnb import UserError, models

Change = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Seam:
    """A layer of a model as a place where filters can be removed.

    activations  images [n, ...] -> A [n, filters, ...], what the layer gives
    logits       (A, images) -> [n, classes], what the network makes of it
    cut          whether `logits` runs only what follows the layer; else the whole network again
    why          why it could not be cut; "" where it was
    """

    model: nn.Module
    layer: str
    activations: Callable[[Tensor], Tensor]
    logits: Callable[[Tensor, Tensor], Tensor]
    cut: bool
    why: str = ""


def seam(model: nn.Module, layer: str) -> Seam:
    """The seam behind a layer, by `models.cut` where that can be.

    Refused: a model in training mode, whose batch norm and dropout would make every removal differ; a name
    that is no layer.
    """
    if any(part.training for part in model.modules()):
        raise UserError(
            "The model is in training mode, in which batch norm and dropout change every output: call "
            "model.eval() first."
        )
    try:
        head, tail = models.cut(model, layer)
    except UserError as error:
        if layer not in dict(model.named_modules()):
            raise
        return _replaced(model, layer, str(error))
    return Seam(model, layer, head, lambda a, images: tail(a), cut=True)


def _replaced(model: nn.Module, layer: str, why: str) -> Seam:
    def activations(images: Tensor) -> Tensor:
        seen: list[Tensor] = []
        with changed(model, layer, lambda a: seen.append(a) or a):  # type: ignore[func-returns-value]
            model(images)
        if len(seen) != 1:
            raise UserError(
                f"The network calls {layer} {len(seen)} times on an image, so that none of its outputs is "
                "the layer's: name a layer that is called once."
            )
        return seen[0]

    def logits(a: Tensor, images: Tensor) -> Tensor:
        with changed(model, layer, lambda _: a):
            given: Tensor = model(images)
        return given

    return Seam(model, layer, activations, logits, cut=False, why=why)


@contextmanager
def changed(model: nn.Module, layer: str, change: Change) -> Iterator[None]:
    """Inside, the layer gives change(its output)."""

    def hook(module: nn.Module, given: Any, made: Any) -> Tensor:
        return change(_map(made, layer))

    handle = model.get_submodule(layer).register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def read(model: nn.Module, layer: str) -> Iterator[list[Tensor]]:
    """Inside, what the layer is given is put into a list, call by call."""
    seen: list[Tensor] = []
    handle = model.get_submodule(layer).register_forward_pre_hook(
        lambda module, given: seen.append(given[0])  # type: ignore[func-returns-value]
    )
    try:
        yield seen
    finally:
        handle.remove()


def _map(made: Any, layer: str) -> Tensor:
    if not isinstance(made, Tensor) or made.ndim < 2:
        raise UserError(
            f"{layer} gives no tensor [images, filters, ...], so it has no filters to remove: name a "
            "convolution, or what follows one."
        )
    return made


def without(a: Tensor, filters: Tensor) -> Tensor:
    """Copies of one image's activations a [filters, ...], each with one of the given filters [m] set to 0:
    [m, filters, ...].
    """
    copies = a.repeat(len(filters), *[1] * a.ndim)
    copies[torch.arange(len(filters)), filters] = 0
    return copies
