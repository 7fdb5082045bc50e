"""How to train: the recipe, a plain record. What is done with it stands in fitting.py."""

import math
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Recipe(BaseModel):
    """How to train.

    momentum       of sgd; adam keeps its own two, 0.9 and 0.999
    schedule       of the rate, by epochs: constant; cosine, from `rate` towards 0; steps, a tenth of it after
                   a half and after three quarters
    augmentation   crop-flip: each image shifted by up to 4 pixels, zeros moving in, and mirrored or not
    seed           of the batches' order, the augmentation and what the model or loss draws (dropout); not of
                   the first weights
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
        return (
            self.rate
            * {
                "constant": 1.0,
                "cosine": (1 + math.cos(math.pi * done)) / 2,
                "steps": 0.1 ** ((done >= 0.5) + (done >= 0.75)),
            }[self.schedule]
        )
