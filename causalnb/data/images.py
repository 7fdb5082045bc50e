"""The record that every set of images is, and the balanced draw from one. Where images come from is not known
here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from causalnb import UserError
from causalnb.randomness import whole_seed
from causalnb.store import identity

Split = Literal["train", "test"]
ROUNDING = 1e-6  # how far pixels may miss [0, 1]


@dataclass(frozen=True, eq=False)
class Images:
    """Labelled images.

    images   [n, channels, height, width] float32 in [0, 1]; normalisation is the model's
    labels   [n] int64
    classes  their names, in the order of the labels
    digest   of the whole set that they come from (both splits), 16 hex digits
    factors  what caused each image, each [n, ...]; only where that is known

    Refused: images of another shape, kind or scale, labels that are not one class for each image.
    """

    name: str
    split: str
    images: Tensor = field(repr=False)
    labels: Tensor = field(repr=False)
    classes: tuple[str, ...]
    digest: str
    factors: dict[str, Tensor] = field(default_factory=dict, repr=False)

    def store_key(self) -> str:
        """What tells these images from others in the store: pixels, labels, classes and factors."""
        held = {"images": self.images, "labels": self.labels, "factors": self.factors}
        edited = (
            self.images._version,
            self.labels._version,
            *(one._version for one in self.factors.values()),
        )
        if edited not in self._digests:
            self._digests[edited] = identity.digest({**held, "classes": self.classes}, self.name)
        return self._digests[edited]

    @cached_property
    def _digests(self) -> dict[tuple[int, ...], str]:
        """What was found before, by how often each tensor had been written to."""
        return {}

    def __post_init__(self) -> None:
        """Refuse what is not as above: any number that is made of it would be plausible and wrong. Arrays and
        lists become tensors.
        """
        for name, kind in (("images", torch.float32), ("labels", torch.int64)):
            if not isinstance(given := getattr(self, name), Tensor):
                made = tensor(given, of=f"{self.name}: {name}")
                same = made.is_floating_point() == kind.is_floating_point and made.dtype != torch.bool
                object.__setattr__(self, name, made.to(kind) if same else made)
        refuse_unpaired(self.images, self.labels, of=self.name, least=0)
        for name, values in self.factors.items():
            if len(values) != len(self.images):
                raise ValueError(f"factor {name} has {len(values)} values for {len(self.images)} images")
        if self.images.dim() != 4 or not self.images.is_floating_point():
            raise UserError(
                f"{self.name}: images are {self.images.dtype} {list(self.images.shape)}, and must be "
                "floating point [n, channels, height, width] in [0, 1]: divide 8-bit pixels by 255, 16-bit "
                "ones by 65535."
            )
        if len(self.labels):
            refuse_scale(self.name, self.images)
            _refuse_classes(self.name, self.labels, len(self.classes))

    def __len__(self) -> int:
        """The number of images."""
        return len(self.labels)

    def take(self, index: Tensor | slice) -> Images:
        """The images at these places, or where a mask holds; labels and factors go with them."""
        factors = {name: values[index] for name, values in self.factors.items()}
        return replace(self, images=self.images[index], labels=self.labels[index], factors=factors)


def tensor(given: Any, *, of: str) -> Tensor:
    """What is given as a tensor: one as it is, arrays and lists with their own numbers.

    >>> tensor([[0.5, 1.0]], of="images").dtype
    torch.float64
    """
    if isinstance(given, Tensor):
        return given
    try:
        return torch.from_numpy(np.array(given))
    except (TypeError, ValueError, OverflowError, RuntimeError) as error:
        raise UserError(
            f"{of} cannot become a tensor ({str(error).splitlines()[0]:.100}): give a tensor, or an array or "
            "a list of numbers in which all rows are equally long."
        ) from None


def draw(images: Images, n: int, *, seed: int) -> Images:
    """Draw `n` images without replacement, the classes as equal as the set allows, in a shuffled order.

    Where n is no multiple of the classes, the seed says which classes give one more; a class that runs out
    leaves its share to the others.

    >>> labels = torch.tensor([0, 0, 0, 0, 1, 1])
    >>> set_ = Images("toy", "test", torch.zeros(6, 1, 2, 2), labels, ("a", "b"), "")
    >>> draw(set_, 4, seed=0).labels.bincount()
    tensor([2, 2])
    """
    if not 0 < n <= len(images):
        raise UserError(
            f"n_images = {n} is not possible: {images.name} has {len(images)} {images.split} images, so give "
            f"a number from 1 to {len(images)}."
        )
    generator = torch.Generator().manual_seed(whole_seed(seed))
    order = torch.randperm(len(images), generator=generator)
    pools = [
        order[images.labels[order] == k] for k in torch.randperm(len(images.classes), generator=generator)
    ]
    rounds = pad_sequence(
        pools, padding_value=-1
    )  # [longest, classes]: a row takes one image of every class that has one left
    chosen = rounds[rounds >= 0][:n]
    return images.take(chosen[torch.randperm(n, generator=generator)])


def refuse_unpaired(images: Tensor, labels: Tensor, *, of: str, least: int = 1) -> None:
    """Refuse labels that are not one whole number (int64) for each of at least `least` images."""
    if labels.dtype != torch.int64 or labels.shape != (len(images),) or len(images) < least:
        raise UserError(
            f"{of}: {len(images)} images and labels {labels.dtype} {list(labels.shape)} do not belong "
            f"together: give one int64 label for each image, and at least {least} of them."
        )


def refuse_scale(name: str, images: Tensor) -> None:
    """Refuse at least one image's pixels where they miss [0, 1] by more than rounding, or are no numbers."""
    low, high = (float(end) for end in images.detach().aminmax())
    if not (low >= -ROUNDING and high <= 1 + ROUNDING):
        raise UserError(
            f"{name}: images reach from {low:.4g} to {high:.4g}, and must lie in [0, 1]: divide 8-bit pixels "
            "by 255, 16-bit ones by 65535, keep normalisation inside the model, and remove what is no number."
        )


def _refuse_classes(name: str, labels: Tensor, n: int) -> None:
    low, high = (int(end) for end in labels.aminmax())
    if not 0 <= low <= high < n:
        raise UserError(
            f"{name}: labels reach from {low} to {high}, and there are {n} classes: give labels from 0 to "
            f"{n - 1}, or the names of all classes."
        )


def fingerprint(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, types, shapes and values, the first 16 hex digits."""
    digest = hashlib.sha256()
    for name, values in sorted(tensors.items()):
        digest.update(f"{name} {values.dtype} {tuple(values.shape)}\n".encode())
        digest.update(values.cpu().contiguous().numpy().data)
    return digest.hexdigest()[:16]
