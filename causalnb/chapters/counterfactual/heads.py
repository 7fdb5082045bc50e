"""A network that shows, beside its logits, what enters the layer that first mixes the asked filters: all that
this chapter's detectors see of an image, but for those that look at other images.
"""

import copy

import torch
from torch import Tensor, nn

from causalnb import UserError
from causalnb.chapters.counterfactual.filters import Information, vectors_of
from causalnb.chapters.counterfactual.readings import margins
from causalnb.chapters.counterfactual.routes import Removed, block_of, of_entering, whole_without
from causalnb.chapters.counterfactual.seams import changed, read

BATCH = 200
NUMBERS = 2**24  # logits without each filter at a time, of some images: 128 MB in float64
PIXELS = 2**22  # of one batch at most: a map of 64 channels is then a gigabyte


class Head(nn.Module):
    """A network in evaluation mode with one more output.

    It gives [n, classes + d]: logits, then the features: what enters the first linear layer behind `layer`.
    Each filter's share of the features stands together, so that d is a multiple of their number; with a head
    of means it is that number.
    """

    nothing: Tensor

    def __init__(self, model: nn.Module, layer: str, images: Tensor, *, check: bool = False) -> None:
        """images [n, ...]: one of those to come, by which shapes are known.

        check    compare the logits without three filters with those of the network run without them
        """
        super().__init__()
        block = block_of(model, layer)
        if block is None:
            raise UserError(
                f"Behind {layer} no linear layer is the first to mix its filters, so that detectors have no "
                "features to look at: name the last convolution's output."
            )
        self.model, self.block = model, block
        seen: list[Tensor] = []

        def silenced(a: Tensor) -> Tensor:
            seen.append(a)
            return torch.zeros_like(a)

        with torch.no_grad(), changed(model, layer, silenced), read(model, block.name) as entering:
            self.classes = model(images[:1]).shape[1]
        self.filters = seen[0].shape[1]
        self.register_buffer("nothing", entering[0])
        if check:
            self._refuse_wrong(layer, seen[0], images[:1])

    @torch.no_grad()
    def _refuse_wrong(self, layer: str, a: Tensor, images: Tensor) -> None:
        some = a[0].abs().flatten(1).sum(1).topk(min(3, self.filters)).indices
        truth = torch.cat([whole_without(self.model, layer, images, one) for one in some])
        apart = (self.removed(self(images)).without[0, some] - truth).abs().max().item()
        if apart > 1e-4 * max(1.0, truth.abs().max().item()):
            raise UserError(
                f"Without three filters of {layer} the logits are {apart:.1e} from the network's, so that "
                "its features do not say what the filters do: name another layer."
            )

    def forward(self, images: Tensor) -> Tensor:
        """Logits and features [n, classes + d]."""
        with read(self.model, self.block.name) as seen:
            logits = self.model(images)
        return torch.cat([logits, seen[-1]], dim=1)

    @torch.no_grad()
    def of(self, images: Tensor) -> Tensor:
        """The same of many images, on the CPU."""
        device = self.nothing.device
        parts = images.split(at_once(images, BATCH))
        return torch.cat([self(some.to(device)).cpu() for some in parts])

    def logits(self, outputs: Tensor) -> Tensor:
        """[n, classes]."""
        return outputs[:, : self.classes]

    def features(self, outputs: Tensor) -> Tensor:
        """[n, d]."""
        return outputs[:, self.classes :]

    def removed(self, outputs: Tensor) -> Removed:
        """Logits with all filters and without each; differentiable."""
        whole, entering = self.logits(outputs), self.features(outputs)
        return of_entering(self.block, whole, entering, self.nothing, filters=self.filters)

    @torch.no_grad()
    def information(self, outputs: Tensor, removed: Removed | None = None) -> Information:
        """Counterfactual information of every filter; of logits without each, where they are there."""
        each = [vectors_of(one) for one in ([removed] if removed else map(self.removed, self.parts(outputs)))]
        ci, odds, classes, margin, silent = (torch.cat(part) for part in zip(*each, strict=True))
        route = f"from what enters {self.block.name}"
        return Information(ci, odds, classes, margin, silent, route)

    def parts(self, outputs: Tensor) -> tuple[Tensor, ...]:
        """Outputs [n, classes + d] in parts for whose logits without each filter memory has room."""
        return outputs.split(max(1, NUMBERS // (self.filters * self.classes)))

    def responses(self, outputs: Tensor) -> Tensor:
        """Each filter's mean response g [n, filters]."""
        return (self.features(outputs) - self.nothing).unflatten(1, (self.filters, -1)).mean(2)

    def sensitivity(self, outputs: Tensor) -> Tensor:
        """Gradient x activation [n, filters]: what the log-odds of the predicted class fall by without each
        filter, to first order.

        For P instead of its log-odds it is the same times P (1 - P), a number of the image: correlations are
        the same.
        """
        with torch.enable_grad():
            entering = self.features(outputs).detach().clone().requires_grad_()
            logits = self.block.linear(entering)
            logits = logits if self.block.after is None else self.block.after(logits)
            odds = margins(logits, logits.argmax(1))
            gradient = torch.autograd.grad(odds.sum(), entering)[0]
        product = (entering.detach() - self.nothing) * gradient
        return product.unflatten(1, (self.filters, -1)).sum(2).double()


def at_once(images: Tensor, most: int) -> int:
    """How many of these images [n, channels, height, width] to take at a time: `most`, or fewer that are
    large.
    """
    return max(1, min(most, PIXELS // images[0, 0].numel())) if len(images) else most


def on_cpu(model: nn.Module, layer: str, images: Tensor, *, check: bool = False) -> Head:
    """A head whose network is a copy on the CPU, where scores are computed."""
    return Head(copy.deepcopy(model).cpu(), layer, images.cpu(), check=check)


def outputs(model: nn.Module, layer: str, images: Tensor) -> Tensor:
    """Logits and features of many images [n, classes + d], computed where they lie; for the store."""
    return Head(model, layer, images[:1]).of(images)
