"""The parameters of chapter 0 and what each profile sets."""

from typing import Literal, Self

from pydantic import model_validator

from causalnb.parameters import Parameters as Base
from causalnb.parameters import parameter

SETS = ("digits", "mnist", "fashion_mnist")


class Parameters(Base):
    """How we attack: two networks, their panels, every attack, a planted vulnerability, the traps of the
    libraries.
    """

    profiles = {
        "quick": {
            "data": "digits",
            "n_images": 20,
            "n_panel": 20,
            "n_planted": 10,
            "n_decisions": 2,
            "eps": 0.1,
            "eps_robust": 0.15,
            "eps_l2": 1.0,
            "steps": 20,
            "suite": "short",
            "checked": "fgsm,pgd,deepfool",
        },
        "laptop": {
            "data": "mnist",
            "n_images": 300,
            "n_panel": 40,
            "n_planted": 50,
            "n_decisions": 100,
            "eps": 0.15,
            "eps_robust": 0.34,
            "eps_l2": 1.5,
            "steps": 40,
            "suite": "full",
            "checked": "all",
        },
    }
    profiles = profiles | dict.fromkeys(("gpu", "full"), {**profiles["laptop"], "n_images": 10_000})

    n_panel: int = parameter(None, "images for the sanity panels", ge=10, le=1000)
    n_planted: int = parameter(
        None, "images in whose neighbourhood an adversarial example is planted", ge=2, le=1000
    )
    n_decisions: int = parameter(None, "images for HopSkipJump, which sees decisions alone", ge=1, le=1000)
    eps: float = parameter(
        None, "the budget against the plainly trained network, in L-inf", unit="pixel units", gt=0, le=1
    )
    eps_robust: float = parameter(
        None, "the budget against the adversarially trained network, in L-inf", unit="pixel units", gt=0, le=1
    )
    eps_l2: float = parameter(None, "the budget against both in L2", unit="pixel units", gt=0, le=20)
    steps: int = parameter(None, "steps of the panels' PGD", ge=10, le=1000)
    suite: Literal["short", "full"] = parameter(None, "the suite of attacks")
    checked: str = parameter(
        None, "attacks that are put through the conformance suite, separated by commas, or all"
    )

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.data not in SETS:
            raise ValueError(
                f"data = {self.data!r} is not possible: this chapter takes one set of ten classes in grey, "
                f"of {', '.join(SETS)}."
            )
        return self
