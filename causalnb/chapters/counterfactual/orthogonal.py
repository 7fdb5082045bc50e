"""An attack on a detector in which fooling and hiding do not undo each other: orthogonal gradients
(Bryniarski, Hingun, Pachuca, Wang & Carlini 2022).

An image that is not taken for its target yet makes a step that misleads it and leaves the detector's
surrogate as it is, to first order; one that is makes a step that hides it and leaves the misleading as it is.
No weight between the two is searched. Surrogates are adaptive.py's.
"""

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from causalnb.attacks.randomised import StraightThrough
from causalnb.chapters.counterfactual import detectors
from causalnb.chapters.counterfactual.adaptive import Chase, Evaded, pgd, replace_rows
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
) -> Evaded:
    """Attack images [n, ...] so that they are taken for another class and no score exceeds its limit; for the
    store. Arguments and result as of `adaptive.evade`; there are no weights. Plain PGD goes first, so that no
    result is worse than its, and what it does not hide is attacked anew.
    """
    head, known = Head(model, layer, images[:1]), known.to(images.device)
    chase = Chase(head, known, detectors.prototypes_of(known), targets, limits)
    entrance = Entrance()
    watched = nn.Sequential(entrance, StraightThrough(eight_bits), head).eval()
    asked: dict[str, Any] = {"eps": eps, "steps": steps, "classes": head.classes}
    first = pgd(watched, images, labels, seed=seed, detected=chase.detected, **asked)
    made, found = eight_bits(first.candidates), first.found
    left = (first.correct & ~found).nonzero().flatten()
    if len(left):
        rest = replace_rows(chase, left)
        loss = partial(_climbed, rest, entrance)
        given = images[left], labels[left]
        second = pgd(watched, *given, seed=seed + 1, loss=loss, detected=rest.detected, **asked)
        made = made.index_copy(0, left, eight_bits(second.candidates))
        found = found.index_copy(0, left, second.found)
    fooled = first.correct & (head.logits(head.of(made)).to(images).argmax(1) != labels)
    return Evaded(made, found, first.correct, fooled, torch.zeros(len(images), device=images.device))


def _climbed(chase: Chase, entrance: Entrance, outputs: Tensor, rows: Tensor) -> Tensor:
    """What each step climbs [n]: minus the loss whose turn it is, less so much of the other that the step is
    orthogonal to the other's gradient.
    """
    there = chase.head.logits(outputs).argmax(1) == chase.targets[rows]
    both = chase.confidence(outputs, rows), chase.suspicion(outputs, rows)
    mislead, hide = (
        torch.autograd.grad(one.sum(), entrance.images, retain_graph=True)[0][: len(rows)].flatten(1)
        for one in both
    )
    other = torch.where(there[:, None], mislead, hide)
    share = (mislead * hide).sum(1) / other.square().sum(1).clamp_min(torch.finfo(other.dtype).tiny)
    turn, rest = torch.where(there, both[1], both[0]), torch.where(there, both[0], both[1])
    return share * rest - turn
