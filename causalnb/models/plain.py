"""Plain convolutional networks: layers one after the other, each with a name, nothing flowing past them."""

from collections import OrderedDict
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

from torch import nn

from causalnb import UserError
from causalnb.models.seeding import drawn


def small_cnn(*, classes: int = 10, channels: int = 1, size: int = 28, seed: int = 0) -> nn.Sequential:
    """The MNIST network of TRADES (Zhang et al. 2019; first in Carlini & Wagner 2017): four convolutions,
    three linear layers.

    conv1 channels -> 32, conv2 -> 32, pool 2; conv3 -> 64, conv4 -> 64, pool 2, all 3 x 3 without padding;
    fc1 -> 200, dropout 1/2, fc2 -> 200, fc3 -> classes; ReLU between them. Convolutions start by Kaiming's
    normal, fc3 at zero.

    >>> sum(p.numel() for p in small_cnn().parameters())
    312202
    """
    side = ((size - 4) // 2 - 4) // 2
    if side < 1:
        raise UserError(
            f"small_cnn cannot take images of {size} x {size} pixels: its convolutions need 16 x 16 or more, "
            "so choose a larger set."
        )
    return drawn(seed, lambda: _small_cnn(classes, channels, side))


def _small_cnn(classes: int, channels: int, side: int) -> nn.Sequential:
    layers = OrderedDict[str, nn.Module](
        conv1=nn.Conv2d(channels, 32, 3),
        relu1=nn.ReLU(),
        conv2=nn.Conv2d(32, 32, 3),
        relu2=nn.ReLU(),
        pool1=nn.MaxPool2d(2),
        conv3=nn.Conv2d(32, 64, 3),
        relu3=nn.ReLU(),
        conv4=nn.Conv2d(64, 64, 3),
        relu4=nn.ReLU(),
        pool2=nn.MaxPool2d(2),
        flat=nn.Flatten(),
        fc1=nn.Linear(64 * side**2, 200),
        relu5=nn.ReLU(),
        dropout=nn.Dropout(0.5),
        fc2=nn.Linear(200, 200),
        relu6=nn.ReLU(),
        fc3=nn.Linear(200, classes),
    )
    for layer in layers.values():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight)
    for values in layers["fc3"].parameters():
        nn.init.zeros_(values)
    return nn.Sequential(layers)


def cnn37(*, classes: int = 2, channels: int = 1, size: int = 28, seed: int = 0) -> nn.Sequential:
    """A network of four convolutions, for MNIST's 3 against 7: as small as a study of all 2^16 sets of
    conv1's channels asks for.

    conv1 channels -> 16, conv2 -> 32, conv3 -> 64, conv4 -> 64, all 3 x 3 with padding 1 and ReLU, pool 2
    after the first three; one linear layer `fc`. Torch's default initial weights.

    >>> sum(p.numel() for p in cnn37().parameters())
    61378
    """
    if size < 8:
        raise UserError(
            f"cnn37 cannot take images of {size} x {size} pixels: its three poolings need 8 x 8 or more, so "
            "choose a larger set."
        )
    return drawn(
        seed,
        lambda: nn.Sequential(
            OrderedDict[str, nn.Module](
                conv1=nn.Conv2d(channels, 16, 3, padding=1),
                relu1=nn.ReLU(),
                pool1=nn.MaxPool2d(2),
                conv2=nn.Conv2d(16, 32, 3, padding=1),
                relu2=nn.ReLU(),
                pool2=nn.MaxPool2d(2),
                conv3=nn.Conv2d(32, 64, 3, padding=1),
                relu3=nn.ReLU(),
                pool3=nn.MaxPool2d(2),
                conv4=nn.Conv2d(64, 64, 3, padding=1),
                relu4=nn.ReLU(),
                flat=nn.Flatten(),
                fc=nn.Linear(64 * (size // 8) ** 2, classes),
            )
        ),
    )


def gap_cnn(*, classes: int = 10, channels: int = 1, size: int = 8, seed: int = 0) -> nn.Sequential:
    """Three convolutions and a head of one linear layer on the means of the last one's channels: what
    vgg16_cifar is for colour images, for digits of 8 x 8.

    conv1 channels -> 32, conv2 -> 64, pool 2, conv3 -> 128, all 3 x 3 with padding 1 and ReLU; gap, the mean
    over what is left; fc. Torch's default initial weights.

    >>> sum(p.numel() for p in gap_cnn().parameters())
    93962
    """
    if size < 2:
        raise UserError(
            f"gap_cnn cannot take images of {size} x {size} pixels: its layers need 2 x 2 or more, so "
            "choose a larger set."
        )
    return drawn(
        seed,
        lambda: nn.Sequential(
            OrderedDict[str, nn.Module](
                conv1=nn.Conv2d(channels, 32, 3, padding=1),
                relu1=nn.ReLU(),
                conv2=nn.Conv2d(32, 64, 3, padding=1),
                relu2=nn.ReLU(),
                pool=nn.MaxPool2d(2),
                conv3=nn.Conv2d(64, 128, 3, padding=1),
                relu3=nn.ReLU(),
                gap=nn.AdaptiveAvgPool2d(1),
                flat=nn.Flatten(),
                fc=nn.Linear(128, classes),
            )
        ),
    )


Order = Literal["bn-relu", "relu-bn"]


def vgg16_cifar(
    *,
    width: float = 1.0,
    last: int = 512,
    order: Order = "bn-relu",
    classes: int = 10,
    channels: int = 3,
    size: int = 32,
    seed: int = 0,
) -> nn.Sequential:
    """VGG16 (Simonyan & Zisserman 2015) for small images: batch norm after each convolution, and a head of
    one linear layer.

    conv1, bn1, relu1 to conv13, bn13, relu13, all 3 x 3 with padding 1; pool1 to pool5 after convolutions 2,
    4, 7, 10 and 13; gap, the mean over what is left; fc. Convolutions start by Kaiming's normal and have no
    bias, which bn would cancel.

    width   scales the channels of conv1 to conv12, 64 to 512, rounded, none below 8
    last    the channels of conv13, whatever the width
    order   "relu-bn", as in a version of Keras that is much used for CIFAR-10: batch norm comes after each
            ReLU, and the head is shrink (the largest of what is left), fc1 -> 512, relu14, bn14, dropout 1/2,
            fc

    >>> sum(p.numel() for p in vgg16_cifar().parameters())
    14724042
    >>> vgg16_cifar(width=0.25).conv12.out_channels, vgg16_cifar(width=0.25).conv13.out_channels
    (128, 512)
    """
    if size < 32:
        raise UserError(
            f"vgg16_cifar cannot take images of {size} x {size} pixels: its five poolings need 32 x 32 or "
            "more, so choose a larger set."
        )
    if width <= 0 or last < 1:
        raise ValueError(
            f"width = {width}, last = {last}: a network has a width above 0 and at least one last channel"
        )
    return drawn(
        seed,
        lambda: _vgg16([*(max(8, round(width * c)) for c in _VGG16[:-1]), last], classes, channels, order),
    )


_VGG16 = (64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512)
_POOLED = (2, 4, 7, 10, 13)


def _vgg16(widths: Sequence[int], classes: int, channels: int, order: Order) -> nn.Sequential:
    layers = OrderedDict[str, nn.Module]()
    for number, (fan_in, fan_out) in enumerate(pairwise((channels, *widths)), 1):
        convolution = nn.Conv2d(fan_in, fan_out, 3, padding=1, bias=False)
        nn.init.kaiming_normal_(convolution.weight)
        layers[f"conv{number}"] = convolution
        parts = {"bn": nn.BatchNorm2d(fan_out), "relu": nn.ReLU()}
        layers |= {f"{part}{number}": parts[part] for part in order.split("-")}
        if number in _POOLED:
            layers[f"pool{_POOLED.index(number) + 1}"] = nn.MaxPool2d(2)
    heads = {"bn-relu": _linear_head, "relu-bn": _dense_head}
    return nn.Sequential(OrderedDict(layers, **heads[order](widths[-1], classes)))


def _linear_head(fan_in: int, classes: int) -> dict[str, nn.Module]:
    return {"gap": nn.AdaptiveAvgPool2d(1), "flat": nn.Flatten(), "fc": nn.Linear(fan_in, classes)}


def _dense_head(fan_in: int, classes: int) -> dict[str, nn.Module]:
    return {
        "shrink": nn.AdaptiveMaxPool2d(1),
        "flat": nn.Flatten(),
        "fc1": nn.Linear(fan_in, 512),
        "relu14": nn.ReLU(),
        "bn14": nn.BatchNorm1d(512),
        "dropout": nn.Dropout(0.5),
        "fc": nn.Linear(512, classes),
    }
