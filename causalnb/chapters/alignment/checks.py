"""A numeric check for every step of the derivation (Zhang et al. 2022, 2, 3, App. A to C).

`CHECKS["D2"]()` runs one, in float64, most in less than a second. What the paper states and prints is
derived.py's and printed.py's.
"""

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from causalnb.chapters import Check, Measure, Registry, registered
from causalnb.chapters.alignment import closed_forms as forms
from causalnb.chapters.alignment import linear, style

EQUAL = 1e-9
EPS = (0.25, 0.5, 1.0, 1.5, 2.0)
SHARES = (0.0, 0.25, 0.5, 0.75, 0.9)


CHECKS: Registry = {}


def _check(id: str, what: str, bound: float = EQUAL) -> Callable[[Measure], Callable[[], Check]]:
    return registered(CHECKS, "check", id, what, bound)


# Steps of ours ---------------------------------------------------------------------------------------------


@_check(
    "D1", "largest difference of the collider from ln 2 / 2 a share of hidden content, and from accuracies"
)
def collider_is_as_by_hand() -> tuple[float, int]:
    """I(Y; S) = 0, I(Y; S | X) = hidden ln 2 / 2; 1/2 from style, 3/4 from the sum, all from both."""
    off = [forms.collider(hidden=h).given - h * math.log(2) / 2 for h in (0.0, 0.3, 1.0)]
    found = forms.collider()
    off += [found.marginal, found.from_style - 0.5, found.from_image - 0.75, found.from_both - 1]
    return max(map(abs, off)), len(off)


@_check("D2", "largest difference of KL at eps and at 2m - eps from 2m (m - eps)")
def mirrored_budgets() -> tuple[float, int]:
    """Beyond eps = m the attacked classes have changed places."""
    pairs = [(m, eps) for m in (1.0, 0.6) for eps in (0.1 * m, 0.5 * m, 0.9 * m)]
    off = [
        forms.one_feature(m, 2 * m - eps).kl - forms.one_feature(m, eps).kl - 2 * m * (m - eps)
        for m, eps in pairs
    ]
    return max(map(abs, off)), len(off)


@_check(
    "D2.sum",
    "largest difference of cross-entropy from divergence plus entropy, and of variation above its bound",
)
def cross_entropy_is_divergence_plus_entropy() -> tuple[float, int]:
    """CE = KL + H; TV <= sqrt(KL / 2)."""
    found = [forms.one_feature(1, eps) for eps in EPS]
    off = [abs(one.ce - one.kl - one.entropy) for one in found] + [one.tv - one.root for one in found]
    return max(off), len(off)


@_check(
    "D3",
    "largest miss of m - eps by the rule that minimises CE on attacked images, and fall with gamma",
    1e-6,
)
def surrogate_moves_with_gamma() -> tuple[float, int]:
    """Without natural images the minimiser is the adversarial posterior itself."""
    off = []
    for eps in (0.25, 0.5):
        a = [forms.surrogate(1, eps, gamma)[0] for gamma in (0.0, 1 / 6, 1.0)]
        off += [abs(a[0] - (1 - eps)), a[0] - a[1], a[1] - a[2]]
    return max(off), len(off)


@_check("D4", "largest difference of Eq. (9) from log E 1/P, and of E CE above it")
def eq_9_is_the_mean_of_one_over_p() -> tuple[float, int]:
    """Three classes in the plane, three labels, three sigmas."""
    found = [_styles(sigma, label) for sigma in (0.25, 0.5, 1.0) for label in range(3)]
    off = [abs(bound - exact) for _, _, exact, bound in found] + [ce - bound for ce, *_, bound in found]
    return max(off), len(off)


THREE = np.array([[1.0, 0], [0, 1], [-1, -1]])
MU = np.array([0.5, -0.2])


def _styles(sigma: float, label: int) -> tuple[float, ...]:
    return forms.gaussian_head(THREE, MU, label, sigma)


@_check("D5", "largest difference of two-feature divergences from sums over a plane of nodes", 1e-7)
def two_features_by_two_ways() -> tuple[float, int]:
    """One integral each, and 200 x 200 Gauss-Hermite nodes."""
    cases = [(signs, eps) for signs in ((1, 1), (1, 0), (0, 1)) for eps in (0.1, 0.25)]
    mu, sd = forms.STRONG_AND_WEAK
    off = [forms.two_features_kl(mu, sd, signs, eps)[0] - _plane(signs, eps) for signs, eps in cases]
    return max(map(abs, off)), len(off)


def _plane(signs: forms.Rule, eps: float) -> float:
    mu, sd = (np.array(one) for one in forms.STRONG_AND_WEAK)
    z, w = forms.hermite(200)
    n = mu - eps * np.asarray(signs)
    x = [n[i] + sd[i] * z for i in (0, 1)]
    a, b = (2 * (c[0] / sd[0] ** 2 * x[0][:, None] + c[1] / sd[1] ** 2 * x[1][None]) for c in (n, mu))
    return float((w[:, None] * w[None] * forms.binary_kl(a, b)).sum())


@_check("D6", "largest distance from chance of style on the M-complement of Bayes' rule")
def bayes_leaves_no_style() -> tuple[float, int]:
    """M Sigma^-1 mu is along mu, for M the covariance in total or within a class."""
    mu, sd = (np.array(one) for one in forms.STRONG_AND_WEAK)
    covariance = np.diag(sd**2)
    bayes = np.linalg.solve(covariance, mu)
    inner = (covariance + np.outer(mu, mu), covariance)
    off = [forms.style_accuracies(bayes, mu, covariance, m)[0] - 0.5 for m in inner]
    return max(map(abs, off)), len(off)


@_check(
    "factor",
    "largest difference of the first factor from its grid, and of the second above 1e-5 at .99",
    1e-8,
)
def factors_add_up() -> tuple[float, int]:
    """By the identity, and by a sum over images and styles."""
    off = [forms.factors(1, 0.5, one)[0] - forms.first_factor(1, 0.5, one) for one in SHARES[1:]]
    return max(*map(abs, off), forms.factors(1, 0.5, 0.99)[1] - 1e-5), len(off)


@_check("wrong", "largest ratio of Eq. (4)'s distance of the always wrong rule to the robust one's", 0.5)
def always_wrong_has_less() -> tuple[float, int]:
    """KL and TV, two features at two budgets, one feature."""
    mu, sd = forms.STRONG_AND_WEAK
    ratios = []
    for eps in (0.1, 0.25):
        for distance in (lambda s, e: forms.two_features_kl(mu, sd, s, e)[0], _tv):
            ratios.append(distance((-1, -1), eps) / distance((1, 0), eps))
    away, towards = forms.one_feature(1, -0.5), forms.one_feature(1, 0.5)
    ratios += [away.kl / towards.kl, away.tv / towards.tv]
    return max(ratios), len(ratios)


def _tv(signs: forms.Rule, eps: float) -> float:
    return forms.two_features_tv(*forms.STRONG_AND_WEAK, signs, eps, places=801)


@_check(
    "robust", "largest accuracy under attack that a search over angles finds above the robust rule's", 1e-8
)
def robust_rule_is_the_best() -> tuple[float, int]:
    """Diagonal and correlated features; the search itself misses less than 1e-6."""
    cases = [((1.0, 0.25), np.diag([0.25, 0.01]), eps) for eps in (0.1, 0.25, 0.5)]
    cases.append(((1.0, 0.5), np.array([[0.25, 0.06], [0.06, 0.0625]]), 0.25))
    off = []
    for mu, covariance, eps in cases:
        own = forms.accuracies(linear.robust_rule(mu, covariance, eps)[0], mu, covariance, eps)[1]
        found = linear.best_angle(mu, covariance, eps)
        off += [found - own, own - found - 1e-6]
    return max(off), len(off)


@_check(
    "dial",
    "dials at which the robust rule keeps style although rho / 2 <= eps, or drops it although not",
    0.0,
)
def style_goes_by_its_size() -> tuple[float, int]:
    """101 dials."""
    dials = np.linspace(0, 1, 101)
    kept = [abs(linear.turned(linear.robust(rho), rho).ratio) > 1e-9 for rho in dials]
    return float(sum(one != (rho / 2 > linear.DIAL_EPS) for one, rho in zip(kept, dials, strict=True))), len(
        dials
    )


@_check("released", "how far ranks are from d - 1 (released deflation) and d - K (ours)", 0.0)
def the_released_deflation_leaves_the_logits() -> tuple[float, int]:
    """d = 128, K = 10, drawn weights that share a component."""
    generator = torch.Generator().manual_seed(0)
    d, classes = 128, 10
    weight = (
        torch.randn(classes, d, generator=generator).double() + torch.randn(d, generator=generator).double()
    )
    identity = torch.eye(d, dtype=torch.float64)
    theirs = style.deflated(style.random_directions(d, d, seed=0), identity, weight)
    ours = style.without(identity, style.directions(weight))
    ranks = [int(torch.linalg.matrix_rank(one)) for one in (theirs, ours)]
    return float(abs(ranks[0] - (d - 1)) + abs(ranks[1] - (d - classes))), 2


def attenuation(*, shared: float = 0.0, d: int = 512, classes: int = 10, seed: int = 0) -> Tensor:
    """|B u_k|^2 [classes]: what the released deflation leaves of each direction that the logits read, 1 where
    it is untouched; shared: the correlation of the drawn directions.
    """
    generator = torch.Generator().manual_seed(seed)
    own = torch.randn(classes, d, generator=generator, dtype=torch.float64)
    common = torch.randn(d, generator=generator, dtype=torch.float64)
    weight = math.sqrt(1 - shared) * own + math.sqrt(shared) * common
    weight = weight - weight.mean(1, keepdim=True)
    b = style.deflated(style.random_directions(d, d, seed=seed), torch.eye(d, dtype=torch.float64), weight)
    return ((b @ (weight / weight.norm(dim=1, keepdim=True)).T) ** 2).sum(0)
