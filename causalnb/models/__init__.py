"""Networks: built from a seed, by name or from a file of weights, and cut in two at a layer.

Images come in as they are, in [0, 1]; logits go out; training is elsewhere.
"""

from causalnb.models.architectures import ARCHITECTURES, Normalised, build, load, require
from causalnb.models.cutting import Cut, cut, layers
from causalnb.models.lenet5 import LeNet, lenet
from causalnb.models.plain import cnn37, gap_cnn, small_cnn, vgg16_cifar
from causalnb.models.residual import resnet18, resnet20

__all__ = [
    "ARCHITECTURES",
    "Cut",
    "LeNet",
    "Normalised",
    "build",
    "cnn37",
    "cut",
    "gap_cnn",
    "layers",
    "lenet",
    "load",
    "require",
    "resnet18",
    "resnet20",
    "small_cnn",
    "vgg16_cifar",
]
