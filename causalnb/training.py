"""Training: one `fit` for every model and every loss. Losses are functions; no attack is known here.

An epoch's randomness is a function of the recipe's seed and the epoch's number, and its end is checkpointed. So a
training that was killed and begun again ends with the same weights, bit for bit, on the same device and threads.
"""

import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.adam import adam
from torch.optim.sgd import sgd

from causalnb import UserError, console, models, record, store
from causalnb.data.images import Images, fingerprint

Loss = Callable[[nn.Module, Tensor, Tensor], Tensor]
Device = str | torch.device


class Recipe(BaseModel):
    """How to train.

    momentum       of sgd; adam keeps its own two, 0.9 and 0.999
    schedule       of the rate, by epochs: constant; cosine, from `rate` towards 0; steps, a tenth of it after a half and after three quarters
    augmentation   crop-flip: each image shifted by up to 4 pixels, zeros moving in, and mirrored or not
    seed           of the batches' order, the augmentation and what the model or loss draws (dropout); not of the first weights
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    optimiser: Literal["sgd", "adam"] = "sgd"
    rate: float = Field(0.01, gt=0)
    momentum: float = Field(0.0, ge=0, lt=1)
    weight_decay: float = Field(0.0, ge=0)
    schedule: Literal["constant", "cosine", "steps"] = "constant"
    epochs: int = Field(10, ge=1)
    batch: int = Field(128, ge=1)
    augmentation: Literal["none", "crop-flip"] = "none"
    seed: int = Field(0, ge=0)

    def rate_in(self, epoch: int) -> float:
        """The learning rate in an epoch, counted from 0.

        >>> [round(Recipe(rate=1, schedule="steps", epochs=4).rate_in(epoch), 3) for epoch in range(4)]
        [1.0, 1.0, 0.1, 0.01]
        """
        done = epoch / self.epochs
        return self.rate * {"constant": 1.0, "cosine": (1 + math.cos(math.pi * done)) / 2, "steps": 0.1 ** ((done >= 0.5) + (done >= 0.75))}[self.schedule]


@dataclass(frozen=True)
class Fit:
    """A trained model, and for each epoch its number from 1, mean loss, `value` (what `evaluate` said, or None) and seconds."""

    model: nn.Module
    history: list[dict[str, Any]]


class _Optimiser:
    """sgd and adam by torch's own functions: the classes around them make every process import a compiler, for seconds.

    A parameter that the loss does not reach has the gradient 0.
    """

    def __init__(self, model: nn.Module, recipe: Recipe) -> None:
        self.recipe = recipe
        self.parameters: list[Tensor] = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self.first: list[Any] = [torch.zeros_like(parameter) for parameter in self.parameters]
        self.second = [torch.zeros_like(parameter) for parameter in self.parameters if recipe.optimiser == "adam"]
        self.steps = [torch.tensor(0.0) for _ in self.second]

    @torch.no_grad()
    def step(self, gradients: Sequence[Tensor], rate: float) -> None:
        common: dict[str, Any] = {"lr": rate, "weight_decay": self.recipe.weight_decay, "maximize": False, "foreach": True}
        if self.recipe.optimiser == "adam":
            adam(self.parameters, list(gradients), self.first, self.second, [], self.steps, amsgrad=False, beta1=0.9, beta2=0.999, eps=1e-8, **common)
        else:
            sgd(self.parameters, list(gradients), self.first, momentum=self.recipe.momentum, dampening=0.0, nesterov=False, **common)

    def state(self) -> dict[str, Tensor]:
        """Every moment and counter, by name; to copy into them is to go back."""
        return {f"{name}.{index}": one for name in ("first", "second", "steps") for index, one in enumerate(getattr(self, name))}


def fit(model: nn.Module, data: Images, loss: Loss, recipe: Recipe, *, device: Device = "cpu", checkpoint: Path | None = None,
        evaluate: Callable[[nn.Module], float] | None = None) -> Fit:
    """Train `model` in place, on `device`; modes and the global generators are afterwards as they were.

    loss         (model, images, labels) -> scalar; gradients that it leaves in the model do not count
    checkpoint   a file, or a folder for one: where each epoch's end is kept, and where training goes on from after a kill
    evaluate     called with the model in evaluation mode after every epoch

    A loss that is no longer a number is a UserError.
    """
    device = torch.device(device)
    model.to(device)
    images, labels = data.images.to(device), data.labels.to(device)
    optimiser = _Optimiser(model, recipe)
    file = checkpoint / f"training{store.SUFFIX}" if checkpoint and checkpoint.is_dir() else checkpoint
    identity = _identity(model, data, loss, recipe) if file else ""
    history = _resume(file, identity, model, optimiser) if file else []
    bar = console.progress(range((recipe.epochs - len(history)) * math.ceil(len(labels) / recipe.batch)), what="training")
    aside = torch.random.fork_rng(devices=[device] if device.type == "cuda" else [])
    ordered = torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True)
    with mode(model, train=True), aside, ordered:
        for epoch in range(len(history), recipe.epochs):
            start = time.perf_counter()
            mean = _train(model, images, labels, loss, recipe, epoch, optimiser, bar)
            seconds = round(time.perf_counter() - start, 3)
            with mode(model, train=False):
                value = float(evaluate(model)) if evaluate else None
            history.append({"epoch": epoch + 1, "loss": mean, "value": value, "seconds": seconds})
            if file:
                store.write(file, _everything(model, optimiser), {"of": identity, "history": history})
    return Fit(model, history)


def cross_entropy(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """The mean cross-entropy of the model's logits: the plain loss."""
    return functional.cross_entropy(model(images), labels)


def predict(model: nn.Module, images: Tensor, *, batch: int = 1000) -> Tensor:
    """Logits [n, classes], on the images' device; the model evaluates, without gradients, and keeps its modes."""
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


def _train(model: nn.Module, images: Tensor, labels: Tensor, loss: Loss, recipe: Recipe, epoch: int, optimiser: _Optimiser,
           bar: Iterator[int]) -> float:
    """One epoch, in which `bar` moves once a step; its mean loss."""
    generator = _reseed(images.device, recipe.seed, epoch)
    order = torch.randperm(len(labels), generator=generator).to(images.device)
    augment = _augmentation(recipe, len(labels), generator, images.device)
    rate, total = recipe.rate_in(epoch), torch.zeros((), device=images.device)
    for step, (places, _) in enumerate(zip(torch.split(order, recipe.batch), bar, strict=False), start=1):
        value = loss(model, augment(images.index_select(0, places), places), labels.index_select(0, places))
        optimiser.step(torch.autograd.grad(value, optimiser.parameters, materialize_grads=True), rate)
        total += value.detach() * len(places)
        if (step % 100 == 0 or step * recipe.batch >= len(labels)) and not torch.isfinite(total):
            raise UserError(f"The training loss is {float(total)} in epoch {epoch + 1} of {recipe.epochs}: "
                            f"lower the learning rate ({recipe.rate}), or look for impossible values in the data.")
    return float(total) / len(labels)


def _reseed(device: torch.device, seed: int, epoch: int) -> torch.Generator:
    """Seed the global generators (dropout) for an epoch, and give a generator for its order and augmentation."""
    own, shared = (int(word) for word in np.random.SeedSequence([seed, epoch]).generate_state(2))
    torch.default_generator.manual_seed(shared)
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(shared)
    return torch.Generator().manual_seed(own)


def _augmentation(recipe: Recipe, n: int, generator: torch.Generator, device: torch.device) -> Callable[[Tensor, Tensor], Tensor]:
    """What an epoch does to its images, drawn for all of them at once: (images, their places in the set) -> images."""
    if recipe.augmentation == "none":
        return lambda images, places: images
    shifts = torch.randint(0, 9, (n, 2), generator=generator).to(device)
    flips = (torch.rand(n, generator=generator) < 0.5).to(device)
    return lambda images, places: crop_flip(images, shifts[places], flips[places])


def crop_flip(images: Tensor, shifts: Tensor, flips: Tensor) -> Tensor:
    """Crops of images [n, c, h, w] with 4 zeros around them, from row and column `shifts` [n, 2] on; mirrored where `flips` [n].

    >>> crop_flip(torch.tensor([[[[1., 2.]]]]), torch.tensor([[4, 5]]), torch.tensor([True]))
    tensor([[[[0., 2.]]]])
    """
    n, channels, height, width = images.shape
    padded = functional.pad(images, (4, 4, 4, 4))
    rows = shifts[:, :1] + torch.arange(height, device=images.device)
    columns = shifts[:, 1:] + torch.arange(width, device=images.device)
    columns = torch.where(flips[:, None], columns.flip(1), columns)
    image, channel = torch.arange(n, device=images.device), torch.arange(channels, device=images.device)
    return padded[image[:, None, None, None], channel[:, None, None], rows[:, None, :, None], columns[:, None, None, :]]


def _identity(model: nn.Module, data: Images, loss: Loss, recipe: Recipe) -> str:
    what = {"images": data.images.cpu(), "labels": data.labels.cpu(), **models.state(model)}
    return record.digest(json.dumps([recipe.model_dump(), getattr(loss, "__qualname__", ""), fingerprint(what)]))


def _everything(model: nn.Module, optimiser: _Optimiser) -> dict[str, Tensor]:
    """Weights, buffers and the optimiser's state; the schedule and the seeds follow from the epoch."""
    return {**{f"model.{name}": values for name, values in model.state_dict().items()}, **optimiser.state()}


def _resume(file: Path, identity: str, model: nn.Module, optimiser: _Optimiser) -> list[dict[str, Any]]:
    """Put everything where the checkpoint saw it; the history so far, empty where there is nothing to go on from."""
    try:
        kept, header = store.read(file)
    except FileNotFoundError:
        return []
    except store.Damaged as error:
        console.say(f"{error}: the training begins anew.")
        return []
    if header.get("of") != identity:
        console.say(f"{file} is of another training (model, data, loss or recipe differ): this one begins anew and replaces it.")
        return []
    for name, values in _everything(model, optimiser).items():
        values.copy_(kept[name])
    return list(header["history"])
