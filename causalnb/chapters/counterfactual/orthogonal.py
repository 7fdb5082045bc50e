"""An attack on a detector in which fooling and hiding do not undo each other: orthogonal gradients
(Bryniarski, Hingun, Pachuca, Wang & Carlini 2022).

An image that is not misled yet takes a step that misleads it and leaves the detector's surrogate as it is, to
first order; one that is misled and flagged takes a step that hides it and leaves the misleading as it is. No
weight between the two is searched. Surrogates are adaptive.py's.
"""

from functools import partial

import torch
from torch import Tensor, nn

from causalnb.attacks import AttackResult
from causalnb.attacks.randomised import StraightThrough
from causalnb.chapters.counterfactual import detectors
from causalnb.chapters.counterfactual.adaptive import Chase, pgd
from causalnb.chapters.counterfactual.detectors import References, eight_bits
from causalnb.chapters.counterfactual.heads import Head


class Entrance(nn.Module):
    """Lets images through and keeps the last ones, so that a loss can ask for its gradient in them."""

    images: Tensor

    def forward(self, images: Tensor) -> Tensor:
        """The images [n, ...] as they come."""
        self.images = images
        return images


def evade(
    model: nn.Module,
    layer: str,
    known: References,
    images: Tensor,
    labels: Tensor,
    targets: Tensor,
    *,
    limits: dict[str, float],
    eps: float,
    steps: int,
    seed: int,
) -> AttackResult:
    """Attack images [n, ...] so that they are taken for another class and no score exceeds its limit; for the
    store. Arguments as of `adaptive.evade`; found: misled and not flagged, rounded to 8 bits.
    """
    head, known = Head(model, layer, images[:1]), known.to(images.device)
    chase = Chase(head, known, detectors.prototypes_of(known), targets, limits)
    entrance = Entrance()
    watched = nn.Sequential(entrance, StraightThrough(eight_bits), head).eval()
    return pgd(
        watched,
        images,
        labels,
        eps=eps,
        steps=steps,
        seed=seed,
        loss=partial(_climbed, chase, entrance, labels),
        detected=chase.detected,
        classes=head.classes,
    )


def _climbed(chase: Chase, entrance: Entrance, labels: Tensor, outputs: Tensor, rows: Tensor) -> Tensor:
    """What each step climbs [n]: minus the loss whose turn it is, less so much of the other that the step is
    orthogonal to the other's gradient.
    """
    misled = chase.head.logits(outputs).argmax(1) != labels[rows]
    both = chase.confidence(outputs, rows), chase.suspicion(outputs, rows)
    mislead, hide = (
        torch.autograd.grad(one.sum(), entrance.images, retain_graph=True)[0][: len(rows)].flatten(1)
        for one in both
    )
    other = torch.where(misled[:, None], mislead, hide)
    share = (mislead * hide).sum(1) / other.square().sum(1).clamp_min(torch.finfo(other.dtype).tiny)
    turn, rest = torch.where(misled, both[1], both[0]), torch.where(misled, both[0], both[1])
    return share * rest - turn
