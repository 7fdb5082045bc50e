"""Where everything is known: a collider, one Gaussian feature, two of them, and styles inside the graph as
drawn (Zhang et al. 2022, 2, 3.1 to 3.3, App. A to C). Float64, nats, integrals instead of draws.

Y is -1 or 1 with equal chance, X | y ~ N(y mu, Sigma), and an attacker with a budget eps in L-inf moves X by
-eps y sign(w) against the rule sign(w X): then X~ | y ~ N(y (mu - eps sign(w)), Sigma).
"""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, stats
from scipy.special import expit

Floats = NDArray[np.float64]
Rule = Sequence[float] | Floats
Joint = dict[tuple[object, ...], float]
STRONG_AND_WEAK = ((1.0, 0.25), (0.5, 0.1))  # mu and sd of two features


def gaussian(
    f: Callable[[Floats], Floats], mean: float, sd: float = 1.0, *, kink: float | None = None
) -> float:
    """E f(X), X ~ N(mean, sd^2), by 200 Gauss-Legendre nodes on each side of the mean, to twelve sd; `kink`
    is where f is not smooth, and a further end.
    """
    nodes, weights = _legendre()
    inside = [] if kink is None or abs(kink - mean) >= 12 * sd else [kink]
    total = 0.0
    for a, b in itertools.pairwise(sorted({mean - 12 * sd, mean, mean + 12 * sd, *inside})):
        x = (a + b) / 2 + (b - a) / 2 * nodes
        law = np.exp(-(((x - mean) / sd) ** 2) / 2) / (sd * math.sqrt(2 * math.pi))
        total += float((b - a) / 2 * (weights * law * f(x)).sum())
    return total


@cache
def _legendre() -> tuple[Floats, Floats]:
    return np.polynomial.legendre.leggauss(200)


@cache
def hermite(nodes: int) -> tuple[Floats, Floats]:
    """Nodes and weights of a mean over N(0, 1)."""
    z, w = np.polynomial.hermite_e.hermegauss(nodes)
    return z, w / w.sum()


def softplus(x: Floats) -> Floats:
    """log(1 + e^x), which does not overflow."""
    return np.logaddexp(0.0, x)


def sigmoid(x: Floats) -> Floats:
    """1 / (1 + e^-x)."""
    return np.asarray(expit(x))


def binary_kl(a: Floats, b: Floats) -> Floats:
    """KL(Bern(sigma(a)) || Bern(sigma(b))) of two log-odds."""
    return sigmoid(a) * (a - b) + softplus(b) - softplus(a)


def binary_tv(a: Floats, b: Floats) -> Floats:
    """The total variation distance of the same."""
    return np.abs(sigmoid(a) - sigmoid(b))


# D1, the collider ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Collider:
    """Nats that style and label share, without X and given it, and the accuracies of the best rules."""

    marginal: float
    given: float
    from_style: float
    from_image: float
    from_both: float


def collider(*, flipped: float = 0.0, hidden: float = 1.0) -> Collider:
    """C and S are fair coins, Y is C, turned with probability `flipped`; X = C + S with probability `hidden`,
    else (C, S) itself.
    """
    joint: dict[tuple[object, ...], float] = {}
    for c, s, turned, summed in itertools.product((0, 1), repeat=4):
        chance = 0.25 * (flipped if turned else 1 - flipped) * (hidden if summed else 1 - hidden)
        x: object = c + s if summed else (c, s)
        key = (c ^ turned, x, s)
        joint[key] = joint.get(key, 0.0) + chance
    return Collider(
        marginal=_information({(y, 0, s): p for (y, s), p in _summed(joint, (0, 2)).items()}),
        given=_information(joint),
        from_style=_best(joint, (2,)),
        from_image=_best(joint, (1,)),
        from_both=_best(joint, (1, 2)),
    )


def _summed(joint: Joint, keep: tuple[int, ...]) -> dict[tuple[object, ...], float]:
    """The chances of the places that are kept."""
    found: dict[tuple[object, ...], float] = {}
    for key, chance in joint.items():
        own = tuple(key[place] for place in keep)
        found[own] = found.get(own, 0.0) + chance
    return found


def _information(joint: Joint) -> float:
    """I(Y; S | X) of P(y, x, s)."""
    of_x, of_yx, of_xs = (_summed(joint, keep) for keep in ((1,), (0, 1), (1, 2)))
    return sum(
        chance * math.log(chance * of_x[x,] / (of_yx[y, x] * of_xs[x, s]))
        for (y, x, s), chance in joint.items()
        if chance
    )


def _best(joint: Joint, seen: tuple[int, ...]) -> float:
    """The accuracy of the best guess of y from what is seen."""
    by: dict[tuple[object, ...], list[float]] = {}
    for key, chance in _summed(joint, (0, *seen)).items():
        by.setdefault(key[1:], []).append(chance)
    return sum(max(chances) for chances in by.values())


# D2 and D3, one feature ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class OneFeature:
    """P is the natural posterior, P_t the adversarial one: E over attacked images of KL(P_t || P), over
    natural ones of KL(P || P_t), over attacked ones of TV, of CE of P, and the entropy of P_t; accuracies of
    sign(x).
    """

    natural: float
    robust: float
    kl: float
    reverse: float
    tv: float
    ce: float
    entropy: float

    @property
    def root(self) -> float:
        """sqrt(KL / 2), Pinsker's bound on TV."""
        return math.sqrt(self.kl / 2)


def one_feature(m: float, eps: float) -> OneFeature:
    """X | y ~ N(y m, 1), attacked by eps against the rule sign(x)."""
    n = m - eps
    return OneFeature(
        natural=float(stats.norm.cdf(m)),
        robust=float(stats.norm.cdf(n)),
        kl=gaussian(lambda x: binary_kl(2 * n * x, 2 * m * x), n),
        reverse=gaussian(lambda x: binary_kl(2 * m * x, 2 * n * x), m),
        tv=gaussian(lambda x: binary_tv(2 * n * x, 2 * m * x), n, kink=0.0),
        ce=gaussian(lambda x: softplus(-2 * m * x), n),
        entropy=gaussian(lambda x: softplus(-2 * n * x), n),
    )


def surrogate(m: float, eps: float, gamma: float) -> tuple[float, float]:
    """Which Q = sigma(2 a x) minimises CE on attacked plus gamma CE on natural images: a, and the minimum."""

    def value(a: float) -> float:
        attacked = gaussian(lambda x: softplus(-2 * a * x), m - eps)
        return attacked + (gamma * gaussian(lambda x: softplus(-2 * a * x), m) if gamma else 0.0)

    found = optimize.minimize_scalar(value, bounds=(0, 2 * m), method="bounded", options={"xatol": 1e-9})
    return float(found.x), float(found.fun)


def distances(m: float, eps: float, a: float) -> dict[str, float]:
    """With Q = sigma(2 a x), as Eqs. (12), (13) and (5) take them: TV of P_t to Q over attacked, of P to Q
    over natural images; both of them as KL, and the mean roots; TV of P to P_t over attacked images; and the
    middle term of the paired reading, TV of Q at x + E to Q at x, with TV of P at x to P_t at x + E.
    """
    n = m - eps
    return {
        "tv.attacked": gaussian(lambda x: binary_tv(2 * n * x, 2 * a * x), n, kink=0.0),
        "tv.natural": gaussian(lambda x: binary_tv(2 * m * x, 2 * a * x), m, kink=0.0),
        "kl.attacked": gaussian(lambda x: binary_kl(2 * n * x, 2 * a * x), n),
        "kl.natural": gaussian(lambda x: binary_kl(2 * m * x, 2 * a * x), m),
        "roots": gaussian(lambda x: np.sqrt(binary_kl(2 * n * x, 2 * a * x).clip(0) / 2), n, kink=0.0)
        + gaussian(lambda x: np.sqrt(binary_kl(2 * m * x, 2 * a * x).clip(0) / 2), m, kink=0.0),
        "moved": gaussian(lambda x: binary_tv(2 * n * x, 2 * m * x), n, kink=0.0),
        "middle": gaussian(lambda x: binary_tv(2 * a * (x - eps), 2 * a * x), m),
        "paired": gaussian(lambda x: binary_tv(2 * m * x, 2 * n * (x - eps)), m, kink=-n),
    }


# D4, Eq. (9) ---------------------------------------------------------------------------------------------


def gaussian_head(weight: Floats, mu: Floats, label: int, sigma: float, nodes: int = 80) -> tuple[float, ...]:
    """Over styles N(mu, sigma^2 I) in the plane: E CE, log 1 / E P, log E 1/P, and Eq. (9) in closed form.

    weight   [classes, 2];  mu   [2]
    """
    z, w = hermite(nodes)
    s = mu + sigma * np.stack(np.meshgrid(z, z, indexing="ij"), -1)  # [nodes, nodes, 2]
    chance = w[:, None] * w[None]
    logits = s @ weight.T
    ce = np.logaddexp.reduce(logits, axis=-1) - logits[..., label]
    gaps = ((weight - weight[label]) ** 2).sum(1)
    bound = np.logaddexp.reduce(weight @ mu - weight[label] @ mu + sigma**2 / 2 * gaps)
    means = (chance * ce).sum(), -np.log((chance * np.exp(-ce)).sum()), np.log((chance * np.exp(ce)).sum())
    return (*map(float, means), float(bound))


# D5 and D6, two features ---------------------------------------------------------------------------------


def two_features_kl(mu: Rule, sd: Rule, signs: Rule, eps: float) -> tuple[float, float]:
    """E KL(P_t || P) over attacked images and the entropy of P_t, against a rule with these signs of its
    weights. Both log-odds are linear, so that each term is an integral over one of them.
    """
    own, spread, towards = (np.asarray(one, dtype=float) for one in (mu, sd, signs))
    n = own - eps * towards
    u, v = 2 * n / spread**2, 2 * own / spread**2  # a = u x of P_t, b = v x of P
    a_mean, b_mean, a_sd = float(u @ n), float(v @ n), float(np.sqrt((u**2 * spread**2).sum()))
    slope = float((u * v * spread**2).sum()) / a_sd**2
    b_sd = float(np.sqrt((v**2 * spread**2).sum()))
    linear = gaussian(lambda a: sigmoid(a) * (a - b_mean - slope * (a - a_mean)), a_mean, a_sd)
    softs = gaussian(softplus, b_mean, b_sd, kink=0.0) - gaussian(softplus, a_mean, a_sd, kink=0.0)
    return linear + softs, gaussian(lambda a: softplus(-a), a_mean, a_sd, kink=0.0)


def two_features_tv(mu: Rule, sd: Rule, signs: Rule, eps: float, *, places: int = 1601) -> float:
    """E TV(P_t, P) over attacked images, on a grid of eight sd around the mean."""
    own, spread, towards = (np.asarray(one, dtype=float) for one in (mu, sd, signs))
    n = own - eps * towards
    z = np.linspace(-8, 8, places)
    w = stats.norm.pdf(z)
    w = w / w.sum()
    x = [n[i] + spread[i] * z for i in (0, 1)]
    a, b = (
        2 * (m[0] / spread[0] ** 2 * x[0][:, None] + m[1] / spread[1] ** 2 * x[1][None]) for m in (n, own)
    )
    return float((w[:, None] * w[None] * binary_tv(a, b)).sum())


def accuracies(w: Rule, mu: Rule, covariance: Floats, eps: float = 0.0) -> tuple[float, float]:
    """Of the rule sign(w x), natural and under attack: Phi(w mu / sqrt(w Sigma w)) and less eps |w|_1."""
    rule, mean = np.asarray(w, dtype=float), np.asarray(mu, dtype=float)
    size = math.sqrt(rule @ covariance @ rule)
    margin = float(rule @ mean)
    return float(stats.norm.cdf(margin / size)), float(
        stats.norm.cdf((margin - eps * np.abs(rule).sum()) / size)
    )


def style_of(w: Rule, inner: Floats) -> Floats:
    """The direction v that is orthogonal to a rule by v M w = 0, in the plane."""
    across = inner @ np.asarray(w, dtype=float)
    return np.array([-across[1], across[0]])


def style_accuracies(
    w: Rule, mu: Rule, covariance: Floats, inner: Floats, eps: float = 0.0
) -> tuple[float, float]:
    """Of the best rule on style alone, natural and under attack."""
    v = style_of(w, inner)
    return accuracies(v if v @ np.asarray(mu) >= 0 else -v, mu, covariance, eps)


# Styles inside the graph as drawn ------------------------------------------------------------------------


def factors(m: float, eps: float, share: float) -> tuple[float, float]:
    """X = m Y + S + tau N with Var S = share, tau^2 = 1 - share, attacked by -eps Y: what the two factors of
    Eq. (3) contribute, E KL of P_t(S | x) from P(S | x) and of P_t(Y | x, S) from P(Y | x, S).

    The attack leaves C and S alone. Given x and y style is Gaussian with the same spread in both, so that the
    sum is the divergence of P_t(Y | x) plus share eps^2 / (2 tau^2).
    """
    tau = math.sqrt(1 - share)
    second = one_feature(m / tau, eps / tau).kl
    return one_feature(m, eps).kl + share * eps**2 / (2 * tau**2) - second, second


def first_factor(m: float, eps: float, share: float, *, places: int = 1201) -> float:
    """The first of them by a grid over x and s, without the identity."""
    n, variance = m - eps, share * (1 - share)
    x = np.linspace(n - 9, n + 9, places)[:, None]
    s = np.linspace(-9, 9, places)[None]

    def log_given(mean: float) -> Floats:
        """log P(s | x) when labels sit at +- mean."""
        parts = [
            -softplus(-2 * sign * mean * x) - (s - share * (x - sign * mean)) ** 2 / (2 * variance)
            for sign in (1, -1)
        ]
        return np.asarray(np.logaddexp(*parts) - 0.5 * math.log(2 * math.pi * variance))

    p_t, p = log_given(n), log_given(m)
    inner = (np.exp(p_t) * (p_t - p)).sum(1) * (s[0, 1] - s[0, 0])
    return float((stats.norm.pdf(x[:, 0], n) * inner).sum() * (x[1, 0] - x[0, 0]))
