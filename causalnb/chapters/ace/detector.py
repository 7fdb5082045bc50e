"""A detector of attacked images from their maps: the defence that the abstract promises, taken as an honest
offer.

Sparsity, total variation and positive mass of the map of the *predicted* class (the true one is not known
when an image comes in), for a logistic regression (`detection.cross_fitted`). It is fitted on one attack,
asked about others and about harmless noise, and attacked by someone who knows it.
"""

import torch
from torch import Tensor, nn

from causalnb.attacks.adversarial import ascend
from causalnb.attacks.watch import ROWS
from causalnb.chapters.ace import maps as m
from causalnb.chapters.ace.interventions import Table, average_effects, look_up

SMOOTHING = 1e-12  # under the root of the variation that is followed: a flat map has a gradient


def features(maps: Tensor) -> Tensor:
    """S, TV and positive mass of each map [n, h, w]: [n, 3]."""
    return torch.stack(
        [m.sparsity(maps), m.total_variation(maps), m.positive_mass(maps, torch.ones_like(maps))], 1
    )


# The attacker who knows -----------------------------------------------------------------------------------


class Smoothed(nn.Module):
    """A network whose label's logit rises with the total variation of the predicted class's map: PGD on it
    looks for smooth maps too.

    It rises from where it is for the clean image, so that the cross-entropy is no flatter there than the
    network's own.

    effects   (images, classes) -> maps [n, h, w] of the logit of those classes, differentiable in the images
    labels    [n] of the images that it is asked about, in their order
    clean     [n], the total variation of the maps of the clean images
    weight    logits for each multiple of it
    """

    def __init__(
        self, model: nn.Module, effects: "Effects", labels: Tensor, clean: Tensor, *, weight: float
    ) -> None:
        """Refused when asked: a batch of another size than `labels`."""
        super().__init__()
        self.model, self.effects, self.weight = model, effects, weight
        self.register_buffer("labels", labels)
        self.register_buffer("clean", clean)

    def forward(self, images: Tensor) -> Tensor:
        """Logits [n, classes]."""
        labels = self.get_buffer("labels")
        if len(images) != len(labels):
            raise ValueError(f"{len(images)} images for {len(labels)} labels")
        logits: Tensor = self.model(images)
        rougher = _roughness(self.effects(images, logits.argmax(1))) / self.get_buffer("clean") - 1
        return logits + self.weight * rougher[:, None].to(logits) * nn.functional.one_hot(
            labels, logits.shape[1]
        )


class Effects:
    """Maps of the predicted class's logit with a gradient, for `Smoothed`: R1 itself, R7x itself, R3m to
    first order.
    """

    def __init__(self, reading: str, model: nn.Module, table: Table, fill: Tensor) -> None:
        """table: of the training rows; fill [1, h, w]: the training mean."""
        self.reading, self.model, self.table, self.fill = reading, model, table, fill

    def __call__(self, images: Tensor, classes: Tensor) -> Tensor:
        """[n, h, w]."""
        if self.reading == "R1":
            return look_up(average_effects(self.table)[:1], self.table.alphas, images.flatten(1), classes)[
                0
            ].view(-1, *images.shape[2:])
        with torch.enable_grad():
            points = images if images.requires_grad else images.detach().requires_grad_()
            own = self.model(points).gather(1, classes[:, None]).sum()
            gradient = torch.autograd.grad(own, points, create_graph=True)[0]
        return ((images - (self.fill if self.reading == "R3m" else 0.0)) * gradient)[:, 0]


def _roughness(maps: Tensor) -> Tensor:
    return m.total_variation(maps, smoothing=SMOOTHING)


def evade(
    model: nn.Module,
    effects: Effects,
    images: Tensor,
    labels: Tensor,
    *,
    weight: float,
    eps: float,
    step: float,
    steps: int,
    seed: int,
) -> Tensor:
    """PGD's ends against the network and the total variation of its maps together, [n, 1, h, w]; `weight` 0
    is PGD alone.
    """
    times = -(
        -ROWS // len(images)
    )  # a smaller batch would be filled up before the network is asked, with images that have no labels here
    many, labels = images.repeat(times, 1, 1, 1), labels.repeat(times)
    with torch.no_grad():
        clean = _roughness(effects(many, labels))
    guarded = Smoothed(model, effects, labels, clean, weight=weight)
    return ascend(guarded, many, labels, norm="linf", eps=eps, step=step, steps=steps, seed=seed)[
        : len(images)
    ]
