"""Networks by name, ours and torchvision's, and their weights from a file.

Weights fit the bare network: normalisation is a layer around it (`Normalised`), and no part of the file.
"""

import difflib
import inspect
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from causalnb import UserError, vision
from causalnb.models import weights
from causalnb.models.comparing import first_sentence
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
    if (own := name.lower()) in ARCHITECTURES:
        _known_options(own, ARCHITECTURES[own], options)
        return ARCHITECTURES[own](classes=classes, channels=channels, size=size, seed=seed, **options)
    theirs, bare = _theirs(name)
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


def require(path: Path | str, name: str) -> None:
    """Refuse, without building or loading, a name that is no network's, and weights that cannot be read."""
    if name.lower() not in ARCHITECTURES:
        _theirs(name)
    weights.read(Path(path))


def _theirs(name: str) -> tuple[Any, str]:
    """torchvision's models, and the one's name among them."""
    theirs, bare = vision.import_torchvision().models, name.lower().removeprefix(TORCHVISION)
    if bare not in (known := theirs.list_models(module=theirs)):
        near = difflib.get_close_matches(bare, [*ARCHITECTURES, *known], n=1)
        guess = f" (did you mean {near[0]}?)" if near else ""
        raise UserError(
            f"{name} is no network known here{guess}: give one of {', '.join(ARCHITECTURES)}, or a "
            "classification model of torchvision's."
        )
    return theirs, bare


def load(
    path: Path | str,
    name: str,
    *,
    classes: int | Sequence[int],
    channels: int,
    size: int,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    **options: Any,
) -> nn.Module:
    """The network `name` with the weights of a safetensors file, in evaluation mode; `Normalised` where mean
    and std are given.

    path      holds the tensors of the bare network's state_dict, by their names, or all with a prefix before
              them ("model.", "module.", "_orig_mod.", any other); in a file with names "weights. ..." those
              alone count, and there may be others beside them. Floating point of another precision (16 or 64
              bits) becomes float32
    classes   how many; or, for weights that tell more classes apart, the output that stands for each class of
              a set: the network then answers among these alone

    The rest is as in `build`. Refused, in a sentence: a file that is absent, damaged or a pickle of torch's,
    weights that do not fit or are of another kind (whole numbers, bool, complex, 8 bits), numbers that are
    not finite, a network that cannot take such images.
    """
    if (mean is None) != (std is None) or (mean is not None and len(mean) != channels):
        raise UserError(
            f"mean = {mean} and std = {std} do not fit images of {channels} channels: give both, one number "
            "per channel, or none."
        )
    held = weights.read(Path(path))

    def make(n: int) -> nn.Module:
        return build(name, classes=n, channels=channels, size=size, **options)

    chosen = None if isinstance(classes, int) else list(classes)
    given = _outputs(held, make, Path(path), chosen) if chosen is not None else cast(int, classes)
    model = make(given)
    _try(model, name, channels, size)
    expected = model.state_dict()
    tensors = weights.named(held, expected, Path(path))
    tensors |= {
        key: expected[key] for key in expected.keys() - tensors.keys() if key.endswith("num_batches_tracked")
    }
    if misfit := weights.misfit(tensors, expected):
        apart = None if chosen is not None else weights.outputs(tensors, make)
        hint = "give the architecture, its options and the data set that the weights were trained with"
        if apart is not None and apart > given and not weights.misfit(tensors, make(apart).state_dict()):
            hint = (
                f"these weights tell {apart} classes apart, so give `classes` ({given} numbers from 0 to "
                f"{apart - 1}): the output that stands for each class of the set, in the set's order"
            )
        raise UserError(
            f"{path} does not fit {name} with {given} classes, {channels} channels and size {size}: "
            f"{misfit}; {hint}."
        )
    model.load_state_dict(tensors)
    whole = model if mean is None or std is None else Normalised(model, mean, std)
    return (whole if chosen is None else weights.Chosen(whole, chosen)).eval()


def _outputs(
    held: dict[str, Tensor], make: Callable[[int], nn.Module], path: Path, chosen: Sequence[int]
) -> int:
    """How many outputs the file's network has, when these are to stand for classes."""
    found = weights.outputs(weights.named(held, make(2).state_dict(), path), make)
    if found is None:
        raise UserError(f"{path} does not show how many classes it tells apart: give their number alone.")
    if len(set(chosen)) < len(chosen) or not all(0 <= output < found for output in chosen):
        raise UserError(
            f"classes = {list(chosen)} is not possible: {path} tells {found} classes apart, so give one "
            f"number from 0 to {found - 1} for each class of the set, each once."
        )
    return found


def _try(model: nn.Module, name: str, channels: int, size: int) -> None:
    """Refuse a network that cannot take two black images of this shape."""
    try:
        with torch.no_grad():
            model.eval()(torch.zeros(2, channels, size, size))
    except Exception as error:  # whatever a forward pass has against them
        raise UserError(
            f"{name} cannot take images of {channels} x {size} x {size} ({first_sentence(error)}): choose an "
            "architecture made for this size, give its option for it (such as image_size), or take larger "
            "images."
        ) from None


def _known_options(name: str, make: Callable[..., nn.Module], options: Iterable[str]) -> None:
    own = [
        option
        for option in inspect.signature(make).parameters
        if option not in ("classes", "channels", "size", "seed")
    ]
    for option in options:
        if option not in own:
            raise UserError(f"{option} is no option of {name}: it has {', '.join(own) or 'none'}.")
