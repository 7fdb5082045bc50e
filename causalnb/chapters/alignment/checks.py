"""A numeric check for every step of the derivation (Zhang et al. 2022, 2, 3, App. A to C), and the claims and
errata that closed forms decide.

`CHECKS["D2"]()` runs one, in float64, most in less than a second. `DERIVED` are statements of the paper,
which hold or do not; `ERRATA` statements that are printed and do not. What the printed tables decide is
printed.py's.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps

import numpy as np
import torch
from scipy import stats
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from causalnb.chapters.alignment import closed_forms as forms
from causalnb.chapters.alignment import linear, losses, style
from causalnb.chapters.alignment.objectives import Ball, CausalAdv, Trades
from causalnb.data import Images
from causalnb.models.seeding import drawn
from causalnb.training import Loss, Recipe, fit

Measure = Callable[[], tuple[float, int]]
EQUAL = 1e-9
EPS = (0.25, 0.5, 1.0, 1.5, 2.0)
SHARES = (0.0, 0.25, 0.5, 0.75, 0.9)


@dataclass(frozen=True)
class Check:
    """A quantity and the bound that it must not pass; `n` is what was counted."""

    id: str
    what: str
    value: float
    bound: float
    n: int

    @property
    def holds(self) -> bool:
        """Whether it does not."""
        return self.value <= self.bound


Registry = dict[str, Callable[[], Check]]
CHECKS: Registry = {}
DERIVED: Registry = {}
ERRATA: Registry = {}


def _shows(
    registry: Registry, kind: str, id: str, what: str, bound: float = EQUAL
) -> Callable[[Measure], Callable[[], Check]]:
    def register(measure: Measure) -> Callable[[], Check]:
        @wraps(measure)
        def check() -> Check:
            value, n = measure()
            return Check(f"{kind}.{id}", what, value, bound, n)

        registry[id] = check
        return check

    return register


def _check(id: str, what: str, bound: float = EQUAL) -> Callable[[Measure], Callable[[], Check]]:
    return _shows(CHECKS, "check", id, what, bound)


def _derived(id: str, what: str, bound: float = EQUAL) -> Callable[[Measure], Callable[[], Check]]:
    return _shows(DERIVED, "derive", id, what, bound)


def _erratum(id: str, what: str, bound: float = EQUAL) -> Callable[[Measure], Callable[[], Check]]:
    return _shows(ERRATA, "erratum", id, what, bound)


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
    "D2.sum", "largest difference of cross-entropy from divergence plus entropy, and of TV above its bound"
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


# Statements of the paper ------------------------------------------------------------------------------------


@_derived(
    "association.marginal", "how far style alone falls short of predicting the label better than chance", 0.0
)
def style_alone_predicts() -> tuple[float, int]:
    """More than half a point above chance."""
    return 0.505 - forms.collider().from_style, 1


@_derived("association.given", "less 1e-3 nats: what style tells given X, where X hides content", 0.0)
def style_tells_given_x() -> tuple[float, int]:
    """None where X shows content."""
    return max(1e-3 - forms.collider(hidden=h).given for h in (0.1, 0.5, 1.0)), 3


@_derived("association.finite", "training errors of the best linear rule on style alone", 0.0)
def style_can_be_memorised() -> tuple[float, int]:
    """40 images, 60 numbers of style that say nothing of the label."""
    generator = torch.Generator().manual_seed(0)
    s = torch.randn(40, 60, generator=generator).double()
    y = torch.randint(0, 2, (40,), generator=generator).double() * 2 - 1
    rule = torch.linalg.pinv(s) @ y
    return float(((s @ rule).sign() != y).sum()), 40


@_derived("origin.weak", "largest ratio of the divergence without the weak feature to that with both", 0.999)
def weak_features_move_the_distribution() -> tuple[float, int]:
    """At three budgets."""
    mu, sd = forms.STRONG_AND_WEAK
    both, one = ([forms.two_features_kl(mu, sd, s, e)[0] for e in (0.1, 0.25, 0.5)] for s in ((1, 1), (1, 0)))
    return max(b / a for a, b in zip(both, one, strict=True)), 3


@_derived("factor", "largest divergence of P(s|x) that an attack causes which leaves style alone", 1e-6)
def the_first_factor_stays() -> tuple[float, int]:
    """In nats, over the shares of style in X."""
    return max(forms.factors(1, 0.5, one)[0] for one in SHARES), len(SHARES)


@_derived("eq4", "errors on natural images of the rule that has the least of Eq. (4)", 0.5)
def the_least_of_eq_4_is_right() -> tuple[float, int]:
    """Both weights, none for the weak feature, none for the strong one, one or both signs turned round."""
    mu, sd = forms.STRONG_AND_WEAK
    rules = [(1, 1), (1, 0), (0, 1), (1, -1), (-1, -1)]
    least = min(rules, key=lambda signs: forms.two_features_kl(mu, sd, signs, 0.25)[0])
    bayes = np.array(mu) / np.array(sd) ** 2
    return 1 - forms.accuracies(bayes * least, mu, np.diag(np.square(sd)))[0], len(rules)


def _small(seed: int = 0) -> nn.Sequential:
    return drawn(seed, lambda: nn.Sequential(nn.Flatten(), nn.Linear(16, 12), nn.ReLU(), nn.Linear(12, 3)))


def _apart(first: Loss, second: Loss) -> float:
    """The largest difference of weights after 2 epochs with one loss and with the other."""
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(48, 1, 4, 4, generator=generator)
    data = Images("noise", "train", images, torch.arange(48) % 3, ("a", "b", "c"), "")
    recipe = Recipe(rate=0.1, momentum=0.9, epochs=2, batch=16)
    a, b = (fit(_small(), data, one, recipe).model.parameters() for one in (first, second))
    return max(float((x - y).detach().abs().max()) for x, y in zip(a, b, strict=True))


BALL = Ball(eps=0.1, step=0.04, steps=3)


@_derived("madry", "largest difference between weights trained with lambda = 0 and by Madry's objective", 0.0)
def without_lambda_it_is_madry() -> tuple[float, int]:
    """Against a loss written by hand."""

    def by_hand(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        seed = int(torch.randint(2**31, (), device="cpu"))
        return cross_entropy(model(BALL.end(model, images, labels, seed)), labels)

    return _apart(CausalAdv(_small(), BALL, weight=0.0), by_hand), 6


@_derived("trades", "largest difference between weights of T with lambda = 0 and of TRADES as printed", 0.0)
def without_lambda_t_is_trades() -> tuple[float, int]:
    """The cross-entropy to the clean prediction, as Eq. (5) of TRADES' paper has it."""
    return _apart(CausalAdv(_small(), BALL, base="trades-printed", weight=0.0), Trades(BALL, printed=True)), 6


@_derived("eq9", "largest mean cross-entropy over Gaussian styles above Eq. (9)", 0.0)
def eq_9_is_a_bound() -> tuple[float, int]:
    """Twenty drawn heads and means, by integration."""
    generator = np.random.default_rng(0)
    off = []
    for _ in range(20):
        weight, mu = generator.normal(size=(4, 2)), generator.normal(size=2)
        ce, *_, bound = forms.gaussian_head(weight, mu, 0, float(generator.uniform(0.2, 1.0)))
        off.append(ce - bound)
    return max(off), len(off)


@_derived("lemma1", "largest covariance of logits and style on the complement")
def lemma_1_holds() -> tuple[float, int]:
    """W_s M W_c' for a drawn M: for Gaussian R zero covariance is independence."""
    generator = torch.Generator().manual_seed(0)
    w, root = (torch.randn(n, 12, generator=generator).double() for n in (4, 12))
    m = root @ root.T
    projector = style.without(torch.eye(12, dtype=torch.float64), style.directions(w, m))
    return float((projector @ m @ w.T).abs().max()), 12 * 4


@_derived("roots", "largest distance of KL and sqrt(KL / 2), KL to 1/2", 0.125 + 1e-12)
def roots_are_near() -> tuple[float, int]:
    """At KL = 1/8 they differ by 1/8."""
    kl = np.linspace(0, 0.5, 4001)
    return float(np.abs(np.sqrt(kl / 2) - kl).max()), len(kl)


# Errata: what is printed, as a number that would be within its bound if it held ---------------------------


@_erratum("E5", "how far the entropy that Eq. (5) drops moves with theta, nats", 1e-6)
def eq_5_drops_a_constant() -> tuple[float, int]:
    """Two features, eps = .25: both weights, the strong one alone, the weak sign turned round."""
    mu, sd = forms.STRONG_AND_WEAK
    found = [forms.two_features_kl(mu, sd, signs, 0.25)[1] for signs in ((1, 1), (1, 0), (1, -1))]
    return max(found) - min(found), len(found)


@_erratum("E6", "largest distance of P_t from P above what Eqs. (12), (13) and (5) give", 0.0)
def eq_5_is_a_bound() -> tuple[float, int]:
    """m = 6, eps = 5, Q adversarial training's own optimum."""
    found = forms.distances(6, 5, 1)
    sums = (
        found["tv.attacked"] + found["tv.natural"],
        found["roots"],
        math.sqrt(found["kl.attacked"] / 2) + math.sqrt(found["kl.natural"] / 2),
        found["kl.attacked"] + found["kl.natural"],
    )
    return found["moved"] - min(sums), len(sums)


@_erratum("E7", "largest root of KL / 2 above KL, KL to 1/2", 0.0)
def kl_bounds_what_its_root_bounds() -> tuple[float, int]:
    """A bound by the root is one by KL only where the root is less."""
    kl = np.linspace(0, 0.5, 4001)
    return float((np.sqrt(kl / 2) - kl).max()), len(kl)


@_erratum("E9", "largest distance from 1 of the sum of Eq. (10) over the classes")
def eq_10_is_a_distribution() -> tuple[float, int]:
    """Three classes, three sigmas above 0."""
    sigmas = (0.5, 1.0, 2.0)
    return max(abs(total_of_eq_10(sigma) - 1) for sigma in sigmas), len(sigmas)


def total_of_eq_10(sigma: float) -> float:
    """The sum over the three classes of the example."""
    weight, labels = torch.from_numpy(THREE), torch.arange(3)
    logits = (weight @ torch.from_numpy(MU)).expand(3, -1)
    each = losses.corrected(logits, labels, weight, sigma).log_softmax(1)[labels, labels]
    return float(each.exp().sum())


@_erratum(
    "E14", "largest covariance of content with the square of style, or correlation of their squares", 1e-6
)
def lemma_1_as_printed_is_independence() -> tuple[float, int]:
    """Noise whose spread depends on Y = 1[C > 0], from 1 to 2; and a representation behind a ReLU."""
    noise = 3 * float(stats.norm.pdf(0))
    return max(noise, relu_correlation()), 2


def relu_correlation() -> float:
    """corr(c^2, s^2) of c = r_1 - r_2 and s = r_1 + r_2, r = relu(z), z ~ N(0, I): their covariance is 0."""
    pi = math.pi
    variances = (4.5 - 8 / pi - (1 - 1 / pi) ** 2) * (4.5 + 8 / pi - (1 + 1 / pi) ** 2)
    return (1.5 + 1 / pi**2) / math.sqrt(variances)
