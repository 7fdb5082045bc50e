"""How to train: the recipe, a plain record. What is done with it stands in fitting.py."""

import math
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Recipe(BaseModel):
    """How to train. A field at its default stands in no key, so that a new one moves nobody's weights.

    momentum        of sgd, with `nesterov` in Nesterov's way; adam keeps its own two, 0.9 and 0.999
    decay_on        what `weight_decay` shrinks: all, or weights, which are the parameters of two axes and
                    more: neither norms nor biases
    schedule        of the rate. By epochs: constant; cosine, from `rate` towards 0; steps, a tenth of it
                    after a half and after three quarters. By steps: one-cycle, straight from 0 up to `rate`,
                    reached after the share `warm_up` of the training, and straight down to 0
    augmentation    crop-flip: each image shifted by up to 4 pixels, zeros moving in, and mirrored or not
    precision       bfloat16: the loss computes under autocast; weights, their steps and every evaluation
                    stay as they are
    channels_last   while it trains, weights and images lie so in memory: time and rounding change, no more
    seed            of the batches' order, the augmentation and what the model or loss draws (dropout); not of
                    the first weights
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    optimiser: Literal["sgd", "adam"] = "sgd"
    rate: float = Field(0.01, gt=0)
    momentum: float = Field(0.0, ge=0, lt=1)
    nesterov: bool = False
    weight_decay: float = Field(0.0, ge=0)
    decay_on: Literal["all", "weights"] = "all"
    schedule: Literal["constant", "cosine", "steps", "one-cycle"] = "constant"
    warm_up: float = Field(0.2, gt=0, lt=1)
    epochs: int = Field(10, ge=1)
    batch: int = Field(128, ge=1)
    augmentation: Literal["none", "crop-flip"] = "none"
    precision: Literal["float32", "bfloat16"] = "float32"
    channels_last: bool = False
    seed: int = Field(0, ge=0)

    @model_validator(mode="after")
    def _nesterov_has_a_momentum(self) -> "Recipe":
        if self.nesterov and not (self.optimiser == "sgd" and self.momentum):
            raise ValueError("nesterov is a way of sgd with a momentum: give both, or leave it out")
        return self

    def rate_in(self, epoch: float) -> float:
        """The learning rate at a time in epochs from 0; within an epoch only one-cycle's moves.

        >>> [round(Recipe(rate=1, schedule="steps", epochs=4).rate_in(epoch), 3) for epoch in range(4)]
        [1.0, 1.0, 0.1, 0.01]
        >>> [round(Recipe(rate=1, schedule="one-cycle", epochs=5).rate_in(at), 3) for at in (0, 0.5, 1, 3, 5)]
        [0.0, 0.5, 1.0, 0.5, 0.0]
        """
        done = (epoch if self.schedule == "one-cycle" else math.floor(epoch)) / self.epochs
        return (
            self.rate
            * {
                "constant": 1.0,
                "cosine": (1 + math.cos(math.pi * done)) / 2,
                "steps": 0.1 ** ((done >= 0.5) + (done >= 0.75)),
                "one-cycle": min(done / self.warm_up, (1 - done) / (1 - self.warm_up)),
            }[self.schedule]
        )


PHOTOGRAPHS = Recipe(  # one cycle with crops and flips, for small networks on 32 x 32 colour images
    rate=0.1,
    momentum=0.9,
    nesterov=True,
    weight_decay=5e-4,
    decay_on="weights",
    schedule="one-cycle",
    augmentation="crop-flip",
    channels_last=True,
)
