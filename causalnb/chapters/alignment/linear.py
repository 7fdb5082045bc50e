"""Linear rules for two Gaussians, the best robust one known, and a dial that makes style predict the label.

Y is -1 or 1, X | y ~ N(y mu, Sigma), the attack exact: -eps y sign(w). Of all rules the robust one is
w = Sigma^-1 (mu - z), z the point of the box [-eps, eps]^d that leaves the least of mu: for a diagonal Sigma
each mean is shrunk by eps. It drops a feature by its size, not by what it is: at dial rho the mean of style
is rho / 2, and style goes where rho / 2 <= eps, cause or not. The dial leaves the graph as drawn, in which
style says nothing of the label.
"""

from dataclasses import dataclass

import numpy as np
from scipy import optimize

from causalnb.chapters.alignment.closed_forms import Floats, Rule, accuracies

DIAL_SD = (0.5, 0.25)
DIAL_EPS = 0.25
DIALS = (0.0, 0.25, 0.5, 0.75, 1.0)


def robust_rule(mu: Rule, covariance: Floats, eps: float) -> tuple[Floats, Floats]:
    """The rule of the greatest accuracy under attack, w, and z, the part of mu that the attack takes.

    >>> robust_rule((1, 0.25), np.diag([0.25, 0.01]), 0.1)[1].round(6)
    array([0.1, 0.1])
    """
    half = np.linalg.inv(np.linalg.cholesky(covariance))
    mean = np.asarray(mu, dtype=float)
    if eps:
        found = optimize.lsq_linear(half, half @ mean, bounds=(-eps, eps), tol=1e-14, method="bvls")
        z = np.asarray(found.x)
    else:
        z = np.zeros_like(mean)
    return np.linalg.solve(covariance, mean - z), z


def best_angle(mu: Rule, covariance: Floats, eps: float, *, angles: int = 20_001) -> float:
    """The greatest accuracy under attack of any rule in the plane, by a search over its angle."""
    at = np.linspace(-np.pi, np.pi, angles)
    w = np.stack([np.cos(at), np.sin(at)], 1)
    size = np.sqrt(np.einsum("ai,ij,aj->a", w, covariance, w))
    margins = (w @ np.asarray(mu, dtype=float) - eps * np.abs(w).sum(1)) / size
    best = w[margins.argmax()]
    return accuracies(best, mu, covariance, eps)[1]


@dataclass(frozen=True)
class Turned:
    """A rule at a dial: its weight of style for one of content, accuracy natural and under attack, and both
    where the mean of style has its sign turned round.
    """

    ratio: float
    natural: float
    robust: float
    flipped: float
    flipped_robust: float


def turned(w: Rule, rho: float, eps: float = DIAL_EPS) -> Turned:
    """What a rule [2] does at a dial, and where style is turned round."""
    rule, covariance = np.asarray(w, dtype=float), np.diag(np.square(DIAL_SD))
    here = accuracies(rule, (1, rho / 2), covariance, eps)
    there = accuracies(rule, (1, -rho / 2), covariance, eps)
    return Turned(float(rule[1] / rule[0]), *here, *there)


def standard(rho: float) -> Floats:
    """Bayes' rule at a dial."""
    return robust_rule((1, rho / 2), np.diag(np.square(DIAL_SD)), 0.0)[0]


def robust(rho: float, eps: float = DIAL_EPS) -> Floats:
    """The robust rule at a dial."""
    return robust_rule((1, rho / 2), np.diag(np.square(DIAL_SD)), eps)[0]
