"""LeNet-5, the network of chapter 1."""

from typing import Literal

from torch import Tensor, nn

from causalnb import UserError
from causalnb.models.seeding import drawn

Variant = Literal["relu-max", "tanh-average"]


class LeNet(nn.Module):
    """LeNet-5 (LeCun et al. 1998): two convolutions with pooling, three linear layers.

    conv1 channels -> 6, 5 x 5, padding 2; activation; pool 2; conv2 6 -> 16, 5 x 5; activation; pool 2;
    fc1 -> 120, fc2 -> 84, fc3 -> classes, an activation between them.
    "relu-max" is what is trained today, "tanh-average" has the smooth activation and averaging of the
    original.
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


def lenet(
    *, variant: Variant = "relu-max", classes: int = 10, channels: int = 1, size: int = 28, seed: int = 0
) -> LeNet:
    """A LeNet with torch's default initial weights, drawn from `seed`; the global generators stay as they
    are.

    >>> sum(p.numel() for p in lenet().parameters())
    61706
    >>> lenet()(torch.zeros(2, 1, 28, 28)).shape
    torch.Size([2, 10])
    """
    if variant not in ("relu-max", "tanh-average"):
        raise ValueError(f"variant = {variant!r}: a LeNet is relu-max or tanh-average")
    if size < 12:
        raise UserError(
            f"LeNet cannot take images of {size} x {size} pixels: its two poolings need 12 x 12 or more, so "
            "choose a larger set."
        )
    return drawn(seed, lambda: LeNet(variant, classes, channels, size))
