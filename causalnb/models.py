"""Architectures, built from a seed. Images come in as they are, in [0, 1]; logits go out; training is elsewhere."""

import difflib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn

from causalnb import UserError, vision

Variant = Literal["relu-max", "tanh-average"]


class LeNet(nn.Module):
    """LeNet-5 (LeCun et al. 1998): two convolutions with pooling, three linear layers.

    conv1 channels -> 6, 5 x 5, padding 2; activation; pool 2; conv2 6 -> 16, 5 x 5; activation; pool 2;
    fc1 -> 120, fc2 -> 84, fc3 -> classes, an activation between them.
    "relu-max" is what is trained today, "tanh-average" has the smooth activation and averaging of the original.
    """

    def __init__(self, variant: Variant, classes: int, channels: int, size: int) -> None:
        """Weights come from torch's global generator; `lenet` draws them from a seed."""
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 6, 5, padding=2)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.fc1 = nn.Linear(16 * ((size // 2 - 4) // 2) ** 2, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, classes)
        self.activation = nn.ReLU() if variant == "relu-max" else nn.Tanh()
        self.pool = nn.MaxPool2d(2) if variant == "relu-max" else nn.AvgPool2d(2)

    def forward(self, images: Tensor) -> Tensor:
        """Logits [n, classes] of images [n, channels, size, size]."""
        hidden = self.pool(self.activation(self.conv1(images)))
        hidden = self.pool(self.activation(self.conv2(hidden))).flatten(1)
        hidden = self.activation(self.fc1(hidden))
        logits: Tensor = self.fc3(self.activation(self.fc2(hidden)))
        return logits


def lenet(*, variant: Variant = "relu-max", classes: int = 10, channels: int = 1, size: int = 28, seed: int = 0) -> LeNet:
    """A LeNet with torch's default initial weights, drawn from `seed`; the global generators stay as they are.

    >>> sum(p.numel() for p in lenet().parameters())
    61706
    >>> lenet()(torch.zeros(2, 1, 28, 28)).shape
    torch.Size([2, 10])
    """
    if variant not in ("relu-max", "tanh-average"):
        raise ValueError(f"variant = {variant!r}: a LeNet is relu-max or tanh-average")
    if size < 12:
        raise UserError(f"LeNet cannot take images of {size} x {size} pixels: its two poolings need 12 x 12 or more, so choose a larger set.")
    with _drawn_from(seed):
        return LeNet(variant, classes, channels, size)


ARCHITECTURES: dict[str, Callable[..., nn.Module]] = {"lenet": lenet, "lenet-tanh": partial(lenet, variant="tanh-average")}


def build(name: str, *, classes: int, channels: int, size: int, seed: int) -> nn.Module:
    """An architecture of `ARCHITECTURES`, or one of torchvision's for classification: "resnet18" or "torchvision:resnet18".

    torchvision's start without trained weights; where `channels` is not 3 their first convolution takes `channels`.

    >>> build("lenet-tanh", classes=4, channels=1, size=28, seed=0).pool
    AvgPool2d(kernel_size=2, stride=2, padding=0)
    """
    if name in ARCHITECTURES:
        return ARCHITECTURES[name](classes=classes, channels=channels, size=size, seed=seed)
    models = vision.import_torchvision().models
    known, plain = models.list_models(module=models), name.removeprefix("torchvision:")
    if plain not in known:
        near = difflib.get_close_matches(plain, [*ARCHITECTURES, *known], n=1)
        guess = f" (did you mean {near[0]}?)" if near else ""
        raise UserError(f"{name} is not an architecture{guess}: give one of {', '.join(ARCHITECTURES)}, or a classification model of torchvision.")
    single_output = {"aux_logits": False, "init_weights": True} if plain in ("googlenet", "inception_v3") else {}
    with _drawn_from(seed):
        model = models.get_model(plain, num_classes=classes, **single_output)
        return model if channels == 3 else _with_channels(model, channels)


def _with_channels(model: nn.Module, channels: int) -> nn.Module:
    path, old = next((path, module) for path, module in model.named_modules() if isinstance(module, nn.Conv2d))
    shape: dict[str, Any] = {"kernel_size": old.kernel_size, "stride": old.stride, "padding": old.padding, "bias": old.bias is not None}
    model.set_submodule(path, nn.Conv2d(channels, old.out_channels, **shape))
    return model


@contextmanager
def _drawn_from(seed: int) -> Iterator[None]:
    """Weights made inside come from `seed`, and the CPU's generator is afterwards as it was; no GPU's is touched."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


class Normalised(nn.Module):
    """A model behind its own normalisation: model((images - mean) / std), so that attacks see images in [0, 1].

    >>> Normalised(nn.Identity(), mean=[0.5], std=[0.25])(torch.ones(1, 1, 1, 1)).item()
    2.0
    """

    mean: Tensor
    std: Tensor

    def __init__(self, model: nn.Module, mean: Sequence[float], std: Sequence[float]) -> None:
        """Mean and std: one number a channel; they are saved with the weights."""
        super().__init__()
        self.model = model
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """The model's answer to the normalised images [n, channels, height, width]."""
        answer: Tensor = self.model((images - self.mean) / self.std)
        return answer


def state(model: nn.Module) -> dict[str, Tensor]:
    """The model's parameters and buffers as copies on the CPU, as the store keeps them; `load_state_dict` takes them back."""
    return {name: values.detach().cpu().clone(memory_format=torch.contiguous_format) for name, values in model.state_dict().items()}
