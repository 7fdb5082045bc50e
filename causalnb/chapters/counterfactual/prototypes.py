"""Prototypes (Debbi 2024, 3.2): for each class the clean image that the network is surest of, and its CI
vector."""

from dataclasses import dataclass

import torch
from torch import Tensor

from causalnb import UserError
from causalnb.chapters.counterfactual.filters import Information


@dataclass(frozen=True)
class Prototypes:
    """A CI vector for each class that has one.

    ci        [k, filters]; classes: [k], ascending
    images    [k], which image it is of, -1 where none is known (published vectors)
    """

    ci: Tensor
    classes: Tensor
    images: Tensor

    def __len__(self) -> int:
        """How many classes have one."""
        return len(self.classes)

    def row(self, classes: Tensor) -> Tensor:
        """Where the prototypes of these classes [n] stand; a class without one is refused."""
        at = torch.searchsorted(self.classes, classes).clamp_max(len(self) - 1)
        if len(missing := classes[self.classes[at] != classes]):
            raise UserError(
                f"The class {int(missing[0])} has no prototype: take images of the classes "
                f"{self.classes.tolist()}, or choose prototypes among more images."
            )
        return at

    def of(self, classes: Tensor) -> Tensor:
        """The prototypes of these classes, [n, filters]."""
        return self.ci[self.row(classes)]


def choose(information: Information, labels: Tensor) -> Prototypes:
    """The prototype of each class: of the images that are classified right, the one with the largest
    log-odds.

    The paper's "high prediction confidence" does not tell images apart whose float32 probability is 1; their
    log-odds do.
    """
    labels = labels.to(information.classes.device)
    right = information.classes == labels
    found = [
        (int(label), int(torch.where(right & (labels == label), information.margin, -torch.inf).argmax()))
        for label in labels[right].unique()
    ]
    if not found:
        raise UserError(
            "No image is classified right, so no class has a prototype: give clean images and their labels."
        )
    classes, images = (torch.tensor(part, device=labels.device) for part in zip(*found, strict=True))
    return Prototypes(information.ci[images], classes, images)
