"""Chapter 4: adversarial training that aligns label and style (Zhang et al. 2022, CausalAdv), for a model and
images of yours.

>>> from causalnb import data, models, training
>>> from causalnb.chapters import alignment
>>> model, digits = models.gap_cnn(seed=0), data.load("digits8").take(slice(128))
>>> recipe = training.Recipe(rate=0.05, momentum=0.9, epochs=1)
>>> made = alignment.train(model, digits, method="causaladv-m", eps=0.1, steps=2, recipe=recipe)

`alignment.CausalAdv` is the loss by itself, for a loop of `training.fit`; `alignment.directions` and
`alignment.without` are the style map; `alignment.checks` tests the derivation where the truth is known.
"""

from typing import TYPE_CHECKING

from causalnb import lazy

if TYPE_CHECKING:
    from causalnb.chapters.alignment.objectives import Ball, CausalAdv, Released, Trades
    from causalnb.chapters.alignment.own import train
    from causalnb.chapters.alignment.style import Covariance, directions, without
else:
    __getattr__, __dir__ = lazy.names(__name__)

__all__ = ["Ball", "CausalAdv", "Covariance", "Released", "Trades", "directions", "train", "without"]
