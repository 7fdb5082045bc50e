"""The parameters of chapter 4 and what each profile sets."""

from typing import Literal, Self

from pydantic import model_validator

from causalnb.parameters import Parameters as Base
from causalnb.parameters import parameter

SETS = ("digits8", "mnist14", "cifar16", "mnist", "cifar10")


class Parameters(Base):
    """Zhang et al. 2022: adversarial trainings with and without a style head, over seeds."""

    profiles = {
        "quick": {
            "data": "digits8",
            "n_images": 300,
            "n_strong": 0,
            "n_train": 400,
            "n_seeds": 3,
            "n_shown": 1,
            "n_tuning": 0,
            "network": "small",
            "recipe": "small",
            "n_knowing": 30,
            "n_auto": 0,
            "n_draws": 0,
            "course": 0,
            "n_shapes": 0,
            "n_swept": 0,
        },
        "laptop": {
            "data": "mnist14,cifar16",
            "n_images": 10_000,
            "n_strong": 2000,
            "n_train": 10_000,
            "n_seeds": 10,
            "n_shown": 3,
            "n_tuning": 2,
            "network": "small",
            "recipe": "small",
            "n_knowing": 500,
            "n_auto": 500,
            "n_draws": 100000,
            "course": 150,
            "n_shapes": 6000,
            "n_swept": 3,
        },
        "gpu": {
            "data": "cifar10",
            "n_images": 10_000,
            "n_strong": 1000,
            "n_train": 50_000,
            "n_seeds": 1,
            "n_shown": 1,
            "n_tuning": 0,
            "network": "resnet18",
            "recipe": "short",
            "n_knowing": 500,
            "n_auto": 500,
            "n_draws": 100000,
            "course": 0,
            "n_shapes": 0,
            "n_swept": 0,
        },
        "full": {
            "data": "mnist,cifar10",
            "n_images": 10_000,
            "n_strong": 10_000,
            "n_train": 60_000,
            "n_seeds": 5,
            "n_shown": 5,
            "n_tuning": 0,
            "network": "resnet18",
            "recipe": "paper",
            "n_knowing": 1000,
            "n_auto": 1000,
            "n_draws": 200000,
            "course": 150,
            "n_shapes": 6000,
            "n_swept": 3,
        },
    }

    n_images: int = parameter(None, "test images drawn, balanced over the classes", ge=10, le=10_000)
    n_strong: int = parameter(None, "of them, images for APGD; 0 for none", ge=0, le=10_000)
    n_knowing: int = parameter(
        None,
        "of them, images for PGD with 500 steps, for images of others and for attacks on the head",
        ge=10,
        le=10_000,
    )
    n_train: int = parameter(None, "training images drawn, balanced over the classes", ge=100, le=60_000)
    n_seeds: int = parameter(
        None, "trainings of each arm that a claim rests on, with seeds from `seed` on", ge=1, le=50
    )
    n_shown: int = parameter(None, "trainings of each arm that is only shown", ge=1, le=50)
    n_tuning: int = parameter(
        None,
        "trainings of each arm at each rate, with seeds set apart; 0 for the recipe's own rate",
        ge=0,
        le=10,
    )
    n_auto: int = parameter(
        None,
        "of the test images, how many for AutoAttack on the first network of each arm; 0 for none",
        ge=0,
        le=10_000,
    )
    n_draws: int = parameter(
        None, "draws of two Gaussian features in a training at the dial; 0 for none", ge=0, le=1_000_000
    )
    course: int = parameter(None, "epochs on few digits, for robust overfitting; 0 for none", ge=0, le=1000)
    n_shapes: int = parameter(None, "training images of shapes with textures; 0 for none", ge=0, le=60_000)
    n_swept: int = parameter(
        None,
        "trainings at each other lambda, and at each other weight of a frontier; 0 for none",
        ge=0,
        le=50,
    )
    network: Literal["small", "small_cnn", "resnet18", "wrn34"] = parameter(
        None, "the network: small, a set's own, or one of the paper's"
    )
    recipe: Literal["small", "short", "paper", "long"] = parameter(
        None, "the training: small, a set's own; short; the paper's, or its 200 epochs of Fig. 2"
    )

    @model_validator(mode="after")
    def _possible(self) -> Self:
        for name in self.sets:
            if name not in SETS:
                raise ValueError(f"data = {name!r} is not possible: a data set is one of {', '.join(SETS)}.")
        return self
