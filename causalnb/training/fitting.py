"""Training: one `fit` for every model and every loss. Losses are functions; no attack is known here.

A loss that has a state, or wants to know the epoch, is a module. Those of its parameters that ask for
gradients are trained with the model's by the one optimiser, its buffers it writes itself, and both are
checkpointed; its mode stays as it is. If it has a method `begin_epoch(epoch)`, each epoch begins with that,
counted from 0.

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
from causalnb.data.images import Images, refuse_unpaired
from causalnb.store import identity
from causalnb.training.recipe import Recipe

Loss = Callable[[nn.Module, Tensor, Tensor], Tensor]
Score = Callable[[nn.Module], float]


@dataclass(frozen=True)
class Fit:
    """A trained model with its last weights, and the best ones.

    history   for each epoch its number from 1, mean loss, `value` and `score` (what `evaluate` and `validate`
              said, or None)
    best      the weights by name, on the CPU, after the epoch with the highest score, the first of equals;
              empty without `validate`
    """

    model: nn.Module
    history: list[dict[str, Any]]
    best: dict[str, Tensor]


def fit(
    model: nn.Module,
    data: Images,
    loss: Loss,
    recipe: Recipe,
    *,
    device: str | torch.device = "cpu",
    checkpoint: Path | None = None,
    evaluate: Score | None = None,
    validate: Score | None = None,
) -> Fit:
    """Train `model` in place, on `device`; modes and the global generators are afterwards as they were.

    loss         (model, images, labels) -> scalar; gradients that it leaves in the model do not count, and
                 none stay. A module is trained in place, too
    checkpoint   a file: where each epoch's end is kept, and where training goes on from after a kill
    evaluate     called with the model in evaluation mode after every epoch
    validate     likewise; the higher its score the better the weights

    Refused: a set without images, or without one label for each; a loss or a score that is no number.
    """
    refuse_unpaired(data.images, data.labels, of=data.name)
    state = {"model": model} | ({"loss": loss} if isinstance(loss, nn.Module) else {})
    whole = nn.ModuleDict(state).to(device)
    images, labels = data.images.to(device), data.labels.to(device)
    optimiser = _optimiser(whole, recipe)
    identity = _identity(model, data, loss, recipe, validate) if checkpoint else ""
    history, best = _resume(checkpoint, identity, whole, optimiser, recipe)
    bar = console.progress(
        range((recipe.epochs - len(history)) * math.ceil(len(labels) / recipe.batch)), what="training"
    )
    aside = torch.random.fork_rng(devices=range(torch.cuda.device_count()) if images.is_cuda else [])
    ordered = torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True)
    with mode(model, train=True), aside, ordered:
        for epoch in range(len(history), recipe.epochs):
            with _laid_out(model, recipe):
                mean = _train(model, images, labels, loss, recipe, epoch, optimiser, bar)
            with mode(model, train=False):
                value = float(evaluate(model)) if evaluate else None
                score = _number(validate(model), epoch) if validate else None
            if score is not None and all(score > row["score"] for row in history):
                best = {name: one.detach().to("cpu", copy=True) for name, one in model.state_dict().items()}
            history.append({"epoch": epoch + 1, "loss": mean, "value": value, "score": score})
            if checkpoint:
                everything = _everything(whole, optimiser, best)
                store.write(checkpoint, everything, {"of": identity, "history": history})
    optimiser.zero_grad()
    return Fit(model, history, best)


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
    refuse_unpaired(data.images, data.labels, of=data.name)
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
    if begin_epoch := getattr(loss, "begin_epoch", None):
        begin_epoch(epoch)
    batches = torch.split(order, recipe.batch)
    total = torch.zeros((), device=images.device)
    for number, (places, _) in enumerate(zip(batches, bar, strict=False)):
        for group in optimiser.param_groups:
            group["lr"] = recipe.rate_in(epoch + (number + 0.5) / len(batches))
        some = _shown(images[places], recipe)
        with torch.autocast(some.device.type, torch.bfloat16, enabled=recipe.precision == "bfloat16"):
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


def _shown(images: Tensor, recipe: Recipe) -> Tensor:
    """A batch as the recipe augments it and lays it out."""
    if recipe.augmentation == "crop-flip":
        images = crop_flip(
            images,
            torch.randint(0, 9, (len(images), 2), device=images.device),
            torch.rand(len(images), device=images.device) < 0.5,
        )
    return _lay(images, recipe)


@contextmanager
def _laid_out(model: nn.Module, recipe: Recipe) -> Iterator[None]:
    """Inside, the weights lie as the recipe says. Whoever evaluates sees them in the common order, like all
    who get them from the store.
    """
    of_images = [one for one in (*model.parameters(), *model.buffers()) if one.ndim == 4]
    try:
        for one in of_images:
            one.data = _lay(one.data, recipe)
        yield
    finally:
        for one in of_images if recipe.channels_last else []:
            one.data = one.data.contiguous()


def _lay(values: Tensor, recipe: Recipe) -> Tensor:
    channels_last = recipe.channels_last and values.ndim == 4
    return values.contiguous(memory_format=torch.channels_last) if channels_last else values


def _optimiser(whole: nn.Module, recipe: Recipe) -> optim.Optimizer:
    """Over all that asks for gradients; what does not decay is a group of its own."""
    decay, spared = (
        [one for one in whole.parameters() if (recipe.decay_on == "weights" and one.ndim < 2) is without]
        for without in (False, True)
    )
    groups: list[dict[str, Any]] = [{"params": decay}, {"params": spared, "weight_decay": 0.0}]
    common: dict[str, Any] = {"lr": recipe.rate, "weight_decay": recipe.weight_decay, "foreach": True}
    if recipe.optimiser == "adam":
        return optim.Adam(groups, **common)
    return optim.SGD(groups, **common, momentum=recipe.momentum, nesterov=recipe.nesterov)


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


def _number(score: float, epoch: int) -> float:
    if math.isnan(score := float(score)):
        raise UserError(
            f"The validation score after epoch {epoch + 1} is nan: give a function whose higher values are "
            "better weights."
        )
    return score


def _identity(model: nn.Module, data: Images, loss: Loss, recipe: Recipe, validate: Score | None) -> str:
    """What a checkpoint must be of: the model with its weights, the data, the loss, the recipe, the score."""
    frozen = [name for name, parameter in model.named_parameters() if not parameter.requires_grad]
    return identity.digest([model, frozen, data, loss, recipe, validate], "the training")


def _everything(whole: nn.Module, optimiser: optim.Optimizer, best: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights and buffers of the model and the loss, the best weights and, by the parameters' numbers, the
    optimiser's state; the schedule and the seeds follow from the epoch.
    """
    parts = {"best": best, **optimiser.state_dict()["state"]}
    state = {f"{part}.{name}": values for part, named in parts.items() for name, values in named.items()}
    return whole.state_dict() | state


def _resume(
    file: Path | None, identity: str, whole: nn.Module, optimiser: optim.Optimizer, recipe: Recipe
) -> tuple[list[dict[str, Any]], dict[str, Tensor]]:
    """Put everything where the checkpoint saw it; the history so far and the best weights, empty where there
    is nothing to go on from.
    """
    if file is None or not file.exists():
        return [], {}
    try:
        kept, header = store.read(file)
    except store.Damaged as error:
        console.say(f"{error}: the training begins anew.")
        return [], {}
    if header.get("of") != identity:
        console.say(
            f"{file} is of another training (model, data, loss or recipe differ): this one begins anew and "
            "replaces it."
        )
        return [], {}
    whole.load_state_dict({name: kept.pop(name) for name in whole.state_dict()})
    parts: dict[str, dict[str, Tensor]] = {"best": {}}
    for place, values in kept.items():
        part, _, name = place.partition(".")
        parts.setdefault(part, {})[name] = _lay(values, recipe)
    best = parts.pop("best")
    state = {int(number): named for number, named in parts.items()}
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
    return list(header["history"]), best
