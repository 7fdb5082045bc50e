"""The parameters of chapter 3 and what each profile sets."""

from typing import Literal, Self

from pydantic import model_validator

from causalnb.data.known import NAMES
from causalnb.parameters import Parameters as Base
from causalnb.parameters import parameter


class Parameters(Base):
    """Coppola & Lee 2024: networks, attacks on them, and the effects of swapping sets of their first layer's
    channels for attacked ones.
    """

    profiles = {
        "quick": {
            "data": "digits37",
            "n_images": 32,
            "n_other": 16,
            "n_lattice": 6,
            "n_hsj": 8,
            "n_sampled": 32,
            "n_sets": 100,
            "pairs": 2,
            "n_trainings": 2,
            "epochs": 12,
            "steps": 20,
            "cw_steps": 60,
            "cw_searches": 4,
            "hsj_steps": 5,
        },
        "laptop": {
            "data": "mnist37,cifar10",
            "n_images": 500,
            "n_other": 250,
            "n_lattice": 16,
            "n_hsj": 128,
            "n_sampled": 500,
            "n_sets": 500,
            "pairs": 4,
            "n_trainings": 3,
            "epochs": None,
            "steps": 100,
            "cw_steps": 200,
            "cw_searches": 6,
            "hsj_steps": 20,
        },
    }
    profiles = profiles | {
        "gpu": {**profiles["laptop"], "n_images": 2000, "n_other": 2000, "n_lattice": 256, "n_hsj": 1000}
    }
    profiles = profiles | {"full": {**profiles["gpu"], "data": "mnist37,cifar10,imagenette"}}

    n_images: int = parameter(
        None, "test images that the first network gets right, balanced over the classes", ge=4, le=10_000
    )
    image_seed: int = parameter(0, "seed of the draw of test images and of halves", ge=0, lt=2**31)
    n_other: int = parameter(None, "the same for each of the other trainings", ge=4, le=10_000)
    n_lattice: int = parameter(
        None, "images, of those drawn, on which all sets are swapped; a hundred on mnist37", ge=2, le=10_000
    )
    n_hsj: int = parameter(None, "images, of those drawn, that HopSkipJump attacks", ge=2, le=10_000)
    n_sampled: int = parameter(
        None, "images, of those drawn, for the estimate by permutations", ge=2, le=10_000
    )
    n_sets: int = parameter(None, "sets of size 7 that are drawn", ge=10, le=11_440)
    pairs: int = parameter(None, "permutations of the channels an image, each also backwards", ge=1, le=100)
    n_trainings: int = parameter(None, "trainings of each network, with seeds from `seed` on", ge=1, le=20)
    epochs: int | None = parameter(
        None, "training epochs; without a number 45 for natural images and 6 for mnist37", ge=1, le=400
    )
    eps: float | None = parameter(
        None,
        "APGD's budget; without a number the paper's: 8/255 for natural images, 0.3 for digits",
        unit="pixel units",
        gt=0,
        le=1,
    )
    steps: int = parameter(None, "steps of APGD on what ten steps leave", ge=1, le=1000)
    cw_steps: int = parameter(None, "steps of C&W in each search step", ge=1, le=10_000)
    cw_searches: int = parameter(None, "search steps of C&W over its constant", ge=1, le=20)
    hsj_steps: int = parameter(None, "steps of HopSkipJump", ge=1, le=200)

    model: str | None = parameter(
        None, "weights of a model of your own, a safetensors file, in place of ours"
    )
    architecture: str = parameter("resnet20", "its network, a name of ours or of torchvision's")
    layer: str = parameter("conv1", "its layer whose channels are swapped")
    mean: str | None = parameter(None, "what its inputs are lessened by, a number a channel, with commas")
    std: str | None = parameter(None, "what they are divided by then, likewise")

    def list_of(self, name: Literal["mean", "std"]) -> list[float] | None:
        """The numbers of `mean` or `std`; None where the model has its normalisation inside."""
        text = getattr(self, name)
        return None if text is None else [float(one) for one in text.split(",")]

    @model_validator(mode="after")
    def _possible(self) -> Self:
        for name in self.sets:
            if name not in NAMES and name != "imagenette" and "/" not in name:
                raise ValueError(
                    f"data = {name!r} is not possible: a data set is one of {', '.join(NAMES)}, or a "
                    "folder of images."
                )
        for name in ("n_other", "n_lattice", "n_hsj", "n_sampled"):
            if getattr(self, name) > self.n_images and name != "n_other":
                raise ValueError(
                    f"{name} = {getattr(self, name)} is not possible: they are images of those drawn, so "
                    f"give at most n_images = {self.n_images}."
                )
        try:
            given = [self.list_of("mean"), self.list_of("std")]
        except ValueError:
            raise ValueError("mean and std are numbers, separated by commas.") from None
        if (given[0] is None) != (given[1] is None):
            raise ValueError("mean and std go together: give both, or none where the model holds them.")
        return self
