"""The parameters of chapter 2 and what each profile sets."""

from typing import Self

from pydantic import model_validator

from causalnb.data.known import NAMES
from causalnb.parameters import Parameters as Base
from causalnb.parameters import parameter

TRAINED = "trained"
NEEDED = (4.0, 8.0, 16.0, 24.0)  # budgets that the paper names, of 255


class Parameters(Base):
    """Debbi 2024: a network, attacks on it, what the filters' counterfactual information says of them, and an
    attacker who knows.
    """

    profiles = {
        "quick": {
            "data": "digits8",
            "n_images": 120,
            "n_held_out": 200,
            "n_fitted": 500,
            "n_attacked": 60,
            "n_strong": 20,
            "scale": 4.0,
            "grid": "4,8,16,24",
            "steps": 10,
            "authors": False,
            "weights": TRAINED,
            "epochs": 6,
            "second_epochs": 0,
            "n_matched": 30,
            "n_adaptive": 20,
            "adaptive_steps": 15,
            "n_weights": 2,
            "adaptive_eps": "8",
            "n_targets": 2,
            "roth_draws": 4,
            "resamples": 500,
        },
        "laptop": {
            "data": "cifar10",
            "n_images": 1000,
            "n_held_out": 2000,
            "n_fitted": 10_000,
            "n_attacked": 500,
            "n_strong": 200,
            "scale": 1.0,
            "grid": "1,2,4,8,16,24",
            "steps": 40,
            "authors": True,
            "weights": TRAINED,
            "epochs": 35,
            "second_epochs": 35,
            "n_matched": 200,
            "n_adaptive": 100,
            "adaptive_steps": 100,
            "n_weights": 6,
            "adaptive_eps": "4,8,16",
            "n_targets": 9,
            "roth_draws": 32,
            "resamples": 10_000,
        },
    }
    profiles = profiles | {
        "gpu": {
            **profiles["laptop"],
            "n_images": 2000,
            "n_attacked": 2000,
            "n_strong": 1000,
            "n_matched": 1000,
            "n_adaptive": 500,
        }
    }
    profiles = profiles | {
        "full": {
            **profiles["gpu"],
            "data": "./imagenet",
            "n_images": 300,
            "n_held_out": 1000,
            "n_attacked": 300,
            "n_strong": 100,
            "grid": "4,8,16,24",
            "authors": False,
            "weights": "./vgg16.safetensors",
            "n_matched": 100,
            "n_adaptive": 50,
        }
    }

    n_images: int = parameter(None, "clean test images, balanced over the classes", ge=20, le=5000)
    image_seed: int = parameter(
        0, "seed of the halves of the test set and of the draws from them", ge=0, lt=2**31
    )
    n_held_out: int = parameter(
        None, "clean images of the other half of the test set, on which thresholds are fixed", ge=20, le=5000
    )
    n_fitted: int = parameter(
        None,
        "training images among which prototypes are chosen and on which detectors are fitted",
        ge=100,
        le=60_000,
    )
    n_attacked: int = parameter(None, "of the test images, how many are attacked", ge=10, le=5000)
    n_strong: int = parameter(
        None, "of these, how many by attacks of the least norm and by APGD-T", ge=10, le=5000
    )
    scale: float = parameter(
        None, "how many times the paper's budgets the budgets are: small images need more", gt=0, le=10
    )
    grid: str = parameter(
        None, "budgets of the attacks, of 255, separated by commas; 4, 8, 16 and 24 must be among them"
    )
    steps: int = parameter(
        None, "steps of PGD, each a tenth of the budget, or more where few would not cross it", ge=5, le=1000
    )
    authors: bool = parameter(
        None, "whether the author's budgets at 24 are tried too, 10 steps of 1 and 100 of 0.1"
    )
    weights: str = parameter(
        None,
        "the network: trained, or a safetensors file with weights of torchvision's VGG16, of as many classes "
        "as the data have",
    )
    epochs: int = parameter(None, "training epochs of the network", ge=1, le=300)
    second_epochs: int = parameter(
        None, "training epochs of the second network, of the author's order; 0 for none", ge=0, le=300
    )
    n_matched: int = parameter(None, "test images for the attack that matches features", ge=5, le=5000)
    n_adaptive: int = parameter(
        None, "test images for the attacks on a detector and for all targets", ge=5, le=5000
    )
    adaptive_steps: int = parameter(None, "steps of every attack on a detector", ge=5, le=1000)
    n_weights: int = parameter(
        None, "weights of the detector that a search tries for each image", ge=1, le=20
    )
    adaptive_eps: str = parameter(
        None, "budgets of the attacks on the union and on Mahalanobis distance, of 255, separated by commas"
    )
    n_targets: int = parameter(None, "target classes that feature matching tries at 8", ge=1, le=100)
    roth_draws: int = parameter(None, "noisy copies of an image for the test of log-odds", ge=2, le=1000)
    resamples: int = parameter(None, "bootstrap draws behind a headline rate", ge=100, le=100_000)

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if len(self.sets) != 1 or (self.data not in NAMES and "/" not in self.data):
            raise ValueError(
                f"data = {self.data!r} is not possible: this chapter takes one data set, of "
                f"{', '.join(NAMES)}, or a folder of images."
            )
        grid, few = budgets("grid", self.grid), budgets("adaptive_eps", self.adaptive_eps)
        if missing := [eps for eps in NEEDED if eps not in grid]:
            raise ValueError(
                f"grid = {self.grid!r} is not possible: claims are decided at {missing[0]:g} of 255, so name "
                "it."
            )
        if max(grid + few) * self.scale > 255:
            raise ValueError(
                f"scale = {self.scale:g} is not possible: {max(grid + few):g} of 255 times it is above 1."
            )
        if 8 not in few:
            raise ValueError(
                f"adaptive_eps = {self.adaptive_eps!r} is not possible: detectors are compared at 8 of 255, "
                "so name it."
            )
        return self

    @property
    def budgets(self) -> tuple[float, ...]:
        """The grid as the paper writes it, of 255."""
        return budgets("grid", self.grid)

    @property
    def adaptive_budgets(self) -> tuple[float, ...]:
        """Those of the attacks on the union."""
        return budgets("adaptive_eps", self.adaptive_eps)

    def eps(self, of_255: float) -> float:
        """A budget in pixel units."""
        return self.scale * of_255 / 255


def budgets(name: str, text: str) -> tuple[float, ...]:
    """Numbers above 0 in ascending order, each once.

    >>> budgets("grid", "8, 4")
    (4.0, 8.0)
    """
    try:
        found = tuple(sorted({float(part) for part in text.split(",")}))
    except ValueError:
        found = ()
    if not found or not 0 < found[0] <= found[-1] <= 255:
        raise ValueError(
            f"{name} = {text!r} is not possible: budgets are numbers above 0 and up to 255, separated by "
            "commas."
        )
    return found
