"""What stands between an attack and the model: the criterion, the model as it is watched, and a guard that
leaves no trace.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import chain

import torch
from torch import Tensor, nn

from causalnb import UserError
from causalnb.randomness import generators_at

# Matrix kernels take other paths for very few rows and round differently: fewer images than this are sent
# with copies.
ROWS = 8


# Both are given what the model gives [n, columns], and which of all images these are [n]; they give what is
# climbed [n], and which are flagged [n].
Loss = Callable[[Tensor, Tensor], Tensor]
Detected = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Criterion:
    """What counts as success for each image: any class but its label, or exactly its target; and not
    `detected`, where that is asked.

    rows      [n], which of all images these are
    classes   how many of the model's columns are logits; None: all
    """

    labels: Tensor
    targets: Tensor | None = None
    rows: Tensor | None = None
    detected: Detected | None = None
    classes: int | None = None

    def logits(self, outputs: Tensor) -> Tensor:
        """Of what the model gives, the columns that are logits."""
        return outputs[:, : self.classes]

    def reached(self, outputs: Tensor) -> Tensor:
        """[n] whether each row of outputs is finite and reaches the criterion."""
        predicted = self.logits(outputs).argmax(dim=1)
        hit = predicted != self.labels if self.targets is None else predicted == self.targets
        hit = hit & outputs.isfinite().all(dim=1)
        if self.detected is not None and self.rows is not None and hit.any():
            hit[hit.clone()] &= ~self.detected(outputs[hit], self.rows[hit])
        return hit

    def at(self, rows: Tensor) -> "Criterion":
        """The criterion of some of the images."""
        return self._each(lambda one: one[rows])

    def to(self, device: torch.device) -> "Criterion":
        """The criterion on another device."""
        return self._each(lambda one: one.to(device))

    def _each(self, change: Callable[[Tensor], Tensor]) -> "Criterion":
        targets, rows = (None if one is None else change(one) for one in (self.targets, self.rows))
        return replace(self, labels=change(self.labels), targets=targets, rows=rows)


class WatchedModel(nn.Module):
    """The model as an attack sees it: counts passes and remembers the last iterate that reached the
    criterion.

    The model is no submodule of it, so that a library that moves or switches its model touches nothing of the
    user's.
    """

    def __init__(
        self,
        model: Callable[[Tensor], Tensor],
        device: torch.device,
        ticks: Iterator[int],
        *,
        rows: int = ROWS,
    ):
        """`ticks` moves by one with every forward pass: a progress bar. `flags` take what an attack has to
        say of its run.

        rows   a batch of fewer images is filled up with copies, so that an image is rounded the same in every
               batch
        """
        super().__init__()
        self.score: Callable[[Tensor], Tensor] = lambda images: score(model, images, rows=rows)
        self.device, self.ticks = device, ticks
        self.forwards = self.backwards = 0
        self.flags: list[str] = []
        self.eval()

    def follow(
        self, images: Tensor, criterion: Criterion, inside: Callable[[Tensor], Tensor] | None = None
    ) -> None:
        """Begin with a batch: nothing is remembered of it yet.

        inside   [n] whether images lie in the budget. Given, the first iterate that reaches the criterion
                 there ends an image's search: from then on it is answered as it was then, without a pass
                 through the model
        """
        self.criterion, self.kept, self.inside = criterion, images.clone(), inside
        self.open, self.answers = (
            torch.ones(len(images), dtype=torch.bool, device=images.device),
            torch.empty(0),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Logits of the images, counted; iterates of the followed batch are looked at."""
        return self.criterion.logits(self.outputs(images))

    def outputs(self, images: Tensor) -> Tensor:
        """The same with the columns behind the logits, for a loss or a detector."""
        next(self.ticks, None)
        if images.shape != self.kept.shape:
            return self._asked(images)
        rows = self.open.nonzero().flatten()
        if len(rows) == len(images):
            logits = self._asked(images)
        elif len(rows):
            logits = self.answers.index_copy(0, rows, self._asked(images[rows]))
        else:
            logits = self.answers + 0 * images.flatten(1).sum(dim=1, keepdim=True)
        hit = self.criterion.reached(logits.detach()) & self.open
        if self.inside is not None:
            hit &= self.inside(images.detach())
            self.open, self.answers = self.open & ~hit, logits.detach()
        self.kept[hit] = images.detach()[hit]
        return logits

    def _asked(self, images: Tensor) -> Tensor:
        self.forwards += len(images)
        self.backwards += len(images) * images.requires_grad
        return self.score(images)

    @torch.no_grad()
    def last_success(self, images: Tensor) -> Tensor:
        """The given images where they reach the criterion, else the last iterates that did, else the images
        as they came.
        """
        images = images.to(self.kept.dtype)  # a library may have computed in its own
        hit = self.criterion.reached(self.score(images)) & self.open
        self.kept[hit] = images[hit]
        return self.kept


def score(model: Callable[[Tensor], Tensor], images: Tensor, *, rows: int = ROWS) -> Tensor:
    """Logits [n, classes] of one forward pass, in which fewer than `rows` images are filled up with copies.

    A module whose weights are of another floating point type is given images of that type, and its logits
    come back in the images' own.
    """
    copies = images[:1].expand(max(rows - len(images), 0), *images.shape[1:])
    asked, kind = torch.cat([images, copies]) if len(copies) else images, kind_of(model, images)
    logits = model(asked.to(kind))
    if isinstance(logits, Tensor) and logits.dim() == 1 and len(asked) == 1:
        logits = logits[None]  # a model that squeezes its output gives one image's without its place
    if isinstance(logits, Tensor) and (logits.dim() == 1 or logits.shape[1:] == (1,)):
        raise UserError(
            f"the model gives one number for each image ({list(logits.shape)} for {len(asked)} images), and "
            "an attack needs a logit for each class: for two classes wrap it, so that it gives "
            "torch.stack([-z, z], dim=1) / 2 for its logit z."
        )
    if not isinstance(logits, Tensor) or logits.dim() != 2:
        raise ValueError(
            f"the model must give logits [n, classes] for images {tuple(images.shape)}, it gave "
            f"{getattr(logits, 'shape', type(logits))}"
        )
    logits = logits[: len(images)]
    return logits if kind == images.dtype else logits.to(images.dtype)


def kind_of(model: Callable[[Tensor], Tensor], images: Tensor) -> torch.dtype:
    """The floating point type of a module's weights; the images' own where some have it, or they differ."""
    kinds = {one.dtype for one in model.parameters()} if isinstance(model, nn.Module) else set()
    kinds = {kind for kind in kinds if kind.is_floating_point}
    return images.dtype if images.dtype in kinds or len(kinds) != 1 else kinds.pop()


def whole(labels: Tensor) -> bool:
    """Whether a tensor holds whole numbers: no floating point, no complex ones, no bool, which is a mask."""
    return not (labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool)


def device_of(model: Callable[[Tensor], Tensor], images: Tensor) -> torch.device:
    """Where the model lives; a model without tensors lives where the images are."""
    tensors = chain(model.parameters(), model.buffers()) if isinstance(model, nn.Module) else ()
    return next((tensor.device for tensor in tensors), images.device)


@contextmanager
def preserved_state(model: Callable[[Tensor], Tensor], device: torch.device, seed: int) -> Iterator[None]:
    """The model in eval mode with frozen parameters, the global generators at `seed`; after it all is as it
    was.

    Restored, also after an exception: each submodule's mode, each parameter's `requires_grad`, buffers, and
    the global generators of torch (with the model's CUDA device), numpy and Python.
    """
    if isinstance(model, nn.Module) and any(one.is_inference() for one in model.parameters()):
        raise UserError(
            "The model was made or loaded inside torch.inference_mode, so no gradient passes through it: "
            "make it outside, and attack it anywhere."
        )
    restore = _remember(model) if isinstance(model, nn.Module) else lambda: None
    with torch.inference_mode(False), generators_at(seed, device), torch.enable_grad():
        try:
            if isinstance(model, nn.Module):
                for parameter in model.eval().parameters():
                    parameter.requires_grad_(False)
            yield
        finally:
            restore()


def _remember(model: nn.Module) -> Callable[[], None]:
    """What a model holds beside its weights' values, as a function that puts it back."""
    modes = [(module, module.training) for module in model.modules()]
    required = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    buffers = [
        (module, name, buffer, buffer.clone())
        for module in model.modules()
        for name, buffer in module._buffers.items()
        if buffer is not None
    ]

    def restore() -> None:
        for module, mode in modes:
            module.training = mode
        for parameter, before in required:
            parameter.requires_grad_(before)
        for module, name, buffer, values in buffers:
            module._buffers[name] = buffer
            if not torch.equal(buffer, values):
                buffer.data.copy_(values)

    return restore
