"""Residual networks for small images. A block's shortcut flows past the layers inside it, and past no
block.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence

from torch import Tensor, nn

from causalnb.models.seeding import drawn

Shortcut = Callable[[int, int], nn.Module]


class Block(nn.Module):
    """Two 3 x 3 convolutions and a shortcut past both (He et al. 2016, Fig. 2): conv1, bn1, relu1, conv2,
    bn2; the sum; relu2.
    """

    def __init__(self, fan_in: int, fan_out: int, stride: int, shortcut: nn.Module) -> None:
        """`stride` is conv1's; `shortcut` brings the block's input to the shape of its output."""
        super().__init__()
        self.conv1, self.bn1, self.relu1 = (
            nn.Conv2d(fan_in, fan_out, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(fan_out),
            nn.ReLU(),
        )
        self.conv2, self.bn2, self.relu2 = (
            nn.Conv2d(fan_out, fan_out, 3, padding=1, bias=False),
            nn.BatchNorm2d(fan_out),
            nn.ReLU(),
        )
        self.shortcut = shortcut

    def forward(self, hidden: Tensor) -> Tensor:
        """Features [n, fan_out, height / stride, width / stride]."""
        inner = self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(hidden)))))
        given: Tensor = self.relu2(inner + self.shortcut(hidden))
        return given


class Subsampling(nn.Module):
    """The shortcut without weights (He et al. 2016, 4.2, option A): every second pixel, and zeros for the new
    channels, half on either side.

    >>> Subsampling(2)(torch.ones(1, 2, 4, 4)).sum(dim=(2, 3))
    tensor([[0., 4., 4., 0.]])
    """

    def __init__(self, new: int) -> None:
        """`new` channels are added."""
        super().__init__()
        self.new = new

    def forward(self, hidden: Tensor) -> Tensor:
        """Features [n, channels + new, height / 2, width / 2]."""
        return nn.functional.pad(
            hidden[:, :, ::2, ::2], (0, 0, 0, 0, self.new // 2, self.new - self.new // 2)
        )


def resnet20(*, classes: int = 10, channels: int = 3, size: int = 32, seed: int = 0) -> nn.Sequential:
    """ResNet-20 for CIFAR-10 (He et al. 2016, 4.2): three stages of three blocks with 16, 32 and 64 channels.

    conv1, bn1, relu1; stage1.0 to stage3.2, each a `Block` (stage1.0.conv1, ...) with a shortcut without
    weights; gap, the mean over what is left; fc. Convolutions start by Kaiming's normal and have no bias. Any
    `size` fits.

    >>> sum(p.numel() for p in resnet20().parameters())
    269722
    """
    return drawn(
        seed,
        lambda: _resnet(
            (16, 32, 64), 3, lambda fan_in, fan_out: Subsampling(fan_out - fan_in), classes, channels
        ),
    )


def resnet18(*, classes: int = 10, channels: int = 3, size: int = 32, seed: int = 0) -> nn.Sequential:
    """ResNet-18 (He et al. 2016, Table 1) with the stem for small images: conv1 3 x 3 of stride 1, no max
    pool.

    conv1, bn1, relu1; stage1.0 to stage4.1, each a `Block`, of 64, 128, 256 and 512 channels; where they
    grow, the shortcut is a 1 x 1 convolution with batch norm (option B); gap; fc. Weights start as in
    `resnet20`. Any `size` fits.

    >>> sum(p.numel() for p in resnet18().parameters())
    11173962
    """
    return drawn(seed, lambda: _resnet((64, 128, 256, 512), 2, _projection, classes, channels))


def _projection(fan_in: int, fan_out: int) -> nn.Module:
    return nn.Sequential(
        OrderedDict[str, nn.Module](
            conv=nn.Conv2d(fan_in, fan_out, 1, stride=2, bias=False), bn=nn.BatchNorm2d(fan_out)
        )
    )


def _resnet(
    widths: Sequence[int], blocks: int, shortcut: Shortcut, classes: int, channels: int
) -> nn.Sequential:
    layers = OrderedDict[str, nn.Module](
        conv1=nn.Conv2d(channels, widths[0], 3, padding=1, bias=False),
        bn1=nn.BatchNorm2d(widths[0]),
        relu1=nn.ReLU(),
    )
    for number, (fan_in, fan_out) in enumerate(zip((widths[0], *widths), widths, strict=False), 1):
        first = (
            Block(fan_in, fan_out, 2, shortcut(fan_in, fan_out))
            if fan_out > fan_in
            else Block(fan_in, fan_out, 1, nn.Identity())
        )
        layers[f"stage{number}"] = nn.Sequential(
            first, *(Block(fan_out, fan_out, 1, nn.Identity()) for _ in range(blocks - 1))
        )
    model = nn.Sequential(
        OrderedDict(layers, gap=nn.AdaptiveAvgPool2d(1), flat=nn.Flatten(), fc=nn.Linear(widths[-1], classes))
    )
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight)
    return model
