"""The defence: purify an image by likelihood, infer its latents, classify from S (Zhang 2024, figures_1_1).

One function, `defend`, that is attacked and judged alike: it gives the same answers with and without
gradients, its noise comes from torch's global generators or is given, and its gradient with respect to the
images is exact for the smooth purifier, in bounded memory. Through sign steps no useful gradient flows: there
an attacker takes the smooth defence, or one step, as a surrogate.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal, Protocol

import torch
from torch import Tensor, nn

from causalnb.chapters.purification import diffusion
from causalnb.chapters.purification.unrolled import State, pull, unrolled
from causalnb.randomness import generators_at


class Purifiable(Protocol):
    """What a defence stands on: a model of the noise with optional latents [n, d], an encoder of images in
    [-1, 1] and a classifier of latents.
    """

    def noise(self, noisy: Tensor, t: Tensor, latents: Tensor | None = None) -> Tensor:
        """The noise in x_t."""

    def encode(self, images: Tensor) -> Tensor:
        """Latents."""

    def classify(self, latents: Tensor) -> Tensor:
        """Logits."""


@dataclass(frozen=True)
class Around:
    """Any unconditional noise predictor (x_t, t) in front of any classifier of images in [0, 1]: purification
    alone, for a defence without searches.
    """

    predictor: Callable[[Tensor, Tensor], Tensor]
    classifier: Callable[[Tensor], Tensor]

    def noise(self, noisy: Tensor, t: Tensor, latents: Tensor | None = None) -> Tensor:
        """The predictor's."""
        return self.predictor(noisy, t)

    def encode(self, images: Tensor) -> Tensor:
        """The images themselves."""
        return images

    def classify(self, latents: Tensor) -> Tensor:
        """Logits of the classifier."""
        return self.classifier((latents + 1) / 2)


@dataclass(frozen=True)
class Settings:
    """Of a defence; lengths on the scale of [-1, 1], twice that of [0, 1].

    kind          "sign": signs of a momentum of gradients, as released; "smooth": gradients of length 1,
                  which can be differentiated
    steps latest  of purification, each at a time drawn below `latest`
    step radius   of "sign": the length of a step, and how far a pixel may move in all
    reach         of "smooth": the length of all steps together, in L2
    searches      steps of Adam for the latents, at `rate`, over all `times`
    """

    kind: Literal["sign", "smooth"] = "sign"
    steps: int = 5
    latest: int = 50
    step: float = 0.1
    radius: float = 0.4
    reach: float = 4.0
    searches: int = 10
    rate: float = 0.05
    times: tuple[int, ...] = (0, 90, 180, 270)

    @property
    def passes(self) -> int:
        """Forward passes of the noise predictor for an image: two noises a purification step, one a time of a
        search.
        """
        return 2 * self.steps + self.searches * len(self.times)


@dataclass(frozen=True)
class Draw:
    """All that a defence draws.

    t       [steps, n] times; purifying: [steps, n, ...] noise, taken with both signs
    searching  [times, n, ...] noise
    """

    t: Tensor
    purifying: Tensor
    searching: Tensor

    def for_all(self, n: int) -> "Draw":
        """The draw of one image, for n of them."""
        return Draw(
            *(one.expand(len(one), n, *one.shape[2:]) for one in (self.t, self.purifying, self.searching))
        )


def drawn(settings: Settings, images: Tensor) -> Draw:
    """Times and noise for images [n, ...], from torch's global generators."""

    def noise(count: int) -> Tensor:
        return torch.randn(count, *images.shape, device=images.device, dtype=images.dtype)

    t = torch.randint(max(settings.latest, 1), (settings.steps, len(images)), device=images.device)
    return Draw(t, noise(settings.steps), noise(len(settings.times) if settings.searches else 0))


def fixed(settings: Settings, images: Tensor, seed: int) -> Draw:
    """One draw for all images, from a seed: the noise of `attacks.randomised.Fixed`, at once."""
    with generators_at(seed, images.device):
        return drawn(settings, images[:1]).for_all(len(images))


def defend(
    model: Purifiable, images: Tensor, settings: Settings, draw: Draw | None = None, *, bounded: bool = True
) -> Tensor:
    """Logits [n, classes] of images [n, ...] in [0, 1]: x* by purification, (s*, z*) by search from the
    encoder's means, the label from s*.

    draw      the noise; None draws it from torch's global generators
    bounded   the gradient with respect to the images in the memory of one step, each computed twice; without
              it all steps are kept. The values and the gradient are the same
    """
    draw = drawn(settings, images) if draw is None else draw
    x = purify(model, 2 * images - 1, settings, draw, bounded=bounded)
    return model.classify(infer(model, x, settings, draw, bounded=bounded))


def purify(model: Purifiable, x: Tensor, settings: Settings, draw: Draw, *, bounded: bool = True) -> Tensor:
    """x* [n, ...] in [-1, 1], likelier than x without latents."""
    if not settings.steps:
        return x
    if settings.kind == "sign":
        return (x - _sign_change(model, x, settings, draw)).clamp(-1, 1)

    def step(number: int, x: Tensor, state: State) -> State:
        [u] = state
        gradient = pull(lambda at: pair_error(model, at, draw.t[number], draw.purifying[number]), u)
        return (u - settings.reach / settings.steps * gradient / _length(gradient),)

    [u] = unrolled(step, settings.steps, x, (x,), bounded=bounded)
    return u.clamp(-1, 1)


def infer(model: Purifiable, x: Tensor, settings: Settings, draw: Draw, *, bounded: bool = True) -> Tensor:
    """Latents [n, d] that make the noise of x likeliest, by steps of Adam from the encoder's means."""
    start = model.encode(x)
    if not settings.searches:
        return start

    def error(x: Tensor, latents: Tensor) -> Tensor:
        each = [
            diffusion.noise_error(
                model.noise, x, torch.full((len(x),), time, device=x.device), noise, latents
            )
            for time, noise in zip(settings.times, draw.searching, strict=True)
        ]
        return torch.stack(each).sum(0)

    def step(number: int, x: Tensor, state: State) -> State:
        c, first, second = state
        gradient = pull(lambda at: error(x, at), c)
        first, second = 0.9 * first + 0.1 * gradient, 0.999 * second + 0.001 * gradient.square()
        one, two = 1 - 0.9 ** (number + 1), 1 - 0.999 ** (number + 1)
        return c - settings.rate * (first / one) / ((second / two + TINY).sqrt() + 1e-8), first, second

    return unrolled(
        step, settings.searches, x, (start, torch.zeros_like(start), torch.zeros_like(start)), bounded=bounded
    )[0]


def pair_error(model: Purifiable, x: Tensor, t: Tensor, noise: Tensor) -> Tensor:
    """The noise error without latents for each image, the mean over a noise and its opposite: [n]."""
    return (
        diffusion.noise_error(model.noise, x, t, noise) + diffusion.noise_error(model.noise, x, t, -noise)
    ) / 2


class Defence(nn.Module):
    """A defended model as attacks take it: images in [0, 1] to logits, drawn anew at every call, or with the
    noise of `seed`, the same for every image.
    """

    def __init__(self, model: nn.Module, settings: Settings, *, seed: int | None = None) -> None:
        """`model` is Purifiable as well."""
        super().__init__()
        self.model, self.settings, self.seed = model, settings, seed

    def forward(self, images: Tensor) -> Tensor:
        """Logits [n, classes]."""
        draw = None if self.seed is None else fixed(self.settings, images, self.seed)
        return defend(self.model, images, self.settings, draw)  # type: ignore[arg-type]


TINY = 1e-30  # a root's slope at 0 is infinite


def _sign_change(model: Purifiable, x: Tensor, settings: Settings, draw: Draw) -> Tensor:
    """What the sign purifier takes away; no gradient passes (released: E), momenta of length 1 in L1 a
    gradient.
    """
    u = x.detach()
    change, momentum = torch.zeros_like(u), torch.zeros_like(u)
    for t, noise in zip(draw.t, draw.purifying, strict=True):
        gradient = pull(partial(pair_error, model, t=t, noise=noise), u - change).detach()
        length = gradient.abs().flatten(1).sum(1).clamp_min(TINY)
        momentum += gradient / length.view(-1, *(1,) * (x.ndim - 1))
        change = (change + settings.step * momentum.sign()).clamp(-settings.radius, settings.radius)
    return change


def _length(values: Tensor) -> Tensor:
    norm = (values.square().flatten(1).sum(1) + TINY).sqrt()
    return norm.view(-1, *(1,) * (values.ndim - 1))
