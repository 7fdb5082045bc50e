"""Effects of swapped channels on logits and accuracy, by set and image (Coppola & Lee 2024, 3.2).

Of each image and set two numbers and a bit are kept, never features: exact for all that is asked later.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from causalnb.chapters.intervention import sets as sets_
from causalnb.chapters.intervention import values
from causalnb.chapters.intervention.engine import Engine


@dataclass(frozen=True)
class Effects:
    """What m sets of swapped channels do to each of n images.

    sets       [m], or [n, m] where each image has its own; channels: H
    norms      [n, m] of the model's own precision, |z - z^Phi| in l2, whose mean over images is AEL (Eq. 6)
    margins    [n, m], logit of the label less the largest other one, swapped
    wrong      [n, m] bool, whether the swapped image is classified wrongly
    clean      [n, classes] logits z; attacked: of the attacked image, z'
    labels     [n]
    """

    sets: Tensor
    channels: int
    norms: Tensor
    margins: Tensor
    wrong: Tensor
    clean: Tensor
    attacked: Tensor
    labels: Tensor

    def __len__(self) -> int:
        """How many images."""
        return len(self.labels)

    @property
    def right(self) -> Tensor:
        """Whether each clean image is classified right [n]; the paper assumes that all are."""
        return self.clean.argmax(1) == self.labels

    @property
    def found(self) -> Tensor:
        """Whether the attacked image is classified wrongly [n]: the attack succeeded."""
        return self.attacked.argmax(1) != self.labels

    @property
    def ael(self) -> Tensor:
        """Average effect on the logits of each set (Eq. 6): [m]."""
        return self.norms.double().mean(0)

    @property
    def aea(self) -> Tensor:
        """Average effect on the accuracy of each set (Eq. 9): [m]. Below 0 where swaps mend more images than
        they break, which cannot be where all are right.
        """
        return self.wrong.double().mean(0) - (~self.right).double().mean()

    def take(self, rows: Tensor | slice) -> "Effects":
        """Some of the images."""
        own = {name: getattr(self, name)[rows] for name in ("norms", "margins", "wrong", "clean", "attacked")}
        sets = self.sets if self.sets.ndim == 1 else self.sets[rows]
        return replace(self, **own, labels=self.labels[rows], sets=sets)

    def of(self, size: int) -> "Effects":
        """The sets of one size alone; not where each image has its own sets."""
        held = sets_.sizes(self.sets, self.channels) == size
        own = {name: getattr(self, name)[:, held] for name in ("norms", "margins", "wrong")}
        return replace(self, **own, sets=self.sets[held])

    def table(self, what: str = "norms") -> values.Table:
        """A_j^gamma and M^gamma of each image, for the sizes of which all sets are there (Eqs. 7, 11); of
        "norms" or "wrong".
        """
        return values.table(getattr(self, what), self.sets, self.channels)


def effects(
    model: nn.Module, layer: str, clean: Tensor, attacked: Tensor, labels: Tensor, sets: Tensor
) -> Effects:
    """The effects of swapping each set of channels of a layer; arguments as in `engine.swap`.

    >>> from causalnb import models
    >>> images = torch.rand(4, 1, 8, 8)
    >>> net = models.cnn37(size=8).eval()
    >>> found = effects(net, "conv1", images, images, torch.zeros(4).long(), sets_.of_size(16, 1))
    >>> round(found.ael.max().item(), 6)
    0.0
    """
    engine = Engine(model, layer)
    parts: list[tuple[Tensor, ...]] = []
    for one, label in zip(engine(clean, attacked, sets), labels.tolist(), strict=True):
        norms = torch.linalg.vector_norm(one.logits - one.clean, dim=1)
        others = one.logits.clone()
        others[:, label] = -torch.inf
        margins = one.logits[:, label] - others.amax(1)
        wrong = one.logits.argmax(1) != label
        row = (norms, margins, wrong, one.clean, one.attacked)
        parts.append(tuple(value.cpu() for value in row))
    norms, margins, wrong, own, other = (torch.stack(column) for column in zip(*parts, strict=True))
    return Effects(sets.cpu(), engine.width(clean), norms, margins, wrong, own, other, labels.cpu())


def joined(parts: Sequence[Effects]) -> Effects:
    """Of several groups of images, all with the same sets or all with their own, those of all."""
    first = parts[0]
    names = ("norms", "margins", "wrong", "clean", "attacked", "labels")
    own = {name: torch.cat([getattr(part, name) for part in parts]) for name in names}
    sets = first.sets if first.sets.ndim == 1 else torch.cat([part.sets for part in parts])
    return replace(first, sets=sets, **own)  # type: ignore[arg-type]
