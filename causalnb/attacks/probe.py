"""What the rows of the sanity panel look at: a model with the images that it gets right, the attacks run on
them so far, and the path of one.

Attacks run through `run` alone, each once. What a row makes of them is indicators.py's.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from causalnb.attacks import ball
from causalnb.attacks.contract import run
from causalnb.attacks.flags import margins

Model = Callable[[Tensor], Tensor]

QUERIES = 100  # of Square, rescaled


class Finding(NamedTuple):
    """What a row found: whether it holds (None: it has no meaning here), its number, a sentence."""

    holds: bool | None
    value: float | None
    sentence: str


class Traced(nn.Module):
    """A model that notes the margins of every pass of a whole batch: [n] each, and whether gradients were
    asked.
    """

    def __init__(self, model: Model, labels: Tensor) -> None:
        """`labels` [n] of the batch that is followed."""
        super().__init__()
        self.model, self.labels = model, labels
        self.passes: list[tuple[bool, Tensor]] = []

    def forward(self, images: Tensor) -> Tensor:
        """The model's logits, as they are."""
        logits = self.model(images)
        if len(logits) >= len(self.labels):
            self.passes.append(
                (images.requires_grad, margins(logits.detach()[: len(self.labels)], self.labels))
            )
        return logits


class Divided(nn.Module):
    """A model's logits divided by a number: the same decisions."""

    def __init__(self, model: Model, by: float) -> None:
        """`by` is above 0."""
        super().__init__()
        self.model, self.by = model, by

    def forward(self, images: Tensor) -> Tensor:
        """Logits [n, classes]."""
        return self.model(images) / self.by


@dataclass(frozen=True)
class Probe:
    """The images [n, ...] that the model gets right, their clean logits [n, classes], the budget, and the
    attacks run so far.

    given   the number of images that these were among: the model gets the others wrong
    """

    model: Model
    images: Tensor
    labels: Tensor
    logits: Tensor
    norm: str
    eps: float
    seed: int
    steps: int
    chunk: int
    planted: int
    features: Model | None
    given: int
    known: dict[tuple[Any, ...], Tensor] = field(default_factory=dict)

    @property
    def n(self) -> int:
        """The number of images."""
        return len(self.labels)

    @property
    def slack(self) -> int:
        """How many images may go the other way where two searches are compared: one in twenty, two at least,
        since each search is one path.
        """
        return max(2, math.ceil(0.05 * self.n))

    @property
    def by_chance(self) -> int:
        """How many images a model without knowledge gets right: one in `classes`."""
        return self.n // self.logits.shape[1]

    @property
    def whole(self) -> float:
        """The budget that reaches all of the box [0, 1] from anywhere in it."""
        return ball.radius_of_box(self.images, self.norm)

    def broken(
        self,
        name: str,
        *,
        eps: float | None = None,
        steps: int | None = None,
        again: int = 0,
        over: float = 1.0,
        **settings: Any,
    ) -> Tensor:
        """[n] whether images are wrong after an attack; with `steps`, its `walk`. `again` is another seed,
        `over` divides the logits.
        """
        eps = self.eps if eps is None else eps
        if steps is not None:
            settings |= self.walk(eps, steps)
        key = (name, eps, again, over, *sorted(settings.items()))
        if key not in self.known:
            model = self.model if over == 1 else Divided(self.model, over)
            result = run(
                name,
                model,
                self.images,
                self.labels,
                norm=self.norm,
                eps=eps,
                seed=self.seed + again,
                chunk=self.chunk,
                stop=True,
                **settings,
            )
            self.known[key] = result.found | ~result.correct
        return self.known[key]

    def square(self, eps: float) -> Tensor:
        """[n] whether Square breaks images."""
        return self.broken("square", eps=eps, queries=QUERIES, rescale=True)

    @cached_property
    def path(self) -> tuple[Tensor, Tensor] | None:
        """PGD's path on one batch, margins of each iterate [steps + 1, n], and what `run` says was found [n].

        None where the clean answers change from pass to pass, so that the rows are not the images.
        """
        some, labels = self.images[: self.chunk], self.labels[: self.chunk]
        traced = Traced(self.model, labels)
        result = run(
            "pgd",
            traced,
            some,
            labels,
            norm=self.norm,
            eps=self.eps,
            seed=self.seed,
            chunk=self.chunk,
            **self.walk(self.eps, self.steps),
        )
        if not result.correct.all():
            return None
        asked = [place for place, (gradients, _) in enumerate(traced.passes) if gradients]
        return torch.stack([noted for _, noted in traced.passes[asked[0] : asked[-1] + 2]]), result.found

    def walk(self, eps: float, steps: int) -> dict[str, Any]:
        """Settings of a search whose steps add up to 2.5 eps."""
        return ball.pgd_schedule(eps, steps)
