"""Functions and laws whose interventional expectation is known: what every estimator of it must give.

In each case x1 is set to a value. The exact expectation is written out, never sampled; `Case.taylor` is Eq.
(8) of Guo et al. 2024 on the same function and law, and `Case.sampled` the Monte Carlo estimate. Everything
is float64.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from scipy import integrate, special
from torch import Generator, Tensor

from causalnb.chapters.ace.taylor import taylor_expectation

Law = Callable[[int, Generator], Tensor]


@dataclass(frozen=True)
class Case:
    """A function of a few inputs, their law, and E[f | do(x1 = alpha)] in closed form.

    f            inputs [..., D] to [...]
    draw         (n, generator) to inputs [n, D]
    mean         [D]; covariance [D, D], of that law
    alpha        what x1 is set to
    exact        alpha to E[f | do(x1 = alpha)]
    """

    id: str
    what: str
    f: Callable[[Tensor], Tensor]
    draw: Law
    mean: Tensor
    covariance: Tensor
    alpha: float
    exact: Callable[[float], float]

    @property
    def expectation(self) -> float:
        """E[f | do(x1 = alpha)]."""
        return self.exact(self.alpha)

    @property
    def baseline(self) -> float:
        """The mean of the exact expectation over alpha uniform on [0, 1], Eq. (3)."""
        return float(integrate.quad(self.exact, 0, 1, epsabs=1e-13, epsrel=1e-13)[0])

    @property
    def effect(self) -> float:
        """The average causal effect, Eq. (2)."""
        return self.expectation - self.baseline

    def taylor(self, *, order: int = 2, covariance: Tensor | None = None) -> float:
        """Eq. (8), or f(mu) with order=0."""
        spread = self.covariance if covariance is None else covariance
        return taylor_expectation(self.f, self.mean, spread, pixel=0, alpha=self.alpha, order=order).item()

    def sampled(self, n: int, *, seed: int = 0) -> tuple[float, float]:
        """Mean and standard error of f over n rows with x1 <- alpha."""
        rows = self.draw(n, Generator().manual_seed(seed))
        rows[:, 0] = self.alpha
        values = self.f(rows)
        return values.mean().item(), values.std().item() / math.sqrt(n)


def vector(*values: float) -> Tensor:
    """A float64 vector."""
    return torch.tensor(values, dtype=torch.float64)


def normal(mean: Tensor, covariance: Tensor) -> Law:
    """The law N(mean, covariance); a singular covariance is allowed."""
    values, vectors = torch.linalg.eigh(covariance)
    root = vectors * values.clamp_min(0).sqrt()
    return lambda n, generator: (
        mean + torch.randn(n, len(mean), generator=generator, dtype=torch.float64) @ root.T
    )


def uniform_around(mean: Tensor, half_width: float) -> Law:
    """Independent uniform inputs of these means."""
    return lambda n, generator: (
        mean + half_width * (2 * torch.rand(n, len(mean), generator=generator, dtype=torch.float64) - 1)
    )


def exponential(n: int, generator: Generator) -> Tensor:
    """Two independent Exp(1) inputs."""
    return torch.empty(n, 2, dtype=torch.float64).exponential_(generator=generator)


def _gaussian(
    id: str,
    what: str,
    f: Callable[[Tensor], Tensor],
    mean: Tensor,
    covariance: Tensor,
    alpha: float,
    exact: Callable[[float], float],
) -> Case:
    return Case(id, what, f, normal(mean, covariance), mean, covariance, alpha, exact)


def _second(mean: float, sd: float, weight: float = 1.0) -> tuple[Tensor, Tensor]:
    """Law of (x1, weight * x2): x1 ~ N(1/2, 1), which no expectation under do(x1) may depend on, x2 ~ N(mean,
    sd^2).
    """
    return vector(0.5, weight * mean), torch.diag(vector(1.0, (weight * sd) ** 2))


def linear(x: Tensor) -> Tensor:
    """C1's function."""
    return 1.5 * x[..., 0] - 2 * x[..., 1] + 0.75 * x[..., 2] + 0.25


def product(x: Tensor) -> Tensor:
    """C2's function, x1 x2 x3."""
    return x.prod(-1)


QUADRATIC = torch.tensor([[2.0, 0.5, -1.0], [0.5, 1.0, 0.3], [-1.0, 0.3, -0.5]], dtype=torch.float64)
QUADRATIC_MEAN = vector(0.2, 0.5, 0.8)
QUADRATIC_COVARIANCE = torch.tensor(
    [[0.09, 0.04, -0.02], [0.04, 0.16, 0.03], [-0.02, 0.03, 0.25]], dtype=torch.float64
)


def quadratic(x: Tensor) -> Tensor:
    """C7's function, x'Qx/2 + q'x."""
    return ((x @ QUADRATIC) * x).sum(-1) / 2 + x @ vector(1.0, -1.0, 0.5)


def quadratic_expectation(alpha: float) -> float:
    """C7 term by term: E[x_j x_k | do] = mu_j mu_k + Cov(x_j, x_k) for j, k other than 1."""
    q, m, s = QUADRATIC.tolist(), [alpha, *QUADRATIC_MEAN.tolist()[1:]], QUADRATIC_COVARIANCE.tolist()
    second = sum(q[j][k] * (m[j] * m[k] + (s[j][k] if j and k else 0.0)) for j in range(3) for k in range(3))
    return float(second / 2 + m[0] - m[1] + 0.5 * m[2])


def _density(z: float) -> float:
    return math.exp(-z * z / 2) / math.sqrt(2 * math.pi)


def relu_expectation(t: float, s: float) -> float:
    """E[max(0, t + s Z)], Z ~ N(0, 1)."""
    return float(t * special.ndtr(t / s)) + s * _density(t / s)


def abs_expectation(t: float, s: float) -> float:
    """E|t + s Z|, Z ~ N(0, 1)."""
    return float(t * (2 * special.ndtr(t / s) - 1)) + 2 * s * _density(t / s)


def sigmoid_expectation(t: float, s: float) -> float:
    """E[1 / (1 + exp(-(t + s Z)))], Z ~ N(0, 1), by quadrature."""
    return float(
        integrate.quad(
            lambda z: special.expit(t + s * z) * _density(z), -12, 12, epsabs=1e-14, epsrel=1e-13, limit=200
        )[0]
    )


def _relu(id: str, what: str, mean: float, alpha: float) -> Case:
    return _gaussian(
        id,
        what,
        lambda x: x.sum(-1).relu(),
        *_second(mean, 1),
        alpha,
        lambda a: relu_expectation(a + mean, 1),
    )


def _sigmoid(id: str, what: str, mean: float, sd: float, weight: float) -> Case:
    return _gaussian(
        id,
        what,
        lambda x: x.sum(-1).sigmoid(),
        *_second(mean, sd, weight),
        0.5,
        lambda a: sigmoid_expectation(a + weight * mean, weight * sd),
    )


_TRIPLE_MEAN, _TRIPLE = vector(0.3, -0.5, 2.0), torch.diag(vector(0.04, 0.16, 0.01))
_TRIPLE_CORRELATED = _TRIPLE + 0.6 * 0.4 * 0.1 * torch.tensor(
    [[0.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, 1.0, 0.0]], dtype=torch.float64
)
_PAIR = torch.tensor([[1.0, 0.8], [0.8, 1.0]], dtype=torch.float64)

CASES: dict[str, Case] = {
    case.id: case
    for case in (
        Case(
            "C1",
            "3/2 x1 - 2 x2 + 3/4 x3 + 1/4, uniform inputs, means 0.2, 0.4, 0.6",
            linear,
            uniform_around(vector(0.2, 0.4, 0.6), 0.2),
            vector(0.2, 0.4, 0.6),
            torch.eye(3, dtype=torch.float64) * 0.2**2 / 3,
            0.9,
            lambda a: 1.5 * a - 0.8 + 0.45 + 0.25,
        ),
        _gaussian(
            "C2", "x1 x2 x3, independent", product, _TRIPLE_MEAN, _TRIPLE, 0.9, lambda a: a * -0.5 * 2.0
        ),
        _gaussian(
            "C2b",
            "x1 x2 x3, corr(x2, x3) = 0.6",
            product,
            _TRIPLE_MEAN,
            _TRIPLE_CORRELATED,
            0.9,
            lambda a: a * (-0.5 * 2.0 + 0.6 * 0.4 * 0.1),
        ),
        _gaussian(
            "C3",
            "exp(x1 + x2 / 2), x2 ~ N(0.2, 0.8^2)",
            lambda x: x.sum(-1).exp(),
            *_second(0.2, 0.8, 0.5),
            0.7,
            lambda a: math.exp(a + 0.1 + 0.4**2 / 2),
        ),
        _relu("C4a", "relu(x1 + x2), x2 ~ N(-1/4, 1)", -0.25, 0.5),
        _relu("C4b", "relu(x1 + x2), x2 ~ N(-1, 1)", -1.0, 0.5),
        _relu("C4c", "relu(x1 + x2), x2 ~ N(0, 1)", 0.0, 0.0),
        _sigmoid("C5a", "sigmoid(x1 + x2), x2 ~ N(0, 0.5^2)", 0.0, 0.5, 1.0),
        _sigmoid("C5b", "sigmoid(x1 + 4 x2), x2 ~ N(1/2, 1)", 0.5, 1.0, 4.0),
        _sigmoid("C5c", "sigmoid(x1 + 10 x2), x2 ~ N(0.1, 0.5^2)", 0.1, 0.5, 10.0),
        _gaussian(
            "C7",
            "x'Qx / 2 + q'x, correlated",
            quadratic,
            QUADRATIC_MEAN,
            QUADRATIC_COVARIANCE,
            0.6,
            quadratic_expectation,
        ),
        _gaussian(
            "C8",
            "x1 + 2 x2, standard normal, corr 0.8",
            lambda x: x[..., 0] + 2 * x[..., 1],
            vector(0.0, 0.0),
            _PAIR,
            1.0,
            lambda a: a,
        ),
        _gaussian(
            "C9",
            "|x1 - x2|, x2 ~ N(0, 1)",
            lambda x: (x[..., 0] - x[..., 1]).abs(),
            *_second(0.0, 1.0),
            0.5,
            lambda a: abs_expectation(a, 1),
        ),
        _gaussian(
            "C10",
            "x2^3, x2 ~ N(1/2, 0.3^2)",
            lambda x: x[..., 1] ** 3,
            *_second(0.5, 0.3),
            0.5,
            lambda a: 0.5**3 + 3 * 0.5 * 0.3**2,
        ),
        Case(
            "C10e",
            "x2^3, x2 ~ Exp(1)",
            lambda x: x[..., 1] ** 3,
            exponential,
            vector(1.0, 1.0),
            torch.eye(2, dtype=torch.float64),
            0.5,
            lambda a: 6.0,
        ),
    )
}

FIRST = torch.tensor([[1.0, -0.5, 2.0], [0.5, 1.0, -1.0]], dtype=torch.float64)
SECOND = torch.tensor([[2.0, -1.0], [0.5, 3.0]], dtype=torch.float64)


def composed_effects(alpha: float = 0.8) -> Tensor:
    """C6: effects [outputs, inputs] of two linear layers, W2 W1 (alpha - 1/2), whatever the data."""
    return SECOND @ FIRST * (alpha - 0.5)


def grid_baselines(points: int = 11) -> tuple[float, float, float]:
    """C11: the baseline of C3 on an inclusive grid of [0, 1] (rectangle rule), with trapezoid weights, and as
    the integral.
    """
    grid = torch.linspace(0, 1, points, dtype=torch.float64)
    values = vector(*(CASES["C3"].exact(a) for a in grid.tolist()))
    return values.mean().item(), torch.trapezoid(values, grid).item(), CASES["C3"].baseline


def conditioned_quadratic() -> float:
    """C7 with the Gaussian conditional law of x2, x3 given x1 = 0.6 in place of do(x1 = 0.6): a different
    number.
    """
    m, s = QUADRATIC_MEAN, QUADRATIC_COVARIANCE
    mean = torch.cat([vector(0.6), m[1:] + s[1:, 0] / s[0, 0] * (0.6 - m[0])])
    rest = s - torch.outer(s[:, 0], s[0]) / s[0, 0]
    return taylor_expectation(quadratic, mean, rest, pixel=0, alpha=0.6).item()


def conditioned_pair(alpha: float = 1.0, correlation: float = 0.8) -> float:
    """C8 given x1 = alpha in place of do(x1 = alpha): E[x2 | x1] moves along."""
    return alpha + 2 * correlation * alpha
