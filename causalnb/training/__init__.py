"""Training: one `fit` for every model and every loss, and `train_or_load`, which pays for it once."""

from causalnb.training.fitting import (
    Fit,
    Loss,
    Score,
    accuracy,
    crop_flip,
    cross_entropy,
    fit,
    mode,
    predict,
)
from causalnb.training.keeping import Outcome, Stages, carried_key, train_or_load, trained
from causalnb.training.recipe import PHOTOGRAPHS, Recipe

__all__ = [
    "PHOTOGRAPHS",
    "Fit",
    "Loss",
    "Outcome",
    "Recipe",
    "Score",
    "Stages",
    "accuracy",
    "carried_key",
    "crop_flip",
    "cross_entropy",
    "fit",
    "mode",
]
__all__ += ["predict", "train_or_load", "trained"]
