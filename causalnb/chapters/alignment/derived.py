"""Statements of the paper that closed forms, or trainings held bit for bit, decide (`DERIVED`), and those
that are printed and do not hold (`ERRATA`), each as a number that is within its bound if the statement holds.
"""

import math
from collections.abc import Callable

import numpy as np
import torch
from scipy import stats
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from causalnb.chapters import Check, Measure, Registry, registered
from causalnb.chapters.alignment import closed_forms as forms
from causalnb.chapters.alignment import losses, style
from causalnb.chapters.alignment.checks import EQUAL, MU, SHARES, THREE
from causalnb.chapters.alignment.objectives import Ball, CausalAdv, Trades
from causalnb.data import Images
from causalnb.models.seeding import drawn
from causalnb.training import Loss, Recipe, fit

DERIVED: Registry = {}
ERRATA: Registry = {}


def _derived(id: str, what: str, bound: float = EQUAL) -> Callable[[Measure], Callable[[], Check]]:
    return registered(DERIVED, "derive", id, what, bound)


def _erratum(id: str, what: str, bound: float = EQUAL) -> Callable[[Measure], Callable[[], Check]]:
    return registered(ERRATA, "erratum", id, what, bound)


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
