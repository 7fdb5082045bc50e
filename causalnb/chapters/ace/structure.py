"""Whether a model is the book's LeNet as it was built: everything about it on which `propagation` leans.

A user may change any part of a LeNet; its class and its sizes then still look the same.
"""

from collections.abc import Iterator
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.modules import module as torch_module

from causalnb.models import LeNet

KINDS: dict[str, tuple[type[nn.Module], ...]] = {
    "conv1": (nn.Conv2d,),
    "conv2": (nn.Conv2d,),
    "fc1": (nn.Linear,),
    "fc2": (nn.Linear,),
    "fc3": (nn.Linear,),
    "activation": (nn.ReLU, nn.Tanh),
    "pool": (nn.MaxPool2d, nn.AvgPool2d),
}
CONVOLUTION = {"kernel_size": 5, "stride": 1, "dilation": 1, "groups": 1, "padding_mode": "zeros"}
POOLING = {"kernel_size": 2, "stride": 2, "padding": 0, "ceil_mode": False}
OF_A_POOL: dict[type[nn.Module], dict[str, object]] = {
    nn.MaxPool2d: {"dilation": 1, "return_indices": False},
    nn.AvgPool2d: {"divisor_override": None},
}
LAYERS = ("conv1", "conv2", "fc1", "fc2", "fc3")
SMALLEST = 12  # pixels along a side


def obstacle(model: nn.Module, images: Tensor) -> str:
    """Why a model or images [n, channels, size, size] are not what propagation knows, or "" where they are.

    The words are the end of a sentence: "its pool has stride 1, not 2". They name the first thing found.
    """
    return next(_obstacles(model, images), "")


def _obstacles(model: nn.Module, images: Tensor) -> Iterator[str]:
    """Later questions rely on the answers to the earlier ones."""
    yield from _of_images(images)
    if type(model) is not LeNet:
        yield f"the model is a {type(model).__name__}, not the book's LeNet"
    for name, kinds in KINDS.items():
        if type(part := getattr(model, name, None)) not in kinds:
            yield f"its {name} is a {type(part).__name__}, not a {' or a '.join(k.__name__ for k in kinds)}"
    parts: dict[str, nn.Module] = {name: getattr(model, name) for name in KINDS}
    yield from _of_calls({"model": model} | parts)
    yield from _of_settings(parts)
    yield from _of_weights({name: cast(Tensor, parts[name].weight) for name in LAYERS}, images)


def _of_images(images: Tensor) -> Iterator[str]:
    size = images.shape[3]
    if images.shape[2] != size or size % 4 or size < SMALLEST:
        yield f"it knows square images of {SMALLEST} x {SMALLEST} pixels or more, at sizes that 4 divides"
    if images.dtype not in (torch.float32, torch.float64):
        yield f"the images are {images.dtype}, not float32 or float64"
    if torch.is_autocast_enabled(images.device.type):
        yield "autocast changes the precision on its way"
    if not images.isfinite().all():
        yield "the images are not finite"


def _of_calls(parts: dict[str, nn.Module]) -> Iterator[str]:
    """Hooks, and methods that a single module replaces: either may change what a layer gives."""
    if torch_module._global_forward_hooks or torch_module._global_forward_pre_hooks:
        yield "there is a hook on every module"
    for name, part in parts.items():
        if part._forward_hooks or part._forward_pre_hooks:
            yield f"its {name} has a hook"
        own = [key for key in vars(part) if callable(getattr(type(part), key, None))]
        if own:
            yield f"its {name} has a {own[0]} of its own"


def _of_settings(parts: dict[str, nn.Module]) -> Iterator[str]:
    pool = parts["pool"]
    for name, wanted in (
        ("conv1", CONVOLUTION | {"padding": 2}),
        ("conv2", CONVOLUTION | {"padding": 0}),
        ("pool", POOLING | OF_A_POOL[type(pool)]),
    ):
        for setting, value in wanted.items():
            given = getattr(parts[name], setting)
            if given != value and given != (value, value):
                yield f"its {name} has {setting} {given}, not {value}"


def _of_weights(weights: dict[str, Tensor], images: Tensor) -> Iterator[str]:
    """Plain tensors of the images' precision and place, whose shapes follow one another."""
    for name, weight in weights.items():
        if (
            type(weight) not in (Tensor, nn.Parameter)
            or weight.layout is not torch.strided
            or (weight.dtype, weight.device) != (images.dtype, images.device)
        ):
            yield f"its {name} has no plain {images.dtype} weights on {images.device}"
    first, second = weights["conv1"].shape[0], weights["conv2"].shape[0]
    side = (images.shape[3] // 2 - 4) // 2
    wanted = {
        "conv1": (first, images.shape[1], 5, 5),
        "conv2": (second, first, 5, 5),
        "fc1": (len(weights["fc1"]), second * side**2),
        "fc2": (len(weights["fc2"]), len(weights["fc1"])),
        "fc3": (len(weights["fc3"]), len(weights["fc2"])),
    }
    for name, shape in wanted.items():
        if weights[name].shape != shape:
            yield f"its {name} has weights {list(weights[name].shape)}, not {list(shape)}"
