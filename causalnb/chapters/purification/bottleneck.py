"""The causal information bottleneck and its bounds on Gaussian variables, in closed form, and what the
objective does not imply (E17). All float64, in nats.

The objective is I(X, Y; S, Z) - lambda I(X; S, Z) - eta I(S; Z), to be maximised.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

# Bounds --------------------------------------------------------------------------------------------------


def kl(mean: Tensor, log_variance: Tensor, prior: float = 1.0) -> Tensor:
    """KL(N(mean, variance) || N(0, prior)) of each dimension."""
    return ((log_variance.exp() + mean.square()) / prior - 1 - log_variance + math.log(prior)) / 2


def channel(gain: float, variance: float, prior: float = 1.0) -> tuple[float, float]:
    """For s = gain x + N(0, variance) and x ~ N(0, 1): I(X; S), and the KL term that bounds it from above."""
    information = math.log((gain**2 + variance) / variance) / 2
    return information, ((variance + gain**2) / prior - 1 + math.log(prior / variance)) / 2


def pair_information(r: float) -> float:
    """I(S; Z) of a Gaussian pair with correlation r."""
    return -math.log(1 - r * r) / 2


def pair_club(r: float, slope: float, variance: float) -> float:
    """CLUB (Cheng et al. 2020, Eq. 7) of a standard Gaussian pair with the conditional N(slope z, variance):
    slope r / variance. With the true one, slope r and variance 1 - r2, it is r2 / (1 - r2).
    """
    return slope * r / variance


def pair_gain(r: float, slope: float, variance: float) -> float:
    """How much likelier, on fresh pairs, that conditional makes s than the marginal does."""
    left = 1 - 2 * slope * r + slope**2
    return (1 - left / variance - math.log(variance)) / 2


# The objective -------------------------------------------------------------------------------------------


def information(covariance: Tensor, first: list[int], second: list[int]) -> Tensor:
    """I between two groups of jointly Gaussian variables, by their places in covariances [..., d, d]."""
    either = first + second
    return (_logdet(covariance, first) + _logdet(covariance, second) - _logdet(covariance, either)) / 2


def _logdet(covariance: Tensor, places: list[int]) -> Tensor:
    return torch.logdet(covariance[..., places, :][..., places])


@dataclass(frozen=True)
class Cases:
    """Jointly Gaussian y, x, s, z, in this order: covariances [n, d, d], and the places of each."""

    covariance: Tensor
    y: list[int]
    x: list[int]
    s: list[int]
    z: list[int]

    def terms(self) -> dict[str, Tensor]:
        """The terms of the objective, and I(Y; S), which cross-entropy rewards: [n] each."""
        c, latents = self.covariance, self.s + self.z
        return {
            "both": information(c, self.y + self.x, latents),
            "bottleneck": information(c, self.x, latents),
            "apart": information(c, self.s, self.z),
            "label": information(c, self.y, self.s),
        }

    def objective(self, weight: Tensor, eta: Tensor) -> Tensor:
        """What is to be maximised, [n], at lambda = weight."""
        terms = self.terms()
        return terms["both"] - weight * terms["bottleneck"] - eta * terms["apart"]


def drawn_cases(n: int, *, seed: int = 0, inputs: int = 5, latents: int = 2) -> Cases:
    """Random linear Gaussian models: x from a label y and style, s and z noisy linear functions of x."""
    g = torch.Generator().manual_seed(seed)

    def draw(*size: int) -> Tensor:
        return torch.randn(n, *size, generator=g, dtype=torch.float64)

    label, style, encoder = draw(inputs, 1), draw(inputs, inputs), draw(2 * latents, inputs)
    x = label @ label.mT + style @ style.mT + 0.1 * torch.eye(inputs, dtype=torch.float64)
    noise = torch.rand(n, 2 * latents, generator=g, dtype=torch.float64) + 0.05
    of_yx = torch.cat([torch.cat([torch.ones_like(x[:, :1, :1]), label.mT], 2), torch.cat([label, x], 2)], 1)
    cross = encoder @ of_yx[:, 1:]
    own = cross[:, :, 1:] @ encoder.mT + torch.diag_embed(noise)
    whole = torch.cat([torch.cat([of_yx, cross.mT], 2), torch.cat([cross, own], 2)], 1)
    s = 1 + inputs
    return Cases(whole, [0], _after(1, inputs), _after(s, latents), _after(s + latents, latents))


def everything_in_s(cases: Cases) -> Cases:
    """The same with S' = (S, Z) and Z' independent noise: all style is in S'."""
    c, n, m = cases.covariance, cases.covariance.shape[-1], len(cases.z)
    whole = torch.eye(n + m, dtype=c.dtype).repeat(len(c), 1, 1)
    whole[:, :n, :n] = c
    return Cases(whole, cases.y, cases.x, cases.s + cases.z, _after(n, m))


def _after(start: int, count: int) -> list[int]:
    return list(range(start, start + count))
