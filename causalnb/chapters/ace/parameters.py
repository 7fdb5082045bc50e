"""The parameters of chapter 1 and what each profile sets."""

from typing import Literal, Self

from pydantic import model_validator

from causalnb import data
from causalnb.parameters import Parameters as Base
from causalnb.parameters import parameter

GREY = (1, 28)  # channels and side of the paper's images


class Parameters(Base):
    """Guo et al. 2024: a LeNet, three attacks, the effect maps of clean and attacked images."""

    profiles = {
        "quick": {
            "data": "digits",
            "n_images": 20,
            "n_rows": 20,
            "n_individual": 10,
            "n_strength": 10,
            "n_alphas": 3,
            "n_trainings": 1,
            "optimiser": "adam",
            "rate": 2e-3,
            "other_momentum": 0.0,
            "batch": 50,
            "epochs": 4,
            "pgd_steps": 10,
            "cw_steps": 60,
            "cw_searches": 3,
            "vae_steps": 25,
            "n_shapes": 500,
        },
        "laptop": {
            "data": "mnist,fashion_mnist",
            "n_images": 1200,
            "n_rows": 1000,
            "n_individual": 300,
            "n_strength": 100,
            "n_alphas": 11,
            "n_trainings": 3,
            "optimiser": "sgd",
            "rate": 1e-3,
            "other_momentum": 0.9,
            "batch": 10,
            "pgd_steps": 40,
            "cw_steps": 200,
            "cw_searches": 5,
            "vae_steps": 10_000,
            "n_shapes": 4000,
        },
        "gpu": {
            "data": "mnist,fashion_mnist",
            "n_images": 10_000,
            "n_rows": 10_000,
            "n_individual": 10_000,
            "n_strength": 1000,
            "n_alphas": 11,
            "n_trainings": 5,
            "optimiser": "sgd",
            "rate": 1e-3,
            "other_momentum": 0.9,
            "batch": 10,
            "pgd_steps": 40,
            "cw_steps": 1000,
            "cw_searches": 9,
            "vae_steps": 20_000,
            "n_shapes": 4000,
        },
    }
    profiles = profiles | {"full": profiles["gpu"]}

    n_images: int = parameter(None, "test images drawn, balanced over the classes", ge=10, le=10_000)
    n_trainings: int = parameter(None, "trainings of each recipe, with seeds from `seed` on", ge=1, le=20)
    image_seed: int = parameter(
        0, "seed of the draw of test images, apart from every other draw", ge=0, lt=2**31
    )
    n_rows: int = parameter(
        None, "training rows behind the interventional table, balanced over the classes", ge=20, le=60_000
    )
    n_individual: int = parameter(
        None, "images, of those drawn, for readings that need forwards of their own", ge=2, le=10_000
    )
    n_strength: int = parameter(
        None, "images for the curves over the budget and for the spread between trainings", ge=10, le=10_000
    )
    n_alphas: int = parameter(None, "intervention values, uniform over [0, 1] with both ends", ge=2, le=101)
    eps: float = parameter(0.3, "the attack budget", unit="pixel units", gt=0, le=1)
    pgd_steps: int = parameter(None, "steps of PGD", ge=1, le=1000)
    cw_steps: int = parameter(None, "steps of C&W in each search step", ge=1, le=10_000)
    cw_searches: int = parameter(None, "search steps of C&W over its constant", ge=1, le=20)
    variant: Literal["relu-max", "tanh-average"] = parameter("relu-max", "the LeNet's activation and pooling")
    optimiser: Literal["sgd", "adam"] = parameter(None, "the LeNet's optimiser")
    rate: float = parameter(None, "learning rate", gt=0, le=1)
    momentum: float = parameter(0.0, "of sgd; the paper names none", ge=0, lt=1)
    other_momentum: float = parameter(
        None, "of a second recipe, trained beside the first for its accuracy; 0 for none", ge=0, lt=1
    )
    batch: int = parameter(None, "batch size", ge=1, le=10_000)
    epochs: int | None = parameter(
        None,
        "training epochs; without a number 20 for fashion_mnist and 10 for other sets, as printed",
        ge=1,
        le=200,
    )
    vae_beta: float = parameter(10.0, "weight of the KL term of the beta-VAE", ge=0, le=1000)
    vae_steps: int = parameter(None, "training steps of the beta-VAE", ge=1, le=200_000)
    n_shapes: int = parameter(
        None, "training images of the shapes set, where the truth is known", ge=100, le=60_000
    )

    @model_validator(mode="after")
    def _possible(self) -> Self:
        for name in self.sets:
            if (made := data.shape(name)) != GREY:
                raise ValueError(
                    f"data = {name!r} is not possible: its images have {made[0]} channels and {made[1]} x "
                    f"{made[1]} pixels, and this chapter takes grey ones of 28 x 28: digits, mnist, "
                    "fashion_mnist, or a folder of such images."
                )
        return self

    def epochs_for(self, name: str) -> int:
        """The epochs for a data set: as given, else as the paper's sentence is read."""
        return self.epochs or (20 if name == "fashion_mnist" else 10)
