"""The parameters of chapter 5 and what each profile sets."""

from typing import Self

from pydantic import model_validator

from causalnb.parameters import Parameters as Base
from causalnb.parameters import parameter

SETS = ("shapes", "mnist", "cifar10")


class Parameters(Base):
    """Zhang et al. 2024: a causal diffusion model purifies, infers the cause, classifies; and is attacked."""

    profiles = {
        "quick": {
            "data": "shapes",
            "n_images": 12,
            "n_trainings": 1,
            "n_train": 8000,
            "training_steps": 1500,
            "width": 32,
            "latents": 8,
            "attack_steps": 4,
            "searches": 5,
            "draws": 1,
            "scored": 2,
            "all_arms": False,
            "queries": 100,
        },
        "laptop": {
            "data": "shapes,mnist",
            "n_images": 64,
            "n_trainings": 3,
            "n_train": 8000,
            "training_steps": 1500,
            "width": 32,
            "latents": 8,
            "attack_steps": 20,
            "searches": 10,
            "draws": 4,
            "scored": 20,
            "all_arms": True,
            "queries": 500,
        },
        "gpu": {
            "data": "cifar10",
            "n_images": 512,
            "n_trainings": 1,
            "n_train": 50_000,
            "training_steps": 40_000,
            "width": 96,
            "latents": 64,
            "attack_steps": 40,
            "searches": 10,
            "draws": 4,
            "scored": 20,
            "all_arms": False,
            "queries": 1000,
        },
        "full": {
            "data": "cifar10",
            "n_images": 512,
            "n_trainings": 3,
            "n_train": 50_000,
            "training_steps": 781_000,
            "width": 96,
            "latents": 256,
            "attack_steps": 200,
            "searches": 10,
            "draws": 20,
            "scored": 20,
            "all_arms": True,
            "queries": 5000,
        },
    }

    n_images: int = parameter(None, "images attacked, balanced over the classes", ge=8, le=10_000)
    image_seed: int = parameter(0, "seed of the images attacked, apart from every other draw", ge=0, lt=2**31)
    n_trainings: int = parameter(None, "trainings of each arm, with seeds from `seed` on", ge=1, le=20)
    n_train: int = parameter(None, "training images", ge=100, le=60_000)
    training_steps: int = parameter(None, "steps of a training, both stages together", ge=2, le=1_000_000)
    width: int = parameter(None, "channels of the network's finest features, in sixteens", ge=16, le=512)
    latents: int = parameter(None, "numbers of S, and of Z", ge=1, le=512)
    beta: float = parameter(3e-3, "weight of the KL term, a dimension", ge=0, le=10)
    gamma: float = parameter(1.0, "weight of cross-entropy in joint training", ge=0, le=100)
    eta: float = parameter(1e-3, "weight of CLUB in joint training", ge=0, le=10)
    eps: float = parameter(0.1, "the attack budget in Linf", unit="pixel units", gt=0, le=1)
    eps_l2: float = parameter(1.0, "the attack budget in L2", unit="pixel units", gt=0, le=100)
    eps_flow: float = parameter(0.5, "how far StAdv may move a pixel", unit="pixels", gt=0, le=10)
    purify_steps: int = parameter(5, "steps of purification", ge=0, le=100)
    latest: int = parameter(50, "times of purification lie below it", ge=1, le=1000)
    searches: int = parameter(None, "steps of the search for the latents", ge=0, le=100)
    attack_steps: int = parameter(None, "steps of each attack with gradients", ge=1, le=1000)
    draws: int = parameter(None, "draws of the defence behind each gradient", ge=1, le=100)
    scored: int = parameter(
        None, "draws on which a candidate is chosen, and fresh ones on which it is scored", ge=2, le=1000
    )

    all_arms: bool = parameter(
        None, "whether every arm is trained and every control run, or the first reading alone is asked"
    )
    queries: int = parameter(None, "queries of Square for each image", ge=10, le=100_000)

    @model_validator(mode="after")
    def _possible(self) -> Self:
        for name in self.sets:
            if name not in SETS:
                raise ValueError(
                    f"data = {name!r} is not possible: a data set here is one of {', '.join(SETS)}."
                )
        if self.width % 16:
            raise ValueError(f"width = {self.width} is not possible: it is a multiple of 16.")
        return self
