"""Training: one `fit` for every model and every loss. Losses are functions; no attack is known here.

An epoch's randomness is a function of the recipe's seed and the epoch's number, and its end is checkpointed.
So a training that was killed and begun again ends with the same weights, bit for bit, on the same device and
threads.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn, optim

from causalnb import UserError, console, store
from causalnb.data.images import Images
from causalnb.store import identity
from causalnb.training.recipe import Recipe

Loss = Callable[[nn.Module, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Fit:
    """A trained model, and for each epoch its number from 1, mean loss and `value` (what `evaluate` said, or
    None).
    """

    model: nn.Module
    history: list[dict[str, Any]]


def fit(
    model: nn.Module,
    data: Images,
    loss: Loss,
    recipe: Recipe,
    *,
    device: str | torch.device = "cpu",
    checkpoint: Path | None = None,
    evaluate: Callable[[nn.Module], float] | None = None,
) -> Fit:
    """Train `model` in place, on `device`; modes and the global generators are afterwards as they were.

    loss         (model, images, labels) -> scalar; gradients that it leaves in the model do not count, and
                 none stay
    checkpoint   a file: where each epoch's end is kept, and where training goes on from after a kill
    evaluate     called with the model in evaluation mode after every epoch

    A loss that is no longer a number is a UserError.
    """
    model.to(device)
    images, labels = data.images.to(device), data.labels.to(device)
    common: dict[str, Any] = {
        "params": model.parameters(),
        "lr": recipe.rate,
        "weight_decay": recipe.weight_decay,
        "foreach": True,
    }
    optimiser = (
        optim.Adam(**common) if recipe.optimiser == "adam" else optim.SGD(**common, momentum=recipe.momentum)
    )
    identity = _identity(model, data, loss, recipe) if checkpoint else ""
    history = _resume(checkpoint, identity, model, optimiser) if checkpoint and checkpoint.exists() else []
    bar = console.progress(
        range((recipe.epochs - len(history)) * math.ceil(len(labels) / recipe.batch)), what="training"
    )
    aside = torch.random.fork_rng(devices=range(torch.cuda.device_count()) if images.is_cuda else [])
    ordered = torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True)
    with mode(model, train=True), aside, ordered:
        for epoch in range(len(history), recipe.epochs):
            mean = _train(model, images, labels, loss, recipe, epoch, optimiser, bar)
            with mode(model, train=False):
                value = float(evaluate(model)) if evaluate else None
            history.append({"epoch": epoch + 1, "loss": mean, "value": value})
            if checkpoint:
                store.write(checkpoint, _everything(model, optimiser), {"of": identity, "history": history})
    optimiser.zero_grad()
    return Fit(model, history)


def cross_entropy(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """The mean cross-entropy of the model's logits: the plain loss."""
    return nn.functional.cross_entropy(model(images), labels)


def predict(model: nn.Module, images: Tensor, *, batch: int = 1000) -> Tensor:
    """Logits [n, classes], on the images' device; the model evaluates, without gradients, and keeps its
    modes.
    """
    device = next((parameter.device for parameter in model.parameters()), images.device)
    with mode(model, train=False), torch.no_grad():
        return torch.cat([model(some.to(device)).to(images.device) for some in torch.split(images, batch)])


def accuracy(model: nn.Module, data: Images, *, batch: int = 1000) -> float:
    """The share of images whose largest logit is their label's."""
    return int((predict(model, data.images, batch=batch).argmax(1) == data.labels).sum()) / len(data.labels)


@contextmanager
def mode(model: nn.Module, *, train: bool) -> Iterator[None]:
    """Inside, the model trains or evaluates; afterwards each of its modules has its own mode back."""
    modes = [(module, module.training) for module in model.modules()]
    try:
        model.train(train)
        yield
    finally:
        for module, training in modes:
            module.training = training


def _train(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    loss: Loss,
    recipe: Recipe,
    epoch: int,
    optimiser: optim.Optimizer,
    bar: Iterator[int],
) -> float:
    """One epoch, in which `bar` moves once a step; its mean loss. The order has a generator of its own, all
    else the global ones.
    """
    own, shared = (int(word) for word in np.random.SeedSequence([recipe.seed, epoch]).generate_state(2))
    torch.default_generator.manual_seed(shared)
    if images.is_cuda:
        torch.cuda.manual_seed_all(shared)
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(own)).to(images.device)
    optimiser.param_groups[0]["lr"] = recipe.rate_in(epoch)
    total = torch.zeros((), device=images.device)
    for places, _ in zip(torch.split(order, recipe.batch), bar, strict=False):
        some = images[places]
        if recipe.augmentation == "crop-flip":
            some = crop_flip(
                some,
                torch.randint(0, 9, (len(some), 2), device=some.device),
                torch.rand(len(some), device=some.device) < 0.5,
            )
        value = loss(model, some, labels[places])
        optimiser.zero_grad()
        value.backward()
        optimiser.step()
        total += value.detach() * len(places)
    if not torch.isfinite(total):
        raise UserError(
            f"The training loss is {float(total)} in epoch {epoch + 1} of {recipe.epochs}: "
            f"lower the learning rate ({recipe.rate}), or look for impossible values in the data."
        )
    return float(total) / len(labels)


def crop_flip(images: Tensor, shifts: Tensor, flips: Tensor) -> Tensor:
    """Crops of images [n, c, h, w] with 4 zeros around them, from row and column `shifts` [n, 2] on; mirrored
    where `flips` [n].

    >>> crop_flip(torch.tensor([[[[1., 2.]]]]), torch.tensor([[4, 5]]), torch.tensor([True]))
    tensor([[[[0., 2.]]]])
    """
    crops = (
        nn.functional.pad(images, (4, 4, 4, 4)).unfold(2, images.shape[2], 1).unfold(3, images.shape[3], 1)
    )  # [n, c, 9, 9, h, w], a view
    chosen = crops[torch.arange(len(images), device=images.device), :, shifts[:, 0], shifts[:, 1]]
    return torch.where(flips[:, None, None, None], chosen.flip(3), chosen)


def _identity(model: nn.Module, data: Images, loss: Loss, recipe: Recipe) -> str:
    """What a checkpoint must be of: the model with its weights, the data, the loss, the recipe."""
    frozen = [name for name, parameter in model.named_parameters() if not parameter.requires_grad]
    return identity.digest([model, frozen, data, loss, recipe], "the training")


def _everything(model: nn.Module, optimiser: optim.Optimizer) -> dict[str, Tensor]:
    """Weights, buffers and, by the parameters' numbers, the optimiser's state; the schedule and the seeds
    follow from the epoch.
    """
    parts = {"model": model.state_dict(), **optimiser.state_dict()["state"]}
    return {f"{part}.{name}": values for part, named in parts.items() for name, values in named.items()}


def _resume(file: Path, identity: str, model: nn.Module, optimiser: optim.Optimizer) -> list[dict[str, Any]]:
    """Put everything where the checkpoint saw it; the history so far, empty where there is nothing to go on
    from.
    """
    try:
        kept, header = store.read(file)
    except store.Damaged as error:
        console.say(f"{error}: the training begins anew.")
        return []
    if header.get("of") != identity:
        console.say(
            f"{file} is of another training (model, data, loss or recipe differ): this one begins anew and "
            "replaces it."
        )
        return []
    model.load_state_dict({name: kept.pop(f"model.{name}") for name in model.state_dict()})
    state: dict[int, dict[str, Tensor]] = {}
    for place, values in kept.items():
        number, _, name = place.partition(".")
        state.setdefault(int(number), {})[name] = values
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
    return list(header["history"])
