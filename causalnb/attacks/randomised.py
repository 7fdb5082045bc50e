"""Tools against defences that draw at random, have no useful gradient, or optimise inside their forward pass.

The wrappers are models: every attack of `run` takes them as they are. `rescore` is the last word on a model
that draws. What does not stand here: attacks, and anything for a defence that optimises. Such a defence is
given to `run` whole, its loop included, so that gradients flow through all of it; as an attack is judged
without gradients, a loop that calls `torch.autograd.grad` opens `torch.enable_grad()` itself.

`run` gives back the clean image where its judge, one forward pass, says "not broken". For a model that draws,
`ascend` gives the ends of the paths unjudged, and `rescore` asks the model itself.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from causalnb.attacks.watch import device_of, preserved_state, score, whole
from causalnb.data.images import refuse_scale
from causalnb.randomness import generators_at

Model = Callable[[Tensor], Tensor]


class Expectation(nn.Module):
    """The mean of several forward passes of a model that draws at random: expectation over transformation
    (Athalye, Engstrom, Ilyas & Kwok 2018).

    Its gradient is the mean of the passes' gradients. Each of the `draws` is a forward pass of its own, not a
    row of one repeated batch: they differ also where a model draws once for a whole batch.

    of       "logits": the mean of the logits; "probabilities": the logarithm of the mean probabilities
    bounded  the gradient in the memory of one pass, each made again with torch's generators where they stood:
             the same to rounding, with respect to the images alone and not to parameters. Without it all
             passes are in memory at once

    >>> Expectation(lambda images: images + 1, draws=4)(torch.tensor([[1.0, 2.0]]))
    tensor([[2., 3.]])
    """

    def __init__(
        self,
        model: Model,
        draws: int,
        *,
        of: Literal["logits", "probabilities"] = "logits",
        bounded: bool = False,
    ) -> None:
        """Refused: fewer than one draw, a mean of anything else."""
        super().__init__()
        if draws < 1:
            raise ValueError(
                f"draws = {draws} is not possible: an expectation is the mean of at least one forward pass."
            )
        if of not in ("logits", "probabilities"):
            raise ValueError(f"of = {of!r} is not possible: the mean is one of logits or of probabilities.")
        self.model, self.draws, self.of, self.bounded = model, draws, of, bounded

    def forward(self, images: Tensor) -> Tensor:
        """Logits [n, classes]."""
        again = self.bounded and torch.is_grad_enabled() and images.requires_grad
        passed: Model = partial(_Again.apply, self.model) if again else self.model
        logits = torch.stack([passed(images) for _ in range(self.draws)])
        if self.of == "logits":
            return logits.mean(dim=0)
        return logits.log_softmax(dim=2).logsumexp(dim=0) - math.log(self.draws)


class _Again(torch.autograd.Function):
    """A forward pass of which nothing is kept: for its gradient it is made again, with the same draws."""

    @staticmethod
    def forward(ctx: Any, model: Model, images: Tensor) -> Tensor:
        ctx.model, ctx.states = model, _states(images.device)
        ctx.save_for_backward(images)
        return model(images)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, Tensor]:
        [images] = ctx.saved_tensors
        here = images.detach().requires_grad_()
        devices = [images.device] if images.is_cuda else []
        with torch.random.fork_rng(devices=devices), torch.enable_grad():
            for state, device in zip(ctx.states, ("cpu", *devices), strict=True):
                (torch.set_rng_state if device == "cpu" else partial(_set_cuda, device))(state)
            logits = ctx.model(here)
        return None, torch.autograd.grad(logits, here, gradient)[0]


def _states(device: torch.device) -> list[Tensor]:
    """Of torch's generators: the CPU's, and the CUDA device's."""
    own = [torch.cuda.get_rng_state(device)] if device.type == "cuda" else []
    return [torch.get_rng_state(), *own]


def _set_cuda(device: torch.device, state: Tensor) -> None:
    torch.cuda.set_rng_state(state, device)


class StraightThrough(nn.Module):
    """A function of the images whose gradient is taken to be the identity's: BPDA (Athalye, Carlini & Wagner
    2018, 4.1).

    For a preprocessing that gives back nearly what it gets and whose own gradient is absent or useless:
    `nn.Sequential(StraightThrough(purify), classifier)`. Refused: an output of another shape than the images.

    >>> images = torch.tensor([[0.2, 0.7]], requires_grad=True)
    >>> StraightThrough(torch.round)(images).sum().backward()
    >>> images.grad
    tensor([[1., 1.]])
    """

    def __init__(self, function: Model) -> None:
        """`function` gives images [n, ...] for images [n, ...]."""
        super().__init__()
        self.function = function

    def forward(self, images: Tensor) -> Tensor:
        """What the function gives, exactly."""
        with torch.no_grad():
            given = self.function(images.detach())
        return _instead(given, images, "the function's output", "the images")


class Surrogate(nn.Module):
    """The logits of `model` with the gradient of `surrogate`, a second model that stands in for it, such as
    one of fewer steps.

    The surrogate is asked only where a gradient is wanted. Refused: logits of different shapes.
    """

    def __init__(self, model: Model, surrogate: Model) -> None:
        """Both give logits [n, classes] for the same images."""
        super().__init__()
        self.model, self.surrogate = model, surrogate

    def forward(self, images: Tensor) -> Tensor:
        """Logits [n, classes] of `model`, exactly."""
        with torch.no_grad():
            logits = self.model(images.detach())
        wanted = torch.is_grad_enabled() and images.requires_grad
        return (
            _instead(logits, self.surrogate(images), "the model's logits", "the surrogate's")
            if wanted
            else logits
        )


class Fixed(nn.Module):
    """The same defence with its noise fixed and known: every image sees the same noise, in every batch and at
    every call.

    The images go one by one, each with the global generators of torch, numpy and Python at `seed`; afterwards
    these stand where they stood. A generator that the model holds itself is not reached: `rescore` then shows
    draws that differ.
    """

    def __init__(self, model: Model, seed: int) -> None:
        """`seed` decides the one draw of the noise."""
        super().__init__()
        self.model, self.seed = model, int(seed)

    def forward(self, images: Tensor) -> Tensor:
        """Logits [n, classes]."""
        return torch.cat([self._one(image) for image in images.split(1)])

    def _one(self, image: Tensor) -> Tensor:
        with generators_at(self.seed, image.device):
            return self.model(image)


@dataclass(frozen=True)
class Draws:
    """What a model that draws at random says of n images, asked again and again: its mean and its worst case
    are two numbers.

    correct   [draws, n] bool, on the images' device
    """

    correct: Tensor

    @property
    def mean(self) -> tuple[int, int]:
        """Right answers of all answers: the accuracy of one answer. The draws of an image belong together: an
        interval is over images.
        """
        return int(self.correct.sum()), self.correct.numel()

    @property
    def fails_in_any(self) -> Tensor:
        """[n] bool: wrong in at least one draw. It grows with the draws on clean images as well: theirs,
        asked as often, is the baseline.
        """
        return ~self.correct.all(dim=0)

    @property
    def right_in_all(self) -> tuple[int, int]:
        """Images that no draw gets wrong, of all."""
        return int(self.correct.all(dim=0).sum()), self.correct.shape[1]

    @property
    def right_once(self) -> tuple[int, int]:
        """Images that the first draw gets right, of all: what a single pass reports."""
        return int(self.correct[0].sum()), self.correct.shape[1]


def rescore(
    model: Model, images: Tensor, labels: Tensor, *, draws: int = 20, seed: int, chunk: int = 128
) -> Draws:
    """The final score of images, attacked or clean, on a model that draws at random: fresh forward passes of
    the untouched model.

    model     the defence itself, no wrapper; it is put in eval mode meanwhile
    draws     forward passes for each image
    seed      of torch's, numpy's and Python's generators, which stand afterwards where they stood. Clean and
              attacked images under the same seed, number and chunk meet the same draws: the clean ones are
              the baseline
    chunk     images in memory at a time

    An answer that is not finite is wrong. Refused: fewer than two draws, no images, pixels outside [0, 1],
    labels that are not one of the model's classes for each image.

    >>> model = lambda x: torch.stack([torch.zeros(len(x)), x.flatten(1).sum(dim=1) - 1], dim=1)
    >>> rescore(model, torch.full((3, 1, 2, 2), 0.3), torch.tensor([1, 1, 0]), draws=5, seed=0).mean
    (10, 15)
    """
    if draws < 2:
        raise ValueError(
            f"draws = {draws} is not possible: the mean over draws and a failure in any of them are told "
            "apart from 2 draws on."
        )
    if labels.shape != (len(images),) or not whole(labels):
        raise ValueError(
            f"labels must be whole numbers [{len(images)}], one for each image, got {labels.dtype} "
            f"{tuple(labels.shape)}."
        )
    if not len(images):
        raise ValueError("images must be at least one: of none there is no score.")
    if (finite := images[images.isfinite().flatten(1).all(dim=1)]).numel():
        refuse_scale("rescore", finite)
    device = device_of(model, images)
    with preserved_state(model, device, int(seed)), torch.no_grad():
        logits = torch.stack(
            [torch.cat([score(model, part.to(device)) for part in images.split(chunk)]) for _ in range(draws)]
        )
    if not 0 <= int(labels.min()) <= int(labels.max()) < logits.shape[2]:
        raise ValueError(
            f"labels run from {int(labels.min())} to {int(labels.max())}, the model has classes 0 to "
            f"{logits.shape[2] - 1}."
        )
    right = (logits.argmax(dim=2) == labels.to(device)) & logits.isfinite().all(dim=2)
    return Draws(right.to(images.device))


class _Instead(torch.autograd.Function):
    """The first tensor's values; the gradient goes to the second."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, carrier: Tensor) -> Tensor:
        return values.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, Tensor]:
        return None, gradient


def _instead(values: Tensor, carrier: Tensor, what: str, whose: str) -> Tensor:
    if values.shape != carrier.shape:
        raise ValueError(
            f"{what} must have the shape of {whose}, {tuple(carrier.shape)}, not {tuple(values.shape)}: no "
            "gradient can pass over."
        )
    return cast(Tensor, _Instead.apply(values, carrier))
