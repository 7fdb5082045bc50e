"""The figures of chapter 4: estimates and closed forms in, figures out. Nothing is trained here."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from scipy import stats

from causalnb import plots
from causalnb.chapters.alignment import checks
from causalnb.chapters.alignment import closed_forms as forms
from causalnb.figstyle import BLUE, GREEN, INK, PURPLE, VERMILLION
from causalnb.plots import Curve, Interval
from causalnb.statistics import Estimate, Floats

Found = Mapping[str, Estimate]
FOREST = {
    "M − AT": "gain.{}.m",
    "T − TRADES": "gain.{}.t-kl",
    "M − half-half": "over.{}.hh",
    "M − head on all": "over.{}.aux",
    "M − head on content": "over.{}.content",
    "M − head at random": "over.{}.random",
}
PRINTED = {"M − AT": "m", "T − TRADES": "t"}
TITLES = {
    "digits8": "digits, 8 x 8",
    "mnist14": "MNIST, 14 x 14",
    "cifar16": "CIFAR-10, 16 x 16",
    "mnist": "MNIST",
    "cifar10": "CIFAR-10",
}
STANDS_FOR = {"mnist14": "t1.mnist", "mnist": "t1.mnist", "cifar16": "t2.cifar10", "cifar10": "t2.cifar10"}
ATTACKS = {"pgd": "PGD-20", "apgd": "APGD-CE and -T"}
LINES = ((BLUE, "-", ""), (VERMILLION, "-", ""), (GREEN, "-", ""), (PURPLE, "-", ""), (INK, "--", ""))


def forest(found: Found, titles: Mapping[str, str], printed: Mapping[str, Mapping[str, float]]) -> Figure:
    """Differences between trainings over seeds, in points: a panel a data set, a row a difference.

    found    estimates by id; titles: data set -> title
    printed  data set -> arm (m, t) -> points that the paper prints under PGD, where it stands in for one
    """
    panels: dict[str, dict[str, dict[str, float | Interval]]] = {}
    for name, title in titles.items():
        rows: dict[str, dict[str, float | Interval]] = {}
        for row, begins in FOREST.items():
            kinds: dict[str, float | Interval] = {}
            for attack, words in ATTACKS.items():
                if one := found.get(f"{begins.format(name)}.{attack}"):
                    kinds[words] = one.interval
            if kinds and row in PRINTED and name in printed:
                kinds["printed, PGD"] = printed[name][PRINTED[row]]
            if kinds:
                rows[row] = kinds
        if rows:
            panels[title] = rows
    return plots.intervals(panels, x="points of accuracy", at=dict.fromkeys(panels, (0.0,)))


def told(found: Found, titles: Mapping[str, str]) -> str:
    """What the forest shows, in a sentence: on how many data sets M is above Madry's training over its whole
    interval, and there above each control.
    """
    gains = [name for name in titles if found[f"gain.{name}.m.pgd"].interval[1] > 0]
    if not gains:
        return "M is not above Madry's training over a whole interval, so there is no gain to explain."
    alone = [
        name
        for name in gains
        if all(found[f"over.{name}.{one}.pgd"].interval[1] > 0 for one in ("hh", "aux", "content", "random"))
    ]
    where = ", ".join(titles[name] for name in gains)
    rest = f"above every control on {len(alone)} of {len(gains)}" if alone else "and not above every control"
    return f"Under PGD M is above Madry's training over its whole interval on {where}, {rest}."


def shifted(m: float, budgets: Sequence[float]) -> Figure:
    """One feature under attack: the density of attacked images of class 1, and the chance of class 1 given
    the attacked image, for some budgets.
    """
    x = np.linspace(-4, 4, 81)
    density: dict[str, Curve] = {}
    chance: dict[str, Curve] = {}
    for eps in budgets:
        density[f"ε = {eps:g}"] = dict(zip(x, stats.norm.pdf(x, m - eps), strict=True))
        chance[f"ε = {eps:g}"] = dict(zip(x, forms.sigmoid(2 * (m - eps) * x), strict=True))
    panels = {"density of X̃ where Y = 1": density, "P(Y = 1 | x̃)": chance}
    return plots.curves(panels, x="x̃", looks=_plain(density))


def _plain(names: Mapping[str, object] | Sequence[str]) -> dict[str, plots.lines.Look]:
    """Looks without markers."""
    return dict(zip(names, LINES, strict=False))


def distances(m: float) -> Figure:
    """How far the adversarial posterior is from the natural one over the budget, in three distances, and its
    entropy.
    """
    budgets = np.linspace(0.05, 2, 40)
    every = [forms.one_feature(m, eps) for eps in budgets]
    lines = {
        "KL": [one.kl for one in every],
        "√(KL/2)": [one.root for one in every],
        "TV": [one.tv for one in every],
        "entropy": [one.entropy for one in every],
    }
    found = {name: dict(zip(budgets, values, strict=True)) for name, values in lines.items()}
    return plots.curves(
        {"over attacked images, nats; TV has no unit": found}, x="budget ε", looks=_plain(found)
    )


def surrogates(m: float, budgets: Sequence[float]) -> Figure:
    """Which slope a of Q = sigma(2 a x) Eq. (5) asks for, over the weight gamma of natural images."""
    gammas = np.linspace(0, 2, 21)
    lines = {
        f"ε = {eps:g}": {float(g): forms.surrogate(m, eps, float(g))[0] for g in gammas} for eps in budgets
    }
    return plots.curves({"slope a that minimises Eq. (5)": lines}, x="γ", looks=_plain(lines))


def factors(m: float, eps: float) -> Figure:
    """Inside the graph as drawn: where the attack's divergence sits, over the share of style in X."""
    shares = np.linspace(0, 0.9, 37)
    both = np.array([forms.factors(m, eps, float(one)) for one in shares])
    names = ("P(s | x), set aside", "P(y | x, s)")
    lines = {name: dict(zip(shares, both[:, k], strict=True)) for k, name in enumerate(names)}
    return plots.curves(
        {"divergence by factor of Eq. (3), nats": lines}, x="share of style in X", looks=_plain(lines)
    )


def bounds() -> Figure:
    """What Eq. (9) bounds, over sigma, in the example of three classes."""
    sigmas = np.linspace(0, 1.5, 31)
    every = np.array([forms.gaussian_head(checks.THREE, checks.MU, 0, float(one)) for one in sigmas])
    names = {"mean cross-entropy": 0, "−log mean P": 1, "Eq. (9)": 3}
    lines = {name: dict(zip(sigmas, every[:, k], strict=True)) for name, k in names.items()}
    return plots.curves({"nats, label 0": lines}, x="σ", looks=_plain(lines))


def features(budgets: Sequence[float]) -> Figure:
    """Divergence that an attack causes against rules of a strong and a weak feature, as log10."""
    rules = {"both features": (1, 1), "strong alone": (1, 0), "weak turned round": (1, -1)}
    mu, sd = forms.STRONG_AND_WEAK
    lines = {
        name: {eps: float(np.log10(forms.two_features_kl(mu, sd, signs, eps)[0])) for eps in budgets}
        for name, signs in rules.items()
    }
    return plots.curves({"log10 of KL, nats": lines}, x="budget ε")


def swept(curves: Mapping[str, Mapping[float, Floats]], names: Mapping[str, str], x: str) -> Figure:
    """Accuracy clean and under PGD over a setting, means over seeds and images.

    curves   arm -> value -> [2, seeds, n]
    """
    panels = {
        title: {
            names[arm]: {value: 100 * float(one[k].mean()) for value, one in curve.items()}
            for arm, curve in curves.items()
        }
        for k, title in enumerate(("clean accuracy, %", "accuracy under PGD, %"))
    }
    return plots.curves(panels, x=x)


def frontiers(
    curves: Mapping[str, Mapping[float, Floats]],
    names: Mapping[str, str],
    points: Mapping[str, tuple[float, float]],
) -> Figure:
    """Accuracy under PGD against clean accuracy: two families over their weight, and single trainings.

    points   name -> clean accuracy, accuracy under PGD; shares
    """
    lines: dict[str, Curve] = {}
    for arm, curve in curves.items():
        pairs = sorted((100 * float(one[0].mean()), 100 * float(one[1].mean())) for one in curve.values())
        lines[names[arm]] = dict(pairs)
    lines |= {name: {100 * clean: 100 * robust} for name, (clean, robust) in points.items()}
    return plots.curves({"accuracy under PGD, %": lines}, x="clean accuracy, %")


def courses(curves: Mapping[str, Floats]) -> Figure:
    """Accuracy under PGD on images held out, by epoch, mean over seeds; curves: name -> [seeds, epochs]."""
    lines = {
        name: {float(epoch): 100 * value for epoch, value in enumerate(one.mean(0), 1)}
        for name, one in curves.items()
    }
    return plots.curves({"accuracy under PGD, held-out images, %": lines}, x="epoch", looks=_plain(lines))


def binned(rows: Mapping[str, Floats]) -> Figure:
    """Accuracy under PGD in ten bins of equal size by divergence, the smallest first; name -> [10]."""
    lines = {name: {float(k): 100 * v for k, v in enumerate(one, 1)} for name, one in rows.items()}
    return plots.curves({"accuracy under PGD, %": lines}, x="bin by KL, of ten")
