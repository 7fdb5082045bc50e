"""The tables of chapter 4 that no paper prints, as lines of text: closed forms, and what each training came
to.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from causalnb.chapters.alignment import closed_forms as forms
from causalnb.chapters.alignment import linear
from causalnb.chapters.alignment.arms import ARMS
from causalnb.chapters.alignment.experiments import Compared
from causalnb.statistics import Estimate

Lines = list[tuple[str, ...]]
Found = Mapping[str, Estimate]
COLUMNS = {"nat": "clean", "fgsm": "FGSM", "pgd": "PGD-20", "cw": "C&W-20", "apgd": "APGD"}


def collider() -> Lines:
    """Style and label where X hides content in a share of the images."""
    lines = []
    for hidden in (0.0, 0.5, 1.0):
        one = forms.collider(hidden=hidden)
        numbers = (one.marginal, one.given, one.from_style, one.from_image, one.from_both)
        lines.append((f"{hidden:g}", *(f"{value:.4f}" for value in numbers)))
    return lines


def one_feature(budgets: Sequence[float]) -> Lines:
    """What each budget does to one feature."""
    lines = []
    for eps in budgets:
        one = forms.one_feature(1.0, eps)
        numbers = (one.robust, one.kl, one.reverse, one.tv, one.root, one.ce, one.entropy)
        lines.append((f"{eps:g}", *(f"{value:.4f}" for value in numbers)))
    return lines


def factors(shares: Sequence[float]) -> Lines:
    """Where an attack's divergence sits, over the share of style in X."""
    pairs = [(one, *forms.factors(1.0, 0.5, one)) for one in shares]
    return [(f"{share:g}", *(f"{value:.5f}" for value in (a, b, a + b))) for share, a, b in pairs]


def wrong(budgets: Sequence[float]) -> Lines:
    """What Eq. (4) gives the rule that is wrong on purpose, and the robust one; then their accuracies."""
    mu, sd = forms.STRONG_AND_WEAK
    rules = {"strong feature alone": (1, 0), "both features": (1, 1), "both signs turned round": (-1, -1)}
    bayes = np.array(mu) / np.square(sd)
    lines = []
    for name, signs in rules.items():
        kls = [f"{forms.two_features_kl(mu, sd, signs, eps)[0]:.2e}" for eps in budgets]
        natural = forms.accuracies(bayes * signs, mu, np.diag(np.square(sd)))[0]
        lines.append((name, *kls, f"{natural:.4f}"))
    return lines


def styles() -> Lines:
    """How well style alone reads the label, by the rule and by the inner product of the complement."""
    mu, sd = (np.array(one) for one in forms.STRONG_AND_WEAK)
    within = np.diag(sd**2)
    inner = {"M": within + np.outer(mu, mu), "I": np.eye(2)}
    rules = {
        "Bayes": mu / sd**2,
        "robust, ε = 0.1": linear.robust_rule(mu, within, 0.1)[0],
        "robust, ε = 0.25": linear.robust_rule(mu, within, 0.25)[0],
    }
    return [
        (
            name,
            *(f"{forms.style_accuracies(w, mu, within, one)[0]:.4f}" for one in inner.values()),
            *(f"{forms.accuracies(w, mu, within, 0.1)[1]:.4f}",),
        )
        for name, w in rules.items()
    ]


def dial() -> Lines:
    """The best robust rule over the dial, its weight of style, and what it does where style is turned
    round.
    """
    lines = []
    for rho in linear.DIALS:
        one = linear.turned(linear.robust(rho), rho)
        numbers = (one.ratio, one.natural, one.robust, one.flipped, one.flipped_robust)
        lines.append((f"{rho:g}", *(f"{value:.4f}" for value in numbers)))
    return lines


def arms(found: Compared, auto: Found) -> Lines:
    """Accuracies of every training in percent, means over its seeds; AutoAttack on the first network."""
    lines = []
    for arm, scores in found.scores.items():
        had = scores[0].bits
        means = [f"{100 * found.right(arm, c).mean():.1f}" if c in had else "–" for c in COLUMNS]
        one = auto.get(f"auto.{found.name}.{arm}")
        rate = f"{found.factors[arm]:g}"
        lines.append(
            (ARMS[arm].title, *means, f"{100 * one.value:.1f}" if one else "–", rate, str(len(scores)))
        )
    return lines


def differences(found: Found, name: str, asked: Mapping[str, str], attacks: Sequence[str]) -> Lines:
    """Differences in points with their intervals; asked: what is said -> how its id begins."""
    lines = []
    for words, begins in asked.items():
        cells = [found.get(f"{begins.format(name)}.{attack}") for attack in attacks]
        if any(cells):
            lines.append((words, *(_points(one) if one else "–" for one in cells)))
    return lines


def _points(one: Estimate) -> str:
    value, low, high = one.interval
    return f"{value:+.1f} [{low:+.1f}, {high:+.1f}]"
