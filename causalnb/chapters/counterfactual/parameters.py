"""The parameters of chapter 2 and what each profile sets."""

from causalnb.parameters import Parameters as Base


class Parameters(Base):
    """Debbi 2024 (CausAdv): the author's published vectors counted again, and counterfactual information from
    pixels.
    """

    profiles = {"quick": {"data": "digits", "n_images": 100}, "laptop": {"data": "cifar10", "n_images": 500}}
    profiles = profiles | dict.fromkeys(("gpu", "full"), {**profiles["laptop"], "n_images": 1000})
