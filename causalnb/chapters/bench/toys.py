"""Models for chapter 0 that no training makes: louder logits, and one that draws at random, on images whose
distance to the boundary is known.
"""

import math

import torch
from torch import Tensor, nn

SIDE = 8
PIXELS = SIDE**2


class Line(nn.Module):
    """Logits (0, w (x - 1/2)) with weights of +1 and -1: an image goes over at the L-inf budget |w (x - 1/2)|
    / 64.
    """

    def __init__(self, *, seed: int = 0) -> None:
        """`seed` draws the signs of the weights."""
        super().__init__()
        self.weight = nn.Parameter(torch.randn(PIXELS, generator=torch.Generator().manual_seed(seed)).sign())

    def forward(self, images: Tensor) -> Tensor:
        """Logits [n, 2]."""
        over = (images.flatten(1) - 0.5) @ self.weight
        return torch.stack([torch.zeros_like(over), over], dim=1)


class Scaled(nn.Module):
    """The same decisions with other logits: times `factor`, from which cross-entropy may not recover, plus
    `constant`.
    """

    def __init__(self, model: nn.Module, factor: float, constant: float = 0.0) -> None:
        """`model` gives logits; `factor` above 0."""
        super().__init__()
        self.model, self.factor, self.constant = model, factor, constant

    def extra_repr(self) -> str:
        """What tells two of these apart, for the store's key."""
        return f"factor={self.factor}, constant={self.constant}"

    def forward(self, images: Tensor) -> Tensor:
        """Logits [n, classes]."""
        logits: Tensor = self.factor * self.model(images) + self.constant
        return logits


class Shattered(nn.Module):
    """A model and, on its last logit, a wave at every pixel, of a phase that is drawn anew at each pass.

    The mean of the wave over its phase is zero, so the mean over passes is the model itself. Its slope is
    `height` x `frequency` at a pixel, ten times that of `Line`, so the gradient of a single pass points
    anywhere.
    """

    def __init__(self, model: nn.Module, *, height: float = 0.1, frequency: float = 100.0) -> None:
        """`model` gives logits [n, classes]."""
        super().__init__()
        self.model, self.height, self.frequency = model, height, frequency

    def forward(self, images: Tensor) -> Tensor:
        """Logits [n, classes]."""
        logits: Tensor = self.model(images)
        pixels = images.flatten(1)
        wave = self.height * torch.sin(self.frequency * pixels + 2 * math.pi * torch.rand_like(pixels)).sum(
            dim=1
        )
        return torch.cat([logits[:, :-1], logits[:, -1:] + wave[:, None]], dim=1)


def halfway(model: Line, n: int, eps: float, *, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Images [n, 1, 8, 8] on both sides of the line, whose least L-inf perturbation is 0.4 to 0.6 of `eps`,
    and their classes [n].
    """
    weight = model.weight.detach()
    across = 0.05 * torch.randn(n, PIXELS, generator=torch.Generator().manual_seed(seed)).to(weight)
    side = torch.tensor([1.0, -1.0]).repeat(n // 2 + 1)[:n].to(weight)
    along = (side * torch.linspace(0.4, 0.6, n, device=weight.device) * eps)[:, None] * weight
    images = 0.5 + along + across - (across @ weight)[:, None] * weight / PIXELS
    return images.reshape(n, 1, SIDE, SIDE), (side > 0).long()
