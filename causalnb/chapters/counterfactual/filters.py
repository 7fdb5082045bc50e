"""The counterfactual information of all filters of a layer: `ci` for one call, `Filters` for many."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn

from causalnb.chapters.counterfactual import routes
from causalnb.chapters.counterfactual.readings import Reading, information, log_odds
from causalnb.chapters.counterfactual.routes import Removed
from causalnb.chapters.counterfactual.seams import Seam, seam, without

Way = Callable[[Seam, Tensor, Tensor], Removed]
NAMES: dict[Way, str] = {routes.by_batch: "batched", routes.by_split: "split", routes.by_copies: "copies"}
BATCH = 64
CHECKED = 3  # filters a call that are compared with the slow way
FARTHEST = {torch.float64: 1e-9, torch.float32: 1e-4}  # of the largest logit, between routes that agree


@dataclass(frozen=True)
class Information:
    """Counterfactual information of n images (Debbi 2024, 3.1), float64.

    ci           [n, filters], P - P'
    log_odds     [n, filters], the same in log-odds: no ceiling, same sign
    classes      [n], the predicted class, whose P it is
    margin       [n], log P/(1 - P) of that class
    silent       [n, filters], filters whose removal changes nothing: there ci and log_odds are exactly 0
    route        how it was computed; notes: why no faster way was taken
    """

    ci: Tensor
    log_odds: Tensor
    classes: Tensor
    margin: Tensor
    silent: Tensor
    route: str
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        """How many images."""
        return len(self.ci)

    @property
    def probability(self) -> Tensor:
        """P [n]."""
        return self.margin.sigmoid()

    def take(self, rows: Tensor | slice) -> "Information":
        """Some of the images."""
        return replace(
            self,
            ci=self.ci[rows],
            log_odds=self.log_odds[rows],
            classes=self.classes[rows],
            margin=self.margin[rows],
            silent=self.silent[rows],
        )


def ci(model: nn.Module, images: Tensor, layer: str, *, reading: Reading = "text") -> Information:
    """The counterfactual information of every filter of a layer, for every image.

    model     in evaluation mode, any that gives logits; images [n, channels, height, width] go in as they are
    layer     a submodule whose output is [n, filters, ...]; a filter is a channel of that output. Of a block
              of a residual network that is what leaves the block, of a convolution inside it what goes into
              the sum
    reading   "text": how P of the predicted class falls; "code": how the largest probability falls, whichever
              class has it, as the author's code computes

    >>> from causalnb.models import gap_cnn
    >>> found = ci(gap_cnn(seed=1).eval(), torch.rand(2, 1, 8, 8), "relu3")
    >>> found.ci.shape, found.route
    (torch.Size([2, 128]), 'rank-1 into fc')
    """
    return Filters(model, layer)(images, reading=reading)


class Filters:
    """The filters of a layer, looked at once: which routes there are to their counterfactual information.

    Each call takes the fastest, compares it on three filters of the first image with the rest of the network
    run for each, and goes to the next slower one, with a note, where they differ.
    """

    def __init__(self, model: nn.Module, layer: str) -> None:
        """Of a model in evaluation mode and the name of one of its layers."""
        self.seam = seam(model, layer)
        self.block = routes.block_of(model, layer)
        self.routes: list[Way] = [partial(routes.by_block, block=self.block)] if self.block else []
        self.routes += [routes.by_batch, routes.by_split] if self.seam.cut else [routes.by_copies]
        self.notes = [self.seam.why] if self.seam.why else []

    @torch.no_grad()
    def __call__(self, images: Tensor, *, reading: Reading = "text", batch: int = BATCH) -> Information:
        """The counterfactual information of every filter for images [n, ...], n >= 1."""
        if len(images) < 1:
            raise ValueError("no images: counterfactual information is of at least one")
        parts = []
        for at, some in enumerate(images.split(batch)):
            parts.append(vectors_of(self.logits(some, check=not at), reading))
        ci, odds, classes, margin, silent = (torch.cat(part) for part in zip(*parts, strict=True))
        return Information(
            ci, odds, classes, margin, silent, route=self.told(ci.shape[1]), notes=tuple(self.notes)
        )

    @torch.no_grad()
    def logits(self, images: Tensor, *, check: bool = True) -> Removed:
        """Logits with all filters and without each, of images that are computed at once."""
        a = self.seam.activations(images)
        found = self.routes[0](self.seam, a, images)
        while check and len(self.routes) > 1 and (apart := self._apart(found, a[:1], images[:1])):
            note = f"not {self.told(a.shape[1])}: on three filters it is {apart:.1e} from the network"
            self.notes.append(note)
            self.routes.pop(0)
            found = self.routes[0](self.seam, a, images)
        return found

    def _apart(self, found: Removed, a: Tensor, images: Tensor) -> float:
        """How far the logits without the filters that respond most are from those of the network run for
        each; 0 where that is rounding.
        """
        some = a[0].abs().reshape(a.shape[1], -1).sum(1).topk(min(CHECKED, a.shape[1])).indices
        copies = images.expand(len(some), *images.shape[1:])
        apart = found.without[0, some] - self.seam.logits(without(a[0], some), copies)
        most = apart.abs().max().item()
        return most if most > FARTHEST.get(a.dtype, 1e-4) * max(1.0, found.whole.abs().max().item()) else 0.0

    def told(self, filters: int) -> str:
        """The route in words: "rank-1 into fc", "block rank-49 into classifier.0", "batched"."""
        if self.block is None or not isinstance(self.routes[0], partial):
            return NAMES[self.routes[0]]
        places = self.block.linear.in_features // filters
        return f"{'rank-1' if places == 1 else f'block rank-{places}'} into {self.block.name}"


def vectors_of(found: Removed, reading: Reading = "text") -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """What `Information` holds of each image, in its order: ci, log_odds, classes, margin, silent."""
    before, after = log_odds(found.whole, found.without, reading=reading)
    after = torch.where(found.silent, before[:, None], after)  # sums of equal numbers can round differently
    ci, odds = information(before, after), before[:, None] - after
    return ci, odds, found.whole.argmax(-1), before, found.silent
