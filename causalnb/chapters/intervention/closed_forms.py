"""Networks whose effects of swapped channels are known, in float64: contributions of channels that add up,
point in other directions, act together or instead of each other, at the boundary, or under noise.

Each has a layer `conv` of H channels that read the one pixel of channel j's image off and nothing else, so
that an image is the list of its channels' values, and an attack what it adds to each.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from causalnb.chapters.intervention import sets as sets_
from causalnb.chapters.intervention.metrics import Effects, effects

LAYER = "conv"
EPS = 0.1


class Read(nn.Module):
    """A head of one's own: features [n, H, 1, 1] to logits."""

    def __init__(self, head: Callable[[Tensor], Tensor]) -> None:
        """`head` takes [n, H]."""
        super().__init__()
        self.head = head

    def forward(self, features: Tensor) -> Tensor:
        """Logits [n, classes]."""
        return self.head(features.flatten(1))


def network(channels: int, head: Callable[[Tensor], Tensor]) -> nn.Sequential:
    """Images [n, H, 1, 1], each channel of the layer its own number, and a head."""
    conv = nn.Conv2d(channels, channels, 1, bias=False, dtype=torch.float64)
    conv.weight.data = torch.eye(channels, dtype=torch.float64)[..., None, None]
    return nn.Sequential(OrderedDict[str, nn.Module](conv=conv, read=Read(head))).eval()


def linear(contributions: Tensor, clean: Sequence[float]) -> nn.Sequential:
    """Logits `clean` [classes] less what the swapped channels contribute, contributions [H, classes], where
    an attack raises each channel by 1.
    """
    own = torch.tensor(clean, dtype=torch.float64)
    return network(len(contributions), lambda h: own - h @ contributions.double())


def swapped(model: nn.Module, channels: int, sets: Tensor, *, n: int = 1, by: float = 1.0) -> Effects:
    """The effects of sets where an attack raises every channel from 0 to `by`, of n equal images of class
    0.
    """
    clean = torch.zeros(n, channels, 1, 1, dtype=torch.float64)
    return effects(model, LAYER, clean, clean + by, torch.zeros(n, dtype=torch.int64), sets)


# A planted vulnerable channel ----------------------------------------------------------------------------


def planted(strengths: Tensor, *, margin: float = 5 * EPS) -> nn.Sequential:
    """Channel j moves a logit of its own by EPS times its strength; the true class is another one, whose
    constant logit is `margin`, so that a channel flips the class alone where its move is larger.

    strengths   kappa [H]
    """
    kappa = strengths.double()

    def head(h: Tensor) -> Tensor:
        constant = torch.full((len(h), 1), margin, dtype=torch.float64)
        return torch.cat([constant, EPS * kappa * h], dim=1)

    return network(len(kappa), head)


def planted_effects(size: int, channels: int = 16, strength: float = 10.0) -> tuple[float, float]:
    """A_j^gamma of AEL for the planted channel and for any other, where the others have the strength 1."""
    with_it = EPS * (strength**2 + size - 1) ** 0.5
    without = EPS * size**0.5
    return with_it, ((size - 1) * with_it + (channels - size) * without) / (channels - 1)


def planted_flips(size: int, channels: int = 16) -> tuple[float, float]:
    """The same of AEA, where the planted channel alone flips the class and all others together do not."""
    return 1.0, (size - 1) / (channels - 1)


# Four channels by hand -----------------------------------------------------------------------------------

TOY = torch.tensor([[3.0, 4.0], [5.0, 12.0], [-3.0, -4.0], [0.0, 0.0]], dtype=torch.float64)
"""Contributions to two logits: the third channel undoes the first, the fourth does nothing."""

TOY_EFFECTS = {
    (1,): 5.0,
    (2,): 13.0,
    (3,): 5.0,
    (4,): 0.0,
    (1, 2): 8 * 5**0.5,
    (1, 3): 0.0,
    (1, 4): 5.0,
    (2, 3): 2 * 17**0.5,
    (2, 4): 13.0,
    (3, 4): 5.0,
    (1, 2, 3): 13.0,
    (1, 2, 4): 8 * 5**0.5,
    (1, 3, 4): 0.0,
    (2, 3, 4): 2 * 17**0.5,
    (1, 2, 3, 4): 13.0,
}
TOY_TABLE = (
    (5, 7.62951461, 10.29618127, 13),
    (13, 13.04491836, 13.04491836, 13),
    (5, 4.41540375, 7.08207042, 13),
    (0, 7.66666667, 8.71158502, 13),
)
TOY_MEANS = (5.75, 8.18912585, 9.78368877, 13)
TOY_SHAPLEY = (3.23268689, 11.35579251, -1.58847940, 0)
TOY_BANZHAF = (2.41058314, 10.53368877, -2.41058314, 0)
PRINTED = 0.5e-8  # these are rounded to eight decimals


# Channels that act together, or instead of each other ----------------------------------------------------


def together(channels: int = 16) -> nn.Sequential:
    """An effect of 1 where the first two channels are both swapped: ReLU(h_1 + h_2 - 1)."""
    return _two(channels, lambda first, second: torch.relu(first + second - 1))


def instead(channels: int = 16) -> nn.Sequential:
    """An effect of 1 where either of the first two is swapped: 1 - ReLU(1 - h_1 - h_2)."""
    return _two(channels, lambda first, second: 1 - torch.relu(1 - first - second))


def _two(channels: int, of: Callable[[Tensor, Tensor], Tensor]) -> nn.Sequential:
    def head(h: Tensor) -> Tensor:
        value = of(h[:, 0], h[:, 1])
        return torch.stack([0.5 - value, torch.zeros_like(value)], dim=1)

    return network(channels, head)


def together_effects(size: int, channels: int = 16) -> tuple[float, float]:
    """A_j^gamma where two channels act together only: for either of them, and for any other."""
    h = channels
    return (size - 1) / (h - 1), (size - 1) * (size - 2) / ((h - 1) * (h - 2))


def instead_effects(size: int, channels: int = 16) -> tuple[float, float]:
    """The same where either of them is enough."""
    h = channels
    return 1.0, 1 - (h - size) * (h - 1 - size) / ((h - 1) * (h - 2))


# At the boundary -----------------------------------------------------------------------------------------


def boundary(rho: float, channels: int = 16) -> nn.Sequential:
    """A margin of 1 that an attack moves by rho, and a billionth more so that no class is a tie, each channel
    by the same part of it.
    """
    parts = torch.full((channels, 1), rho * (1 + 1e-9) / channels, dtype=torch.float64)
    return linear(torch.cat([parts, torch.zeros_like(parts)], dim=1), (1.0, 0.0))


def needed(rho: float, channels: int = 16) -> int:
    """How many equal channels flip it: ceil(H / rho), the class changing on the boundary itself.

    >>> [needed(rho) for rho in (1, 16 / 15, 1.5, 2, 16 / 3, 16)]
    [16, 15, 11, 8, 3, 1]
    """
    return next(size for size in range(1, channels + 1) if size * rho / channels >= 1 - 1e-12)


# Noise on a linear network -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Path:
    """A linear network of a convolution, 1 x 1 over one input channel, and linear weights on its features.

    gain      [H] the convolution's weights; weights: [H, pixels] of the margin on each channel's map
    """

    gain: Tensor
    weights: Tensor

    @property
    def model(self) -> nn.Sequential:
        """Images [n, 1, pixels, 1] to two logits, whose difference is the margin plus 1,000."""
        channels, pixels = self.weights.shape
        conv = nn.Conv2d(1, channels, 1, bias=False, dtype=torch.float64)
        conv.weight.data = self.gain.double().view(channels, 1, 1, 1)
        weights = self.weights.double()

        def head(h: Tensor) -> Tensor:
            margin = (h.view(len(h), channels, pixels) * weights).sum((1, 2)) + 1000
            return torch.stack([margin, torch.zeros_like(margin)], dim=1)

        return nn.Sequential(OrderedDict[str, nn.Module](conv=conv, read=_Whole(head))).eval()

    @property
    def margin(self) -> Tensor:
        """The gradient of the margin by each pixel."""
        return (self.gain[:, None] * self.weights).sum(0).double()

    def by_signs(self, eps: float) -> Tensor:
        """|effect| [H] of each channel under x - eps sign(gradient): eps |sum over pixels of sign(w) w_j|."""
        paths = (self.gain[:, None] * self.weights).double()
        return (eps * (paths * self.margin.sign()).sum(1)).abs()

    def by_noise(self, eps: float) -> Tensor:
        """Root mean square effect [H] under random signs of the same size: eps |w_j| in l2."""
        return eps * (self.gain[:, None] * self.weights).double().norm(dim=1)


class _Whole(Read):
    """A head that reads the features as they are."""

    def forward(self, features: Tensor) -> Tensor:
        """Logits [n, classes]."""
        return self.head(features)


def aligned(channels: int, pixels: int, *, seed: int = 0) -> Path:
    """Channels that all push each pixel the same way, by amounts of their own."""
    g = torch.Generator().manual_seed(seed)
    signs = torch.randn(pixels, generator=g, dtype=torch.float64).sign()
    gain = 0.5 + torch.rand(channels, generator=g, dtype=torch.float64)
    return Path(gain, signs * (0.5 + torch.rand(channels, pixels, generator=g, dtype=torch.float64)))


# Any game ------------------------------------------------------------------------------------------------


def game(channels: int = 16, *, seed: int = 0) -> Tensor:
    """v of every set, drawn, 0 of the empty one: [2^H]."""
    v = torch.randn(1 << channels, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    v[0] = 0
    return v


def additive(parts: Tensor) -> Tensor:
    """v of every set, the sum of its channels' parts: [2^H]."""
    return sets_.members(sets_.every(len(parts)), len(parts)).double() @ parts.double()
