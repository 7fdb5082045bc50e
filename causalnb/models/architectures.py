"""Networks by name, ours and torchvision's, and their weights from a file.

Weights fit the bare network: normalisation is a layer around it (`Normalised`), and no part of the file.
"""

import difflib
import inspect
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from causalnb import UserError, store, vision
from causalnb.models.lenet5 import lenet
from causalnb.models.plain import cnn37, gap_cnn, small_cnn, vgg16_cifar
from causalnb.models.residual import resnet18, resnet20
from causalnb.models.seeding import drawn

ARCHITECTURES: dict[str, Callable[..., nn.Module]] = {
    "lenet": lenet,
    "small_cnn": small_cnn,
    "cnn37": cnn37,
    "gap_cnn": gap_cnn,
    "resnet20": resnet20,
    "resnet18": resnet18,
    "vgg16_cifar": vgg16_cifar,
}
TORCHVISION = "torchvision:"


class Normalised(nn.Module):
    """A model behind the normalisation that it was trained with: model((images - mean) / std), per channel.

    mean, std   one number for each channel; they move with the module, but are no part of its state_dict,
                which holds the model's tensors alone, under "model."

    >>> Normalised(nn.Flatten(), mean=[0.5], std=[0.25])(torch.tensor([[[[0.75]]]]))
    tensor([[1.]])
    """

    mean: Tensor
    std: Tensor

    def __init__(self, model: nn.Module, mean: Sequence[float], std: Sequence[float]) -> None:
        """Refused: a mean and a std of different lengths, a std that is not above 0, the scale 0 to 255."""
        super().__init__()
        if len(mean) != len(std) or not all(value > 0 for value in std):
            raise UserError(
                f"mean = {list(mean)} and std = {list(std)} normalise nothing: give each one number per "
                "channel, std above 0."
            )
        if not all(0 <= value <= 1 for value in (*mean, *std)):
            raise UserError(
                f"mean = {list(mean)} and std = {list(std)} are not those of images in [0, 1]: give numbers "
                "from 0 to 1, those of pixels from 0 to 255 divided by 255."
            )
        self.model = model
        self.register_buffer("mean", torch.tensor(mean)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(std)[:, None, None], persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Logits [n, classes] of images [n, channels, height, width] in [0, 1]; one mean serves all
        channels, several serve as many.
        """
        logits: Tensor = self.model((images - self.mean.expand_as(images)) / self.std)
        return logits


def build(name: str, *, classes: int, channels: int, size: int, seed: int = 0, **options: Any) -> nn.Module:
    """An untrained network by name, its first weights drawn from `seed`.

    name      one of ARCHITECTURES, or a classification model of torchvision's: its name, with "torchvision:"
              before it where ours has the same one. A torchvision model takes images of 3 channels and, if at
              all, learns its size by an option
    options   the network's own, such as `width` of vgg16_cifar

    >>> build("lenet", classes=4, channels=3, size=32).fc3
    Linear(in_features=84, out_features=4, bias=True)
    """
    if name in ARCHITECTURES:
        _known_options(name, ARCHITECTURES[name], options)
        return ARCHITECTURES[name](classes=classes, channels=channels, size=size, seed=seed, **options)
    theirs, bare = vision.import_torchvision().models, name.removeprefix(TORCHVISION)
    if bare not in (known := theirs.list_models(module=theirs)):
        near = difflib.get_close_matches(bare, [*ARCHITECTURES, *known], n=1)
        guess = f" (did you mean {near[0]}?)" if near else ""
        raise UserError(
            f"{name} is no network known here{guess}: give one of {', '.join(ARCHITECTURES)}, or a "
            "classification model of torchvision's."
        )
    if channels != 3:
        raise UserError(
            f"{name} takes images of 3 channels, not of {channels}: choose a set of colour images, or one of "
            f"{', '.join(ARCHITECTURES)}."
        )
    try:
        return drawn(
            seed,
            lambda: cast(nn.Module, theirs.get_model(bare, weights=None, num_classes=classes, **options)),
        )
    except TypeError as error:
        raise UserError(f"{name} cannot be built with {options}: {error}.") from None


def load(
    path: Path | str,
    name: str,
    *,
    classes: int,
    channels: int,
    size: int,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    **options: Any,
) -> nn.Module:
    """The network `name` with the weights of a safetensors file, in evaluation mode; `Normalised` where mean
    and std are given.

    path   holds the tensors of the bare network's state_dict, by their names, or all with "model." or
           "module." before them; in a file with names "weights. ..." those alone count, and there may be
           others beside them. Floating point of another precision (16 or 64 bits) becomes float32

    The rest is as in `build`. Refused, in a sentence: a file that is absent or damaged, weights that do not
    fit or are of another kind (whole numbers, bool, complex, 8 bits), numbers that are not finite.
    """
    if (mean is None) != (std is None) or (mean is not None and len(mean) != channels):
        raise UserError(
            f"mean = {mean} and std = {std} do not fit images of {channels} channels: give both, one number "
            "per channel, or none."
        )
    model = build(name, classes=classes, channels=channels, size=size, **options)
    weights, expected = _bare(_tensors(Path(path))), model.state_dict()
    weights |= {
        key: expected[key] for key in expected.keys() - weights.keys() if key.endswith("num_batches_tracked")
    }
    if misfit := _misfit(weights, expected):
        raise UserError(
            f"{path} does not fit {name} with {classes} classes, {channels} channels and size {size}: "
            f"{misfit}; "
            "give the architecture, its options and the data set that the weights were trained with."
        )
    model.load_state_dict(weights)
    return (model if mean is None or std is None else Normalised(model, mean, std)).eval()


def _known_options(name: str, make: Callable[..., nn.Module], options: Iterable[str]) -> None:
    own = [
        option
        for option in inspect.signature(make).parameters
        if option not in ("classes", "channels", "size", "seed")
    ]
    for option in options:
        if option not in own:
            raise UserError(f"{option} is no option of {name}: it has {', '.join(own) or 'none'}.")


def _tensors(path: Path) -> dict[str, Tensor]:
    """What a safetensors file holds; one with the store's seal must still bear it."""
    try:
        with safe_open(path, framework="pt") as file:
            if "sha256" not in (file.metadata() or {}) or store.sound(path):
                return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except OSError as error:
        raise UserError(
            f"{path} cannot be read ({error if path.exists() else 'there is no such file'}): give the path "
            "of a safetensors file."
        ) from None
    except SafetensorError as error:
        raise UserError(
            f"{path} is damaged or no safetensors file ({error}): fetch or write it again."
        ) from None
    raise UserError(f"{path} is damaged (it does not match its checksum): fetch or write it again.")


def _bare(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights by the names that the bare network gives them."""
    own = {
        key.removeprefix("weights."): values for key, values in tensors.items() if key.startswith("weights.")
    } or tensors
    for prefix in ("module.", "model."):
        if all(key.startswith(prefix) for key in own):
            own = {key.removeprefix(prefix): values for key, values in own.items()}
    return own


def _misfit(given: dict[str, Tensor], expected: dict[str, Tensor]) -> str:
    """The first tensor that is missing, of another shape or kind, not finite or too many; "" where all
    fit.
    """
    for key, values in expected.items():
        if key not in given:
            return f"the tensor {key} is missing"
        if given[key].shape != values.shape:
            return f"the tensor {key} has the shape {list(given[key].shape)}, not {list(values.shape)}"
        if not _same_kind(given[key], values):
            return f"the tensor {key} holds {given[key].dtype}, not {values.dtype}"
        if not given[key].to(values.dtype).isfinite().all():
            return f"the tensor {key} holds numbers that are not finite in {values.dtype}"
    return next((f"the tensor {key} is too many" for key in given if key not in expected), "")


def _same_kind(given: Tensor, expected: Tensor) -> bool:
    """Whether numbers mean the same in the expected type: both floating point, or both whole."""
    if expected.is_floating_point():
        return given.is_floating_point() and given.element_size() >= 2
    return not (given.is_floating_point() or given.is_complex() or given.dtype == torch.bool)
