"""What an attack did to a batch of images: the record that every attack gives back."""

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from causalnb.attacks import ball
from causalnb.attacks.checked import TOLERANCE
from causalnb.attacks.watch import Criterion


@dataclass(frozen=True, repr=False)
class AttackResult:
    """What one attack did to n images, everything on the images' own device.

    images      [n, ...] attacked where found, else exactly the clean image
    candidates  [n, ...] attacked where found, else the last that was tried, inside the budget; the clean
                image where none was. What a published evaluation counts that does not look at success
    found       [n] bool; correct: the clean prediction was right, so the image was attacked
    predicted   [n] the class of `images`, by a fresh forward pass
    distance    [n] float64 in `norm` and pixel units, nan where not found
    queries     images that went forward and backward for the attack alone, without the judging
    flags       sentences: what a reader must know before believing the numbers
    """

    name: str
    norm: str
    eps: float | None
    settings: dict[str, Any]
    images: Tensor
    candidates: Tensor
    found: Tensor
    correct: Tensor
    predicted: Tensor
    distance: Tensor
    queries: tuple[int, int]
    seconds: float
    flags: tuple[str, ...]
    clean: Tensor
    criterion: Criterion

    def __repr__(self) -> str:
        """One line instead of every pixel."""
        broken, attacked = self.success_among_correct
        return (
            f"AttackResult({self.name}, {self.norm}, eps={self.eps}: {broken} of {attacked} attacked "
            f"images broken, flags={self.flags})"
        )

    @property
    def success_among_correct(self) -> tuple[int, int]:
        """Images broken, of those that were right and so were attacked."""
        return int(self.found.sum()), int(self.correct.sum())

    @property
    def success_among_all(self) -> tuple[int, int]:
        """Images that are wrong in the end (or taken for the target), clean errors among them, of all: the
        count that libraries print.
        """
        already = (
            ~self.correct
            if self.criterion.targets is None
            else ~self.correct & (self.predicted == self.criterion.targets)
        )
        return int((self.found | already).sum()), len(self.found)

    @property
    def robust_accuracy(self) -> tuple[int, int]:
        """Images that are right before and after, of all."""
        return int((self.correct & ~self.found).sum()), len(self.found)

    def within(self, eps: float) -> "AttackResult":
        """The same result judged at the budget `eps`: images beyond it become the clean image, not found."""
        if self.eps is not None and eps > self.eps:
            raise ValueError(f"this {self.name} searched within eps = {self.eps}: at {eps} it says nothing.")
        kept = self.found & (self.distance <= eps + TOLERANCE)
        images = torch.where(ball.aligned(kept, self.images), self.images, self.clean)
        tried = self.clean
        if self.norm != "flow":
            tried = ball.inside(self.clean, self.candidates, self.norm, eps)
        predicted = torch.where(self.found & ~kept, self.criterion.labels, self.predicted)
        return replace(
            self,
            eps=eps,
            images=images,
            candidates=torch.where(ball.aligned(kept, images), images, tried),
            found=kept,
            predicted=predicted,
            distance=self.distance.where(kept, torch.nan),
        )
