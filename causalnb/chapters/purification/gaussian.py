"""Where diffusion is known in closed form: Gaussian data, linear purifiers, and the linear model of S and Z.

All float64. Data have variance s2 along a direction and mean 0; a is the share left at a time, v = a s2 + 1 -
a the variance of x_t.
"""

import math
from typing import Literal

import torch
from scipy.optimize import minimize_scalar
from torch import Tensor

from causalnb.chapters.purification.diffusion import Noise, betas, kept, kept_at

Variance = Literal["large", "small"]


# The likelihood bound ------------------------------------------------------------------------------------


def minimal_error(a: Tensor, s2: float) -> Tensor:
    """The least mean squared error of a noise predictor: a s2 / v."""
    return a * s2 / (a * s2 + 1 - a)


def best_predictor(s2: Tensor | float, mean: Tensor | float = 0.0) -> Noise:
    """eps*(x_t, t) = sqrt(1 - a) (x_t - sqrt(a) mean) / v, for data of variance s2 in each pixel."""

    def predict(x: Tensor, t: Tensor, latents: Tensor | None = None) -> Tensor:
        a = kept_at(t, x)
        return (1 - a).sqrt() * (x - a.sqrt() * mean) / (a * s2 + 1 - a)

    return predict


def nats(s2: float) -> float:
    """The exact expected negative log-likelihood of N(0, s2)."""
    return (math.log(2 * math.pi * s2) + 1) / 2


def bound(s2: float, variance: Variance, first: Variance | None = None) -> float:
    """The expected bound of a thousand steps (Ho et al. 2020, Eq. 5) with the best predictor, nats.

    variance   of each reverse step: "large", beta_t, or "small", beta_t (1 - a_{t-1}) / (1 - a_t)
    first      that of the step to the image, where other than the rest: "small" is then that of step 1, as
               that of step 0 is 0
    """
    b, a = betas(), kept()
    before = torch.cat([torch.ones(1, dtype=a.dtype), a[:-1]])
    tilde = b * (1 - before) / (1 - a)
    sigma2 = (b if variance == "large" else tilde).clone()
    sigma2[0] = b[0] if (first or variance) == "large" else tilde[1]
    wrong = b.square() / ((1 - b) * (1 - a)) * minimal_error(a, s2) / (2 * sigma2)
    spread = ((sigma2 / tilde).log() + tilde / sigma2 - 1)[1:].sum() / 2
    image = (2 * math.pi * sigma2[0]).log() / 2
    last = (a[-1] * s2 - a[-1] - (1 - a[-1]).log()) / 2
    return float(wrong.sum() + spread + image + last)


# What purification does ----------------------------------------------------------------------------------


def contraction(a: Tensor, s2: float) -> Tensor:
    """How fast the gradient of the noise error pulls along a direction: 2 a (1 - a) / v2, by unit of step."""
    return 2 * a * (1 - a) / (a * s2 + 1 - a).square()


def one_step(a: Tensor, s2: float) -> Tensor:
    """What one denoising step multiplies a perturbation by: a s2 / v."""
    return a * s2 / (a * s2 + 1 - a)


def robust_accuracy(w: Tensor, mean: Tensor, covariance: Tensor, eps: float) -> float:
    """Of sign(w x) on classes +-1 around +-mean, under the strongest L2 change of eps: Phi((w mean - eps |w|)
    / sqrt(w' C w)).
    """
    z = (w @ mean - eps * w.norm()) / (w @ covariance @ w).sqrt()
    return float(torch.special.ndtr(z))


def best_linear(mean: Tensor, covariance: Tensor, eps: float) -> Tensor:
    """The linear classifier of the highest robust accuracy: (C + lambda I)^-1 mean for the best lambda."""

    def at(log: float) -> Tensor:
        return torch.linalg.solve(covariance + math.exp(log) * torch.eye(len(mean)).to(mean), mean)

    found = minimize_scalar(
        lambda log: -robust_accuracy(at(log), mean, covariance, eps), bounds=(-20, 20), method="bounded"
    )
    return at(float(found.x))


def two_scales() -> tuple[Tensor, Tensor]:
    """The example: class means +-(1, 0.1), variances 0.25 and 0.0025 within a class."""
    mean = torch.tensor([1.0, 0.1], dtype=torch.float64)
    return mean, torch.diag(torch.tensor([0.25, 0.0025], dtype=torch.float64))


def purifier(covariance: Tensor, t: int) -> Tensor:
    """The matrix of one denoising step for data of a diagonal covariance: a s2 / v along each axis."""
    a = kept()[t]
    return torch.diag(torch.stack([one_step(a, float(s2)) for s2 in covariance.diagonal()]))


# The linear model of S and Z: x = a s + b z + n ----------------------------------------------------------


def linear_model() -> tuple[Tensor, Tensor, Tensor]:
    """a, b with cosine 0.8, and the covariance of x within a class: var(s|y) = 0.25, var z = 1, var n = 0.01;
    s is +-1 on average.
    """
    a = torch.tensor([1.0, 0.0], dtype=torch.float64)
    b = torch.tensor([0.8, 0.6], dtype=torch.float64)
    return a, b, 0.25 * a.outer(a) + b.outer(b) + 0.01 * torch.eye(2, dtype=torch.float64)


def directions() -> dict[str, Tensor]:
    """What each way of finding s weighs x by: the posterior mean of s, linear discriminant analysis, the most
    likely s without its prior, and a itself, which ignores z.
    """
    a, b, within = linear_model()
    overall = within + a.outer(a)  # over both classes
    loadings = torch.stack([a, b], 1)
    return {
        "posterior": torch.linalg.solve(overall, a),
        "lda": torch.linalg.solve(within, a),
        "likelihood": torch.linalg.pinv(loadings)[0],
        "a": a,
    }
