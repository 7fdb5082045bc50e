"""EfficientNetV2 B0, the network for Imagenette of the full profile: of the variants whose first convolution
has the printed 32 channels the smallest. The paper names none, so this is a choice.

Made of torchvision's blocks, with the published widths and depths of B0; torchvision has S, M and L alone.
"""

from functools import partial

from torch import nn

from causalnb import vision
from causalnb.models.seeding import drawn

LAYER = "features.0.0"
STEM, HEAD = 32, 1280  # channels of the first and of the last convolution
DROPOUT = 0.2
# kind, expansion, kernel, stride, channels in and out, layers
BLOCKS = (
    ("fused", 1, 3, 1, 32, 16, 1),
    ("fused", 4, 3, 2, 16, 32, 2),
    ("fused", 4, 3, 2, 32, 48, 2),
    ("plain", 4, 3, 2, 48, 96, 3),
    ("plain", 6, 3, 1, 96, 112, 5),
    ("plain", 6, 3, 2, 112, 192, 8),
)


def b0(*, classes: int, seed: int = 0) -> nn.Module:
    """EfficientNetV2 B0 for images of three channels, its first weights drawn from the seed."""
    parts = vision.import_torchvision().models.efficientnet
    kinds = {"fused": parts.FusedMBConvConfig, "plain": parts.MBConvConfig}
    settings = [kinds[kind](*numbers) for kind, *numbers in BLOCKS]
    norm = partial(nn.BatchNorm2d, eps=1e-3)

    def made() -> nn.Module:
        network: nn.Module = parts.EfficientNet(
            settings, dropout=DROPOUT, num_classes=classes, norm_layer=norm, last_channel=HEAD
        )
        return network

    return drawn(seed, made)
