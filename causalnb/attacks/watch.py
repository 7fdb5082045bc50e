"""What stands between an attack and the model: the goal, the model as it is watched, and a guard that leaves no trace."""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain

import numpy as np
import torch
from torch import Tensor, nn

# Matrix kernels take other paths for very few rows and round differently: fewer images than this are sent with copies.
ROWS = 8


@dataclass(frozen=True)
class Goal:
    """What counts as success for each image: any class but its label, or exactly its target."""

    labels: Tensor
    targets: Tensor | None = None

    def reached(self, logits: Tensor) -> Tensor:
        """[n] whether each row of logits is finite and reaches the goal."""
        predicted = logits.argmax(dim=1)
        hit = predicted != self.labels if self.targets is None else predicted == self.targets
        return hit & logits.isfinite().all(dim=1)

    def at(self, rows: Tensor) -> "Goal":
        """The goal of some of the images."""
        return Goal(self.labels[rows], None if self.targets is None else self.targets[rows])

    def to(self, device: torch.device) -> "Goal":
        """The goal on another device."""
        return Goal(self.labels.to(device), None if self.targets is None else self.targets.to(device))


class Watched(nn.Module):
    """The model as an attack sees it: counts passes and remembers the last iterate that reached the goal.

    The model is no submodule of it, so that a library that moves or switches its model touches nothing of the user's.
    """

    def __init__(self, model: Callable[[Tensor], Tensor], device: torch.device, ticks: Iterator[int]):
        """`ticks` moves by one with every forward pass: a progress bar."""
        super().__init__()
        self.score: Callable[[Tensor], Tensor] = lambda images: score(model, images)
        self.device, self.ticks = device, ticks
        self.forwards = self.backwards = 0
        self.eval()

    def follow(self, images: Tensor, goal: Goal) -> None:
        """Begin with a batch: nothing is remembered of it yet."""
        self.goal, self.kept = goal, images.clone()

    def forward(self, images: Tensor) -> Tensor:
        """Logits of the images, counted; iterates of the followed batch are looked at."""
        logits = self.score(images)
        self.forwards += len(images)
        self.backwards += len(images) * images.requires_grad
        if images.shape == self.kept.shape:
            hit = self.goal.reached(logits.detach())
            self.kept[hit] = images.detach()[hit]
        next(self.ticks, None)
        return logits

    @torch.no_grad()
    def last_success(self, images: Tensor) -> Tensor:
        """The given images where they reach the goal, else the last iterates that did, else the images as they came."""
        hit = self.goal.reached(self.score(images))
        self.kept[hit] = images[hit]
        return self.kept


def score(model: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """Logits [n, classes] of one forward pass."""
    copies = images[:1].expand(max(ROWS - len(images), 0), *images.shape[1:])
    logits = model(torch.cat([images, copies]) if len(copies) else images)
    if not isinstance(logits, Tensor) or logits.dim() != 2:
        raise ValueError(f"the model must give logits [n, classes] for images {tuple(images.shape)}, it gave {getattr(logits, 'shape', type(logits))}")
    return logits[:len(images)]


def device_of(model: Callable[[Tensor], Tensor], images: Tensor) -> torch.device:
    """Where the model lives; a model without tensors lives where the images are."""
    tensors = chain(model.parameters(), model.buffers()) if isinstance(model, nn.Module) else ()
    return next((tensor.device for tensor in tensors), images.device)


@contextmanager
def untouched(model: Callable[[Tensor], Tensor], device: torch.device, seed: int) -> Iterator[None]:
    """The model in eval mode with frozen parameters, torch's generators at `seed`; after it all is as it was.

    Restored, also after an exception: each submodule's mode, each parameter's `requires_grad`, buffers, and the
    global generators of torch (with the model's CUDA device), numpy and Python.
    """
    restore = _remember(model) if isinstance(model, nn.Module) else lambda: None
    numpy_state, python_state = np.random.get_state(), random.getstate()
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []), torch.enable_grad():
        try:
            torch.default_generator.manual_seed(seed)
            if device.type == "cuda":
                with torch.cuda.device(device):
                    torch.cuda.manual_seed(seed)
            if isinstance(model, nn.Module):
                model.eval().requires_grad_(False)
            yield
        finally:
            restore()
            np.random.set_state(numpy_state)
            random.setstate(python_state)


def _remember(model: nn.Module) -> Callable[[], None]:
    """What a model holds beside its weights' values, as a function that puts it back."""
    modes = [(module, module.training) for module in model.modules()]
    required = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    buffers = [(module, name, buffer, buffer.clone()) for module in model.modules() for name, buffer in module._buffers.items() if buffer is not None]

    def restore() -> None:
        for module, mode in modes:
            module.training = mode
        for parameter, before in required:
            parameter.requires_grad_(before)
        for module, name, buffer, values in buffers:
            module._buffers[name] = buffer
            if not torch.equal(buffer, values):
                buffer.data.copy_(values)

    return restore
